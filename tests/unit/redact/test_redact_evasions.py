"""What is found in plain text is found however it is encoded. The table is printed."""

from itertools import chain

from tests.corpus import foreign, redaction
from tests.corpus.evasions import EVASIONS, Way
from tests.measured import measured
from toolpolicy_api import snapshot
from toolpolicy_sidecar.redact.redactor import Redactor

SEED = 20261121
ALL = Redactor.compile(snapshot.Redaction(detectors=("Secrets", "PII", "Financial")))
SAMPLES = [
    sample
    for sample in chain(redaction.secrets(SEED, 1), redaction.people(SEED, 1), foreign.secrets(SEED, 1))
    if sample.secret not in ALL.text(sample.text).value
][::2]


def is_found(secret: str, written: str, read: Way) -> bool:
    """Neither what was written nor what a reader makes of it holds the secret."""
    redacted = ALL.text(written).value
    try:
        return secret not in read(redacted)
    except (
        ValueError
    ):  # what is left cannot be read in this way any more: it must not hold the secret as it is
        return secret not in redacted


def test_each_evasion_keeps_the_recall_of_plain_text() -> None:
    kept = {}
    for name, (write, read) in EVASIONS.items():
        assert read(write("a=B c")) == "a=B c"
        kept[name] = sum(is_found(s.secret, write(s.text), read) for s in SAMPLES) / len(SAMPLES)
    table = ", ".join(f"{name} {rate:.3f}" for name, rate in kept.items())
    measured(f"redaction: recall of {len(SAMPLES)} texts that are found in plain, encoded: {table}")
    assert min(kept.values()) >= 0.95, kept
