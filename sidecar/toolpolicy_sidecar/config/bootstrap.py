"""The namespace's ConfigMap and the pod's own labels → the snapshot that the operator would send."""

import json
from pathlib import Path

import msgspec

from toolpolicy_api import snapshot
from toolpolicy_api.resolve import resolve

POLICIES = "policies.json"


class Unusable(ValueError):  # noqa: N818 -- a verdict on input
    """There is a ConfigMap, and it cannot be used; the message says why."""


def load(folder: Path, labels_file: Path | None) -> bytes | None:
    """Canonical JSON of the snapshot; None when the ConfigMap is not there. Raises Unusable."""
    try:
        data = (folder / POLICIES).read_bytes()
        labels = parse_labels(labels_file.read_text(encoding="utf-8")) if labels_file else {}
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unusable(str(error)) from None
    try:
        bootstrap = snapshot.decode_bootstrap(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unusable(f"{folder / POLICIES}: {error}") from None
    return snapshot.encode(resolve(bootstrap.policies, labels).snapshot)


def parse_labels(text: str) -> dict[str, str]:
    """The downward API's form: `key="value"` a line, quoted as Go quotes. Raises Unusable."""
    labels = {}
    for line in text.splitlines():
        key, equals, quoted = line.partition("=")
        if not key.strip():
            continue
        try:
            value = json.loads(quoted)
        except ValueError:
            value = None
        if not equals or not isinstance(value, str):
            raise Unusable(f'labels: no key="value": {line[:80]!r}')
        labels[key] = value
    return labels
