"""Balances learned by a jumpstart, and own trades of the moment after: neither is taken twice."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import trio

from tests.scenarios.sandbox import Fault, Frame, Tampered, played
from tests.scenarios.stage import Scene, fills, market
from tetrio.live.resolving import ABSENT_AFTER_S

STILL = Scene(at_s=0, bid="3412.36", ask="3412.39", traded="3412.36")
HIGH = Scene(at_s=5, bid="3422.36", ask="3422.39", traded="3422.36")
BACK = Scene(at_s=8, bid="3417.36", ask="3417.39", traded="3417.36")  # half of the gain is given back: a take-profit
LIFTED = Scene(at_s=14, bid="3417.40", ask="3417.43", traded="3417.43")  # through our ask
LATE_S = 3.0


class LateBalances(Fault):
    """The link is cut while an exit rests; what the new one is told of the balances comes late."""

    def __init__(self, cut_s: float) -> None:
        super().__init__()
        self.cut_s = cut_s
        self.late = set[tuple[int, object]]()

    async def run(self) -> None:
        await trio.sleep_until(self.cut_s + 1)
        line = self.lines["account"]
        assert isinstance(line, Tampered)
        line.cut()

    def asked(self, line: Tampered, request: Frame) -> None:
        super().asked(line, request)
        again = trio.current_time() > self.cut_s + 1 and not self.late
        if again and request["method"] == "account.status" and "omitZeroBalances" not in request["params"]:
            self.late.add((id(line), request["id"]))

    def told(self, line: Tampered, frame: Frame) -> list[tuple[float, Frame]]:
        late = (id(line), frame.get("id")) in self.late
        self.count += late
        return [(LATE_S if late else 0.0, frame)]


@pytest.mark.fault("F50", "F51", "F79")
def test_a_fill_between_a_jumpstarts_balances_and_its_trades_is_no_flow(tmp_path: Path) -> None:
    fault = LateBalances(cut_s=12)
    path = market(tmp_path / "market.txt", (STILL, HIGH, BACK, LIFTED), 80, traded_before="3412.36")
    run = played(fault, path, "strategy.reference=trade", "account.reconcile=jumpstart")
    assert fault.count == 1
    (fill,) = fills(run)
    assert 12 < fill["at_s"] < 12 + 1 + LATE_S, "while the balances of before it were on their way"
    flows = [fact for fact in run.facts if fact["kind"] == "balance" and "flow" in fact]
    assert flows == []
    assert [fact["regime"] for fact in run.facts if fact["kind"] == "regime"] == ["BASE", "QUOTE"]
    assert Decimal(fill["last_qty"]) == 1


@pytest.mark.fault("F43", "F44")
@pytest.mark.parametrize(
    "how",
    [
        "fail:order.cancel:-1007:not", "fail:order.cancel:-1007:executed", "lose-request:order.cancel",
        "lose-reply:order.cancel",
    ],
)  # fmt: skip
def test_no_second_deep_order_is_placed_beside_one_whose_cancel_is_not_confirmed(tmp_path: Path, how: str) -> None:
    path = market(tmp_path / "market.txt", (STILL, HIGH, BACK, LIFTED), 80, traded_before="3412.36")
    run = played(Fault(), path, "account.reconcile=jumpstart", faults=(how,))
    assert (run.clean, run.verdict.most_live, run.verdict.left_open) == (True, 1, [])
    assert "was not confirmed" in run.epochs_ended()[0]


@pytest.mark.fault("F36", "F43", "F97")
@pytest.mark.parametrize("leap", ["-40s", "+40s"])
def test_a_deep_order_is_absent_by_this_machine_s_time_whatever_the_exchange_s_date(tmp_path: Path, leap: str) -> None:
    path = market(tmp_path / "market.txt", (STILL, HIGH, BACK), 120, traded_before="3412.36")
    faults = (f"clock-offset:{leap}@2s", "lose-request:order.place@2.5s", "disconnect:ws_api:1001@3s")
    run = played(Fault(), path, "account.reconcile=jumpstart", faults=faults)
    orders = [fact for fact in run.facts if fact["kind"] == "order"]
    (lost,) = {fact["client_order_id"] for fact in orders if fact["state"] == "unknown"}
    sent, *_, absent = [fact["ts"] / 1e9 for fact in orders if fact["client_order_id"] == lost]
    assert ABSENT_AFTER_S <= absent - sent < ABSENT_AFTER_S + 25
