"""Windows, weights, bans and order counts, by themselves: the time is an argument."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrio.sim.face.checks import Refused
from tetrio.sim.face.limits import (
    MAX_ADDRESSES,
    PRODUCTION,
    UNLIMITED,
    Address,
    Addresses,
    BanRules,
    OrderCounter,
    limit_of,
    parse_limits,
)
from tetrio.wire.rules import RateLimit

MINUTE = 60_000
START = 1_784_626_200_000  # a minute, and a day, begin here or nearby


def address(**most: int) -> Address:
    """An address whose limits of a kind are others than Binance's."""
    limits = [
        msgspec.structs.replace(limit, limit=most.get(limit.rate_limit_type, limit.limit)) for limit in PRODUCTION
    ]
    return Address(limits, BanRules())


def refusal(call: Callable[[], None]) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value


def banned(who: Address, at_ms: int) -> Refused:
    """What the address is told when it goes on until it is shut out."""
    while True:
        try:
            who.spend(50, at_ms)
        except Refused as refused:
            if refused.status == 418:
                return refused


def counts(counter: OrderCounter, at_ms: int) -> list[int]:
    return [row.used for row in counter.rows(at_ms)]


# -- addresses --------------------------------------------------------------------------------------------------------


def test_weight_over_the_limit_is_told_with_when_to_come_back() -> None:
    who = address(REQUEST_WEIGHT=100)
    who.spend(100, START)
    refused = refusal(lambda: who.spend(1, START + 1000))
    assert (refused.status, refused.code) == (429, -1003)
    assert refused.msg.startswith("Too much request weight used; current limit is 100 request weight per 1 MINUTE.")
    assert refused.data == {"serverTime": START + 1000, "retryAfter": START + MINUTE}
    who.spend(100, START + MINUTE)


def test_going_on_after_429_is_a_ban_of_two_minutes() -> None:
    who = address(REQUEST_WEIGHT=100)
    refused = banned(who, START)
    assert refused.code == -1003
    assert refused.msg == (
        f"Way too much request weight used; IP banned until {START + 2 * MINUTE}. "
        "Please use WebSocket Streams for live updates to avoid bans."
    )
    assert refused.data == {"serverTime": START, "retryAfter": START + 2 * MINUTE}
    assert refusal(lambda: who.spend(1, START + 2 * MINUTE - 1)).status == 418
    assert refusal(lambda: who.request(START)).status == 418
    who.spend(1, START + 2 * MINUTE)


def test_one_request_far_over_the_limit_is_no_reason_for_a_ban() -> None:
    who = address(REQUEST_WEIGHT=100)
    assert refusal(lambda: who.spend(250, START)).status == 429
    assert refusal(lambda: who.spend(1, START)).status == 418  # told, and went on


def test_a_client_that_waits_for_the_window_is_never_banned() -> None:
    who = address(REQUEST_WEIGHT=100)
    for minute in range(20):
        assert refusal(lambda at_ms=START + minute * MINUTE: who.spend(200, at_ms)).status == 429  # type: ignore[misc]


