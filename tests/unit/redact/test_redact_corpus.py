"""How much is found of what others wrote, and how much is touched that is nothing. Figures are printed."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tests.corpus import redaction
from tests.measured import measured
from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.redactor import Redacted, Redactor

SEED = 20261121
ALL = Redactor.compile(snapshot.Redaction(detectors=("Secrets", "PII", "Financial")))


def scan(text: str, *, is_json: bool) -> Redacted[str]:
    if not is_json:
        return ALL.text(text)
    found = ALL.json(text.encode())
    return Redacted(found.value.decode(), found.hits)


class Figures(NamedTuple):
    """`kinds`: (found, all) by kind of sample. `hits`: by detector."""

    kinds: dict[str, tuple[int, int]]
    hits: Counter[str]

    @property
    def recall(self) -> float:
        return sum(found for found, _ in self.kinds.values()) / sum(total for _, total in self.kinds.values())

    def incomplete(self) -> str:
        """Kinds of which some were missed, the worst first."""
        some = sorted((found / total, kind) for kind, (found, total) in self.kinds.items() if found < total)
        return ", ".join(f"{kind} {rate:.2f}" for rate, kind in some) or "every kind 1"


def figures(samples: Iterable[redaction.Sample]) -> Figures:
    found, total, hits = Counter[str](), Counter[str](), Counter[str]()
    for sample in samples:
        result = scan(sample.text, is_json=sample.is_json)
        total[sample.kind] += 1
        found[sample.kind] += sample.secret not in result.value
        hits.update(result.hits)
    return Figures({kind: (found[kind], total[kind]) for kind in total}, hits)


def test_secrets_are_found() -> None:
    found = figures(redaction.secrets(SEED, 10))
    measured(f"redaction: recall of secrets {found.recall:.3f} (per kind: {found.incomplete()})")
    assert found.recall >= 0.95


def test_people_are_found_and_what_is_harmless_is_left_alone() -> None:
    found = figures(redaction.people(SEED, 20))
    measured(
        f"redaction: recall of personal and financial data {found.recall:.3f} (per kind: {found.incomplete()})"
    )
    assert found.recall >= 0.95
    false, touched, texts = Counter[str](), 0, list(redaction.harmless(SEED, 1150))
    for text in texts:
        hits = scan(text, is_json=True).hits
        touched += bool(hits)
        false.update(hits)
    precision = {name: found.hits[name] / (found.hits[name] + count) for name, count in false.items()}
    said = ", ".join(f"{name} {value:.2f}" for name, value in sorted(precision.items())) or "every detector 1"
    measured(f"redaction: {touched} of {len(texts)} harmless documents touched (precision: {said})")
    assert touched / len(texts) <= 0.01
