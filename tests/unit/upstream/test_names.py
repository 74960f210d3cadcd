"""Names are asked for once in their TTL, denials too, along the search list of a pod."""

import asyncio

import pytest

from tests.unit.upstream.name_server import AAAA, A, name_server
from toolpolicy_sidecar.upstream import names as names_module
from toolpolicy_sidecar.upstream.names import NoAddress

POD = ("support.svc.cluster.local", "svc.cluster.local", "cluster.local")


async def test_both_families_are_asked_for_once_in_their_ttl() -> None:
    async with name_server() as (dns, names):
        dns.zone["kb.example"] = (60, ["10.0.0.1", "fd00::1", "10.0.0.2"])
        for _ in range(3):
            assert sorted(await names.addresses("kb.example")) == ["10.0.0.1", "10.0.0.2", "fd00::1"]
        assert sorted(dns.asked) == [("kb.example", A), ("kb.example", AAAA)]


async def test_a_ttl_of_zero_is_asked_for_again() -> None:
    async with name_server() as (dns, names):
        dns.zone["kb.example"], dns.then["kb.example"] = (0, ["10.0.0.1"]), (0, ["10.0.0.2"])
        assert await names.addresses("kb.example") == ["10.0.0.1"]
        assert await names.addresses("kb.example") == ["10.0.0.2"]


async def test_what_is_over_is_asked_for_again() -> None:
    async with name_server() as (dns, names):
        dns.zone["kb.example"], dns.then["kb.example"] = (1, ["10.0.0.1"]), (1, ["10.0.0.2"])
        async with asyncio.timeout(20):
            while await names.addresses("kb.example") != ["10.0.0.2"]:  # noqa: ASYNC110 -- time passes
                await asyncio.sleep(0.1)
        assert dns.names() == ["kb.example"] * 2


@pytest.mark.parametrize(("denial_s", "questions"), [(60, 1), (0, 3)])
async def test_denials_are_remembered_as_long_as_dns_says(denial_s: int, questions: int) -> None:
    async with name_server() as (dns, names):
        dns.denial_s = denial_s
        for _ in range(3):
            with pytest.raises(NoAddress, match="not found"):
                await names.addresses("nowhere.example")
        assert dns.names() == ["nowhere.example"] * questions


async def test_the_search_list_of_a_pod() -> None:
    async with name_server(POD, ndots=5) as (dns, names):
        dns.zone["kb.support.svc.cluster.local"] = (60, ["10.0.0.1"])
        dns.zone["kb.other.svc.cluster.local"] = (60, ["10.0.0.2"])
        dns.zone["kb.example.com"] = (60, ["10.0.0.3"])
        for host, address in (
            ("kb", "10.0.0.1"),
            ("kb.other", "10.0.0.2"),
            ("kb.other.svc", "10.0.0.2"),
            ("kb.other.svc.cluster.local", "10.0.0.2"),
            ("kb.example.com", "10.0.0.3"),
            ("kb.example.com.", "10.0.0.3"),
        ):
            assert await names.addresses(host) == [address]
        dns.asked.clear()
        await names.addresses("kb.example.com")  # a long way, and none of it is gone twice
        assert dns.asked == []


async def test_one_family_that_fails_does_not_hide_the_other() -> None:
    async with name_server() as (dns, names):
        dns.zone["half.example"] = (60, ["10.0.0.1"])
        dns.failing.add("half.example")
        assert await names.addresses("half.example") == ["10.0.0.1"]


async def test_hosts_of_the_system_and_addresses_ask_nobody() -> None:
    async with name_server() as (dns, names):
        assert "127.0.0.1" in await names.addresses("localhost")
        for address in ("10.1.2.3", "fd00::1"):
            assert await names.addresses(address) == [address]
        assert dns.asked == []


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "a" * 64 + ".example", "a..b"])
async def test_what_only_looks_like_an_address_or_a_name_is_none(host: str) -> None:
    async with name_server() as (_, names):
        with pytest.raises(NoAddress):
            await names.addresses(host)


async def test_no_more_is_remembered_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names_module, "LOOKUPS_REMEMBERED", 3)
    async with name_server() as (dns, names):
        dns.zone["kb.example"] = (60, ["10.0.0.1"])
        for _ in range(4):
            await names.addresses("kb.example")
        assert dns.names() == ["kb.example"] * 2


async def test_who_gives_up_waiting_is_not_answered_late() -> None:
    async with name_server() as (dns, names):
        dns.silent = True
        task = asyncio.ensure_future(names.addresses("kb.example"))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        names.close()
        await asyncio.sleep(0.05)  # c-ares answers that it was cancelled