def test_bans_grow_to_three_days_and_are_forgotten_after_three_days_of_peace() -> None:
    who, at_ms, lengths = address(REQUEST_WEIGHT=100), START, []
    for _ in range(13):
        banned(who, at_ms)
        lengths.append((who.banned_until_ms - at_ms) // MINUTE)
        at_ms = who.banned_until_ms
    assert lengths == [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 4320]
    at_ms += 3 * 86_400_000 + 1
    banned(who, at_ms)
    assert who.banned_until_ms - at_ms == 2 * MINUTE


def test_a_ban_by_hand_closes_connections_and_can_be_lifted() -> None:
    addresses = Addresses(PRODUCTION)
    who, cut = addresses.of("10.0.0.1"), list[int]()
    who.opened(1, lambda: cut.append(1))
    who.opened(2, lambda: cut.append(2))
    who.closed(2)
    addresses.ban("10.0.0.1", START + 1)
    assert cut == [1]
    assert refusal(lambda: who.spend(1, START)).status == 418
    addresses.unban("10.0.0.1")
    who.spend(1, START)


def test_addresses_have_budgets_of_their_own() -> None:
    addresses = Addresses(PRODUCTION)
    addresses.of("10.0.0.1").spend(5, START)
    assert addresses.of("10.0.0.1").weight.count(START) == 5
    assert addresses.of("10.0.0.2").weight.count(START) == 0


def test_addresses_are_bounded_and_those_that_matter_are_kept() -> None:
    addresses = Addresses(PRODUCTION)
    connected, banned_one = addresses.of("connected"), addresses.of("banned")
    connected.opened(1, lambda: None)
    banned_one.ban(START + 10 * MINUTE)
    for number in range(3 * MAX_ADDRESSES):
        addresses.of(f"host{number}").spend(1, START + number)
    assert len(addresses) <= MAX_ADDRESSES
    assert addresses.of("connected") is connected
    assert addresses.of("banned") is banned_one
    assert addresses.of(f"host{3 * MAX_ADDRESSES - 1}").weight.count(START + 3 * MAX_ADDRESSES) == 1


def test_connection_attempts_are_counted_for_each_service() -> None:
    who = address(CONNECTIONS=3)
    for _ in range(3):
        who.connect("ws_api", START)
        who.connect("stream", START)
    for service in ("ws_api", "stream"):
        refused = refusal(lambda service=service: who.connect(service, START + 1))  # type: ignore[misc]
        assert (refused.status, refused.code) == (429, -1034)
        assert refused.msg == "Too many connection attempts from IP; current limit is 3 per '5 MINUTE'."
    assert who.weight.count(START) == 6
    who.connect("stream", START + 5 * MINUTE)


def test_a_banned_address_may_still_watch_the_market() -> None:
    who = address()
    who.ban(START + 1)
    who.connect("stream", START)
    assert refusal(lambda: who.connect("ws_api", START)).status == 418


def test_raw_requests() -> None:
    who = address(RAW_REQUESTS=2)
    who.request(START)
    who.request(START)
    refused = refusal(lambda: who.request(START))
    assert (refused.status, refused.code) == (429, -1003)
    who.request(START + 5 * MINUTE)


@given(st.lists(st.tuples(st.integers(1, 250), st.integers(0, 30_000)), max_size=60))
def test_what_was_accepted_within_a_minute_is_never_over_the_limit(requests: list[tuple[int, int]]) -> None:
    who, at_ms, accepted = address(REQUEST_WEIGHT=500), START, dict[int, int]()
    for weight, later_ms in requests:
        at_ms += later_ms
        try:
            who.spend(weight, at_ms)
        except Refused as refused:
            assert refused.status in {418, 429}
            assert isinstance(refused.data, dict)
            assert refused.data["retryAfter"] > at_ms
        else:
            accepted[at_ms // MINUTE] = accepted.get(at_ms // MINUTE, 0) + weight
    assert all(used <= 500 for used in accepted.values())


# -- orders -----------------------------------------------------------------------------------------------------------


def test_windows_begin_with_the_clocks() -> None:
    counter = OrderCounter(PRODUCTION)
    for at_ms in (0, 9_999):
        counter.add(at_ms)
    assert counts(counter, 9_999) == [2, 2]
    assert counts(counter, 10_000) == [0, 2]
    counter.first_fill(True, 10_000)
    assert counts(counter, 10_000) == [0, 0]
    assert counts(counter, 86_400_000) == [0, 0]


def test_lists_count_their_orders_and_a_maker_is_credited_more_than_a_taker() -> None:
    counter = OrderCounter(PRODUCTION)
    counter.add(0, 3)
    counter.add(0, 2)
    counter.add(0, 4)
    counter.first_fill(False, 0)
    assert counts(counter, 0) == [8, 8]
    counter.first_fill(True, 0)
    assert counts(counter, 0) == [3, 3]
    counter.first_fill(True, 0)
    assert counts(counter, 0) == [0, 0]  # no credit below zero


def test_when_the_day_is_full_its_seconds_are_no_longer_counted() -> None:
    counter = OrderCounter(orders(5, 3))
    for _ in range(3):
        assert counter.exceeded(0) is None
        counter.add(0)
    full = counter.exceeded(0)
    assert full is not None
    assert full.limit.interval == "DAY"
    counter.add(0)
    assert counts(counter, 0) == [3, 4]
    assert counter.exceeded(86_400_000) is None


def orders(in_ten_seconds: int, in_a_day: int) -> list[RateLimit]:
    most = {"SECOND": in_ten_seconds, "DAY": in_a_day}
    return [
        msgspec.structs.replace(limit, limit=most[limit.interval])
        for limit in PRODUCTION
        if limit.rate_limit_type == "ORDERS"
    ]


# -- which limits there are -------------------------------------------------------------------------------------------


def test_limits_on_the_command_line() -> None:
    assert parse_limits("production") == PRODUCTION
    assert {limit.limit for limit in parse_limits("off")} == {UNLIMITED}
    changed = parse_limits("ORDERS:10s=5000, REQUEST_WEIGHT:1m=60000")
    assert [limit.limit for limit in changed] == [60000, 5000, 200000, 300, 300000]
    for wrong, said in (
        ("none", "'none' is none of: production, off, KIND:WINDOW=LIMIT"),
        ("ORDERS:10s=0", "is none of"),
        ("ORDERS:7s=5", "there is no limit ORDERS:7s: REQUEST_WEIGHT:1m, ORDERS:10s, ORDERS:1d"),
        ("", "is none of"),
    ):
        with pytest.raises(ValueError, match=said):
            parse_limits(wrong)


def test_a_kind_that_is_not_given_is_as_in_production() -> None:
    assert limit_of([], "RAW_REQUESTS").limit == 300000
    assert limit_of(orders(1, 1), "ORDERS").limit == 1
