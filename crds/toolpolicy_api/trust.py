"""Whose certificates are believed, on every Python in the same way."""

import os
import ssl


def servers(*, cafile: str | os.PathLike[str] | None = None, cadata: str | None = None) -> ssl.SSLContext:
    """For clients: a server's chain, times and name are verified; without authorities of one's own against the
    system's. Raises OSError."""
    return as_others_do(ssl.create_default_context(cafile=cafile, cadata=cadata))


def as_others_do(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same context, verifying as Go, curl and nginx do. Python 3.13 added the letter of RFC 5280, by which the API
    servers of EKS and many a company's own authority are refused: their certificates do not name keys. And it trusts an
    intermediate authority that is all a bundle holds, which older ones do not."""
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
