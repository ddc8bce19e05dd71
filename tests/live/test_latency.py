"""How long each stage takes is timed, told by every face, and told right: a whole bot in virtual time, with delays."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.live.rig import World, lived, lively
from tests.sim.served import Line, top, trade
from tetrio import metrics
from tetrio.latency import PENDING, STAGES, Latency
from tetrio.operator import Order
from tetrio.sim.face.latency import parse_latency
from tetrio.status import snapshot

MARKET_MS, ORDER_MS, REPORT_MS = 5, 20, 3


def falling(seconds: int) -> list[Line]:
    """A book that falls by a tick each second: an exit that sells has to follow."""
    lines = [trade(0.001, "3412.36", "0.0001")]
    for second in range(seconds):
        bid = 341_236 - second
        lines.append(top(second, f"{bid / 100:.2f}", "1.8420", f"{(bid + 1) / 100:.2f}", "0.7714"))
    return lines


def test_every_stage_is_told_by_status_metrics_and_journal(tmp_path: Path) -> None:
    shown: list[str] = []
    late_ns: list[int] = []  # a recording that waited for who subscribes is late by that

    async def scenario(world: World) -> None:
        await world.until_ready()
        world.bot.commander.obey(Order(word="exit", by="test"))
        await trio.sleep(120)
        late_ns.append(world.date.now_ns() - world.exchange.venue.clock.now_ns())
        shown.append(metrics.exposition(world.bot.status, world.bot.journal).decode())

    lag = parse_latency(f"market={MARKET_MS},order={ORDER_MS},report={REPORT_MS}")
    world = lived(tmp_path, scenario, "exit.requote_ms=0", lines=falling(150), latency=lag)
    status = snapshot(world.bot.status)["latency"]
    assert isinstance(status, dict)
    stages = status["stages"]
    assert list(stages) == list(STAGES)
    assert stages["feed"]["p50_ms"] == pytest.approx(MARKET_MS + late_ns[0] / 1e6, abs=status["clock_error_ms"] + 1)
    assert ORDER_MS <= stages["ack"]["p50_ms"] < ORDER_MS + REPORT_MS + 5
    assert ORDER_MS <= stages["rest"]["p50_ms"] < ORDER_MS + REPORT_MS + 5
    assert stages["order"]["p50_ms"] < 1, "nothing takes time in virtual time but the exchange"
    assert stages["whole"]["p50_ms"] == pytest.approx(stages["rest"]["p50_ms"], abs=1)
    assert stages["order"]["count"] == stages["send"]["count"] <= stages["ack"]["count"]
    assert 'tetrio_latency_seconds{quantile="0.99",stage="ack"}' in shown[0]
    assert 'tetrio_latency_samples_total{stage="feed"}' in shown[0]
    assert "tetrio_clock_offset_seconds " in shown[0]
    (told,) = world.told("latency")
    assert told["rest"] == stages["rest"]
    assert told["clock_error_ms"] == status["clock_error_ms"]


def test_the_journal_tells_each_hour_what_came_in_it(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await world.until_ready()
        await trio.sleep(2 * 3600 + 60)

    world = lived(tmp_path, scenario, lines=lively(0.1))
    told = world.told("latency")
    assert len(told) == 3
    assert [set(each) & set(STAGES) for each in told] == [{"feed", "decide"} & set(each) for each in told]
    hour, later, rest = (each["feed"]["count"] for each in told)
    assert 3500 < hour <= 3610
    assert 3500 < later <= 3610
    assert rest < 100
    assert world.bot.status.latency.figures()["feed"].count == hour + later + rest


def test_an_order_that_waited_on_purpose_is_no_sample() -> None:
    latency = Latency()
    latency.received(1.0)
    latency.handed()
    latency.folded(1.001, published=True)
    latency.held_back()
    sending = latency.sending("a")
    sending.written(1.5)
    sending.replied(1.51)
    latency.rests("a", 1.52)
    assert list(latency.figures()) == ["decide", "ack", "rest"]


def test_stages_of_an_order_that_follows_at_once() -> None:
    latency = Latency()
    latency.clock(offset_ms=2.0, error_ms=0.7, rate=1.0)
    latency.received(1.0, 10_000_000_000, 9_990)
    latency.handed()
    latency.received(1.002, 10_002_000_000)
    latency.handed()
    latency.folded(1.003, published=True)
    sending = latency.sending("a")
    sending.written(1.004)
    sending.replied(1.014)
    latency.rests("a", 1.015)
    latency.rests("a", 1.5)
    told = {stage: each.p50_ms for stage, each in latency.figures().items()}
    assert told == pytest.approx(
        {"feed": 11.5, "decide": 3, "send": 1, "order": 4, "ack": 10, "rest": 11, "whole": 15}, rel=1 / 60
    )


def test_the_feed_is_not_timed_while_the_clock_is_not_known() -> None:
    latency = Latency()
    latency.received(1.0, 10_000_000_000, 9_990)
    assert latency.figures() == {}
    assert latency.record() == {"stages": {}, "clock_offset_ms": None, "clock_error_ms": None}


def test_what_own_events_or_a_cancel_bring_about_is_no_reaction_to_the_market() -> None:
    latency = Latency()
    latency.folded(1.0, published=True)
    latency.sending("a").written(1.1)
    assert latency.figures() == {}
    latency.received(2.0)
    latency.handed()
    latency.folded(2.0, published=True)
    latency.sending(None).written(2.1)
    latency.sending("b").written(2.2)
    assert list(latency.figures()) == ["decide"]


def test_at_a_higher_speed_the_machines_time_is_told() -> None:
    latency = Latency()
    latency.clock(offset_ms=40.0, error_ms=30.0, rate=20.0)
    assert latency.record() == {"stages": {}, "clock_offset_ms": 2.0, "clock_error_ms": 1.5}
    latency.received(1.0, 10_000_000_000, 9_840)
    assert latency.figures()["feed"].p50_ms == pytest.approx(10, rel=1 / 60)
    latency.handed()
    latency.folded(1.2, published=True)
    assert latency.figures()["decide"].p50_ms == pytest.approx(10, rel=1 / 60)


def test_a_new_epoch_waits_for_no_report_of_the_old_one() -> None:
    latency = Latency()
    latency.sending("a").written(1.0)
    latency.afresh()
    latency.rests("a", 9.0)
    assert latency.figures() == {}


def test_reports_that_never_come_are_forgotten() -> None:
    latency = Latency()
    for number in range(PENDING + 1):
        latency.sending(str(number)).written(1.0)
    latency.rests("0", 2.0)
    assert latency.figures() == {}
    latency.rests("1", 2.0)
    assert latency.figures()["rest"].count == 1
