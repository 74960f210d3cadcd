"""How kopf finds the API server: as the kubernetes client does, in a cluster or by a kubeconfig."""

import dataclasses
import ssl
from typing import Any

import kopf

from toolpolicy_api import trust


class _Connection(kopf.ConnectionInfo):
    def as_ssl_context(self) -> ssl.SSLContext:
        return trust.as_others_do(super().as_ssl_context())


def login(**arguments: Any) -> kopf.ConnectionInfo | None:
    """A login handler. None: there is neither."""
    found = kopf.login_via_client(**arguments)
    if found is None:
        return None
    return _Connection(**{field.name: getattr(found, field.name) for field in dataclasses.fields(found)})
