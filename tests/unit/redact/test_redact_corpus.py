"""How much is found of what others wrote, and how much is touched that is nothing. Figures are printed."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import pytest

from tests.corpus import everyday, foreign, redaction, sources
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
    harmless(redaction.harmless(SEED, 1150), found.hits, "harmless documents")


def test_people_are_found_where_nothing_says_what_it_is() -> None:
    found = figures(redaction.people_without_a_name(SEED, 40))
    measured(
        f"redaction: recall without a name beside it {found.recall:.3f} (per kind: {found.incomplete()})"
    )
    assert found.recall >= 0.97


def test_secrets_of_foreign_origin_are_found() -> None:
    found = figures(foreign.secrets(SEED, 5))
    measured(
        f"redaction: recall of secrets in foreign forms {found.recall:.3f} (per kind: {found.incomplete()})"
    )
    assert found.recall >= 0.9
    harmless(foreign.harmless(SEED, 600), found.hits, "harmless documents in foreign forms")


def test_what_packages_and_clouds_are_full_of_is_left_alone() -> None:
    harmless(everyday.harmless(SEED, 950), Counter(), "everyday documents")


@pytest.mark.parametrize(("file", "least"), [("first.txt", 0.88), ("second.txt", 0.6)])
def test_secrets_of_other_sources_are_found(file: str, least: float) -> None:
    found = figures(sources.secrets(file, SEED, 3))
    measured(
        f"redaction: recall of secrets of {file} of other sources {found.recall:.3f} (per kind: {found.incomplete()})"
    )
    assert found.recall >= least


def harmless(texts: Iterable[str], found: Counter[str], what: str) -> None:
    """At most one in a hundred is touched. `found`: hits in samples, by detector."""
    false, touched, total = Counter[str](), 0, 0
    for text in texts:
        hits = scan(text, is_json=True).hits
        total += 1
        touched += bool(hits)
        false.update(hits)
    precision = {name: found[name] / (found[name] + count) for name, count in false.items()}
    said = ", ".join(f"{name} {value:.2f}" for name, value in sorted(precision.items())) or "every detector 1"
    measured(f"redaction: {touched} of {total} {what} touched (precision: {said})")
    assert touched / total <= 0.01
