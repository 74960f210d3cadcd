"""Certificates as policies carry them."""

import ssl


def fault_of_bundle(text: str) -> str | None:
    """What is wrong with these certificates (PEM), half a sentence; None: they can be trusted as they are."""
    if "PRIVATE KEY" in text:
        return "holds a private key; give certificates only"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ValueError, ssl.SSLError) as error:
        return f"no certificates in PEM ({getattr(error, 'reason', None) or error})"
    return None
