"""What aiohttp need not read at start, and that nothing else misses it."""

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import os, ssl
from toolpolicy_sidecar.no_roots import no_roots
before = os.environ.get("SSL_CERT_FILE")
with no_roots():
    import toolpolicy_sidecar.config.channel
from aiohttp import connector
contexts = (connector._SSL_CONTEXT_VERIFIED, connector._SSL_CONTEXT_UNVERIFIED)
assert not any(context.cert_store_stats()["x509"] for context in contexts)
assert os.environ.get("SSL_CERT_FILE") == before
print(ssl.create_default_context().cert_store_stats()["x509"])
"""
_EXPECTED = "import ssl; print(ssl.create_default_context().cert_store_stats()['x509'])"


@pytest.mark.parametrize("own", [None, "/nowhere/roots.pem"])
def test_only_aiohttp_goes_without_the_systems_roots(own: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    if own is not None:
        environment["SSL_CERT_FILE"] = own
    said = [
        subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, env=environment
        ).stdout
        for program in (_PROGRAM, _EXPECTED)
    ]
    assert said[0] == said[1]


def test_without_a_cluster_aiohttp_is_not_even_loaded() -> None:
    program = "import sys, toolpolicy_sidecar.process; sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
