"""Network addresses."""

import ipaddress
import re
from collections.abc import Iterator

from toolpolicy_sidecar.redact.detectors.crowd import in_crowds, split
from toolpolicy_sidecar.redact.detectors.detector import Detector, Every, Validator
from toolpolicy_sidecar.redact.expression import Bounds

_VERSION_BEFORE = re.compile(
    rb"(?i)(?:[a-z]/|\bv(?:er(?:sions?)?)?[\s.:=\"']{0,4}|version\W{1,4}|[a-z0-9]\.)$"
)
_LETTER_BEFORE = 5
"""No farther before a version does its last letter stand."""


def _networks(*written: str) -> frozenset[int]:
    """The upper halves of the addresses in them."""
    networks = map(ipaddress.IPv4Network, written)
    return frozenset(
        half
        for network in networks
        for half in range(int(network.network_address) >> 16, (int(network.broadcast_address) >> 16) + 1)
    )


_OCTETS = {b"%d" % octet: octet for octet in range(256)}
"""As they are written: with a zero in front they are octal to some, and a number of something else to most."""
_NOBODY = _networks("127.0.0.0/8", "0.0.0.0/8", "255.0.0.0/8", "169.254.0.0/16")
_PRIVATE = _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")


def ip_address(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Of a host that may be somebody's: not of a private network."""
    if text.find(b":", start, end) >= 0:
        if _is_ipv6_host(text[start:end]):
            yield start, end
        return
    address = _ipv4_host(text, start, end)
    if address is not None and address >> 16 not in _PRIVATE and not _is_numbering(text[start:end]):
        yield start, end


_NUMBERING = 32
_LONGEST_NUMBERING = len("10.20.30.31")
"""As high a section of a text and a version seldom count. One address in four thousand has no part as high."""
_KNOWN = frozenset((b"1.0.0.1", b"1.1.1.1", b"8.8.4.4", b"8.8.8.8", b"9.9.9.9", b"1.2.3.4", b"5.6.7.8"))
"""Servers of names, and what people type who need any address."""


def _is_numbering(written: bytes) -> bool:
    """Of sections, as `4.2.1.13`, or a version of software, as `2.2.7.8`."""
    return (
        len(written) <= _LONGEST_NUMBERING
        and written not in _KNOWN
        and max(map(int, written.split(b"."))) < _NUMBERING
    )


def private_address(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Of a host in a private network (RFC 1918), where millions have the same."""
    address = _ipv4_host(text, start, end)
    if address is not None and address >> 16 in _PRIVATE:
        yield start, end


_FINGERPRINT = re.compile(rb"(?:[0-9A-Fa-f]{2}:){7}[0-9A-Fa-f]{2}")


def _is_ipv6_host(written: bytes) -> bool:
    """Of what looks like one, with colons between hexadecimal digits. Not a part of a fingerprint, which is written in
    pairs."""
    if len(written) < 6 or (b"::" in written and written.count(b":") > 7) or _FINGERPRINT.fullmatch(written):
        return False
    ones = written.translate(None, b"0:")
    return ones != b"" and not (ones == b"1" and written.endswith(b"1"))  # unspecified, and loopback


def _ipv4_host(text: bytes, start: int, end: int) -> int | None:
    """Its number. Not a mask, not a network, not this machine's own, not the version of a browser."""
    first, second, third, last = map(_OCTETS.get, text[start:end].split(b"."))
    if first is None or second is None or third is None or last is None:
        return None
    address = first << 24 | second << 16 | third << 8 | last
    behind = text[end : end + 2]
    if behind and ((behind[:1] == b"." and behind[1:].isdigit()) or (behind[:1] == b"/" and not last)):
        return None
    if address >> 16 in _NOBODY or not address & 0xFFFFFF:
        return None
    return None if start and _is_version(text, start) else address


def _is_version(text: bytes, start: int) -> bool:
    """Of software, by what stands before it: mostly no letter and no dot is near, and no search needed."""
    near = text[max(0, start - _LETTER_BEFORE) : start]
    if near == near.swapcase() and not near.endswith(b"."):
        return False
    return _VERSION_BEFORE.search(text, max(0, start - 16), start) is not None


_HEX4 = "[0-9A-Fa-f]{1,4}"
_IPV4 = r"\b[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\b"
_IPV6 = rf"\b(?:{_HEX4}:){{7}}{_HEX4}\b|\b(?:{_HEX4}:){{1,6}}(?::{_HEX4}){{1,6}}\b"
_PRIVATE_IPV4 = r"\b1(?:0|00|72|92)\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\b"
_NO_IPV4 = b"..."
_NETWORK = frozenset({b".", b"/"})
_UNKNOWN = b"/"
"""Before the first one there is more of the text."""


def _every(expression: str, validator: Validator, halves: frozenset[int], *, among: bool) -> Every:
    """What stands between addresses is mostly the same, and whether it makes a version of what follows is asked once.
    `halves`: the upper ones `among` which those are that are looked for, or are not."""
    candidate = re.compile(f"({expression})".encode())

    def that_begin_in(text: bytes, start: int, end: int) -> tuple[list[Bounds], int]:
        written, bounds, between, goes_on = split(text, candidate, start, end)
        between[0] = _UNKNOWN
        plain = set(filter(_is_plain, {*between}))
        if b":" in b"".join(written):
            written = [_NO_IPV4 if b":" in address else address for address in written]
        octets = map(_OCTETS.get, b".".join(written).split(b"."))
        found: list[Bounds] = []
        for place, first, second, third, last, before, behind in zip(
            bounds, octets, octets, octets, octets, between, between[1:], strict=False
        ):
            if (
                (first is None or second is None or third is None or last is None)
                or (before not in plain or behind not in plain)
                or max(first, second, third, last) < _NUMBERING
            ):
                found += validator(text, *place)
            elif (second or third or last) and (first << 8 | second in halves) is among:
                found.append(place)
        return found, goes_on

    return lambda text, each: in_crowds(text, each, validator, that_begin_in)


def _is_plain(gap: bytes) -> bool:
    """Whatever stands before it, it makes no version of the address behind it, and no network of the one before."""
    near = gap[-_LETTER_BEFORE:]
    return near == near.swapcase() and gap[:1] not in _NETWORK and gap[-1:] not in _NETWORK


NETWORK: tuple[Detector, ...] = (
    Detector(
        name="IPAddress",
        groups=("PII",),
        description="Addresses of hosts, IPv4 and IPv6.",
        source="RFC 791, RFC 4291",
        confidence="Medium",
        trigger=rf"[0-9]\.[0-9]{{1,3}}\.[0-9]{{1,3}}\.[0-9]|(?::{_HEX4}){{5}}:|[0-9A-Fa-f]::[0-9A-Fa-f]|::[0-9A-Fa-f]{{1,4}}:",
        expression=f"{_IPV4}|{_IPV6}",
        examples=(
            "203.0.113.7",
            "8.8.8.8",
            "2001:db8::8a2e:370:7334",
            "2001:0db8:0000:0000:0000:8a2e:0370:7334",
            "fe80::1ff:fe23:4567:890a",
        ),
        others=(
            "203.0.113.0/24",
            "127.0.0.1",
            "0.0.0.0",
            "255.255.255.0",
            "Chrome/120.0.0.1",
            "v1.2.3.4",
            "1.2.3",
            "1.2.3.4.5",
            "aurora.2.10.0.1",
            "section-4.2.1.13",
            "2.2.7.8",
            "169.254.169.254",
            "300.1.1.1",
            "10:20:30",
            "::1",
            "a::b",
            "std::map",
            "00:1b:44:11:3a:b7",
            "19:2b:3e:c3:b3:5b:32:e8:ae:bb:78:97:27:e4:ba:6c",
        ),
        validator=ip_address,
        every=_every(f"{_IPV4}|{_IPV6}", ip_address, _PRIVATE | _NOBODY, among=False),
    ),
    Detector(
        name="PrivateIPAddress",
        groups=("PII", "IPAddress"),
        description="Addresses of hosts in private networks, which say nothing outside of them.",
        source="RFC 1918, RFC 6598",
        confidence="Low",
        trigger=r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
        expression=_PRIVATE_IPV4,
        examples=("10.1.2.3", "192.168.100.1", "172.31.255.254", "100.64.1.1"),
        others=("203.0.113.7", "127.0.0.1", "10.0.0.0/8", "172.32.1.1", "10.96.0.0/12", "v10.1.2.3"),
        validator=private_address,
        every=_every(_PRIVATE_IPV4, private_address, _PRIVATE, among=True),
    ),
)
