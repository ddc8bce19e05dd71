"""The operator's words while nothing, or not everything, is known: before the first sync, between two links."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock as Clock

from tests.core.test_refold import RULES
from tetrio.core import kernel
from tetrio.core.guards import Crossed
from tetrio.core.kernel import Command, Decision, KernelRules, Word
from tetrio.core.market import Holdings, Quote
from tetrio.core.params import ExitParams, StrategyParams
from tetrio.journal import Journal
from tetrio.live.commander import PENDING, Commander
from tetrio.live.latch import Latch
from tetrio.operator import Answer, Order
from tetrio.status import LiveOrder, Status

RESTING = LiveOrder(side="SELL", price="2001.00", qty="1", filled="0", client_order_id="tt-1", placed_ns=0)


class Rig:
    """A commander and what it was made with; nothing of an exchange."""

    def __init__(self, directory: Path | None = None, *, phase: str = "ready", regime: str = "BASE") -> None:
        self.journal = Journal([], lambda: 0)
        self.status = Status(
            phase=phase, regime=regime, bid="2000.00", ask="2000.01", base_asset="ETH", quote_asset="USDT",
            holding={"ETH": Decimal(1), "USDT": Decimal(0)},
        )  # fmt: skip
        self.latch = Latch(directory)
        self.stop = trio.Event()
        self.commander = Commander(
            status=self.status, journal=self.journal, latch=self.latch, params=ExitParams(), stop=self.stop,
            wake=lambda: None, rebase=self._rebase,
        )  # fmt: skip
        self.rebased = 0

    def _rebase(self) -> int:
        self.rebased += 1
        return 1_700_000_000_000

    def say(self, word: str, *, force: bool = False) -> Answer:
        return self.commander.obey(Order(word=word, by="test", force=force))

    async def restore(self, *, traded: bool = False) -> None:
        async def traded_before() -> bool:
            return traded

        await self.commander.restore("live", "7", "ETHUSDT", traded_before)

    def waiting(self) -> list[Word]:
        """What the strategy would be handed now."""
        words = list[Word]()
        for _ in range(PENDING):
            try:
                words.append(self.commander.commands.receive_nowait().word)
            except trio.WouldBlock:
                break
        return words


def spoil(directory: Path, content: str) -> None:
    (path,) = directory.glob("*.json")
    path.write_text(content)


@pytest.mark.parametrize("word", ["pause", "halt"])
async def test_a_word_said_before_the_first_sync_outweighs_what_the_file_says(word: str, tmp_path: Path) -> None:
    before = Rig(tmp_path)
    await before.restore()
    before.latch.close()
    rig = Rig(tmp_path, phase="connecting", regime="")
    assert rig.say(word).done
    await rig.restore()
    assert (rig.status.paused, rig.status.halted) == (word == "pause", word == "halt")
    assert rig.commander.standing().word is Word.PAUSE
    rig.latch.close()
    again = Rig(tmp_path)
    await again.restore()
    assert again.commander.idle, "and it is written down"
    again.latch.close()


async def test_a_resume_said_before_the_first_sync_takes_the_files_halt_back(tmp_path: Path) -> None:
    before = Rig(tmp_path)
    await before.restore()
    before.say("halt")
    before.latch.close()
    rig = Rig(tmp_path, phase="connecting", regime="")
    assert "resumed" in rig.say("resume").text
    await rig.restore(traded=True)
    assert not rig.commander.idle
    rig.latch.close()


async def test_a_lost_latch_is_asked_about_again_when_the_link_dies_under_the_question(tmp_path: Path) -> None:
    rig = Rig(tmp_path)

    async def dies() -> bool:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await rig.commander.restore("live", "7", "ETHUSDT", dies)
    settled = [rig.latch.found]
    await rig.restore(traded=True)
    assert [*settled, rig.latch.found] == [False, True]
    assert rig.status.paused
    rig.latch.close()


@pytest.mark.parametrize("content", ["{", ""])
async def test_a_latch_that_cannot_be_read_pauses_and_says_so_even_on_a_new_account(
    content: str, tmp_path: Path
) -> None:
    before = Rig(tmp_path)
    await before.restore()
    before.latch.close()
    spoil(tmp_path, content)
    rig = Rig(tmp_path)
    await rig.restore(traded=False)
    assert rig.status.paused
    assert any("cannot be read" in str(fact.fields) for fact in rig.journal.recent)
    rig.latch.close()


async def test_disarm_takes_back_an_exit_that_waits_for_the_exchange() -> None:
    rig = Rig(phase="connecting")
    rig.say("exit")
    assert "exit" in rig.say("disarm").text
    rig.commander.resume_leaving("BASE")
    assert Word.EXIT not in rig.waiting()


async def test_disarm_while_halted_takes_back_an_exit_kept_from_before_a_restart(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    await rig.restore()
    rig.say("exit")
    rig.say("halt")
    rig.latch.close()
    again = Rig(tmp_path)
    await again.restore()
    again.commander.resume_leaving("BASE")
    assert again.say("disarm").done
    again.say("resume")
    again.commander.resume_leaving("BASE")
    assert Word.EXIT not in again.waiting()
    again.latch.close()


async def test_resume_goes_on_with_an_exit_kept_from_before_a_restart_and_says_so(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    await rig.restore()
    rig.say("flatten")
    rig.say("halt")
    rig.latch.close()
    again = Rig(tmp_path)
    await again.restore()
    again.commander.resume_leaving("BASE")
    assert Word.FLATTEN not in again.waiting()
    assert "flatten" in again.say("resume").text
    assert Word.FLATTEN in again.waiting()
    again.latch.close()


async def test_an_exit_that_waited_is_dropped_and_said_when_its_regime_has_ended_meanwhile() -> None:
    rig = Rig(phase="connecting")
    rig.say("flatten")
    rig.commander.resume_leaving("QUOTE")
    assert Word.FLATTEN not in rig.waiting()
    assert "BASE" in str(rig.journal.recent[-1].fields)
    assert rig.journal.recent[-1].kind == "command"


async def test_an_exit_that_waited_is_obeyed_once_and_said_when_the_exchange_is_back() -> None:
    rig = Rig(phase="connecting")
    assert "once the exchange is reached" in rig.say("exit").text
    rig.commander.resume_leaving("BASE")
    assert rig.waiting().count(Word.EXIT) == 1
    fields = rig.journal.recent[-1].fields
    assert (fields["word"], fields["done"]) == ("exit", True)


async def test_an_exit_that_is_armed_already_is_not_told_anew_with_each_link() -> None:
    rig = Rig()
    rig.say("exit")
    rig.status.armed = "manual"
    told = len(rig.journal.recent)
    rig.commander.resume_leaving("BASE")
    assert len(rig.journal.recent) == told


async def test_what_is_cancelled_only_later_is_said_so_while_there_is_no_exchange() -> None:
    rig = Rig(phase="connecting")
    rig.status.order, rig.status.armed = RESTING, "take-profit"
    assert "is cancelled once the exchange is reached" in rig.say("halt").text
    assert "is cancelled once the exchange is reached" in rig.say("disarm").text


async def test_nothing_is_begun_while_it_stops() -> None:
    rig = Rig()
    rig.say("stop")
    for word in ("exit", "flatten"):
        answer = rig.say(word)
        assert not answer.done
        assert "stopping" in answer.text
    assert rig.latch.words.leaving == ""


async def test_a_change_of_regime_ends_the_exit_that_was_asked_for() -> None:
    rig = Rig()
    rig.say("exit")
    rig.commander.note(Decision("regime", {"before": "BASE"}))
    assert rig.latch.words.leaving == ""


async def test_an_exit_said_twice_does_not_trade_back_at_once(autojump_clock: Clock) -> None:
    rig = Rig()
    assert rig.say("exit").done
    known = kernel.start(StrategyParams(fee=0.0), KernelRules.of(RULES))
    held = kernel.on_holdings(known, Holdings(base=10_000, quote=0))
    state, _ = kernel.fold(held, [Quote(200_000, 200_000, 1, 0)])
    state, armed = kernel.on_command(state, Command(Word.EXIT))
    _, done = kernel.fold(kernel.on_holdings(state, Holdings(base=0, quote=2e9)), [Quote(200_000, 200_000, 2, 0)])
    assert [each.kind for each in (*armed, *done)] == ["armed", "disarmed", "regime"]
    for decision in (*armed, *done):
        rig.commander.note(decision)
    rig.status.regime = "QUOTE"
    again = rig.say("exit")
    assert not again.done
    assert "say it again in 10 s" in again.text
    assert rig.commander.preview("flatten") == again.text
    await trio.sleep(10)
    assert rig.say("exit").done


async def test_a_stop_says_that_an_exit_goes_on_at_the_next_start(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    await rig.restore()
    said = rig.say("exit").text
    assert "its order follows" in said
    assert "goes on at the next start" in rig.say("stop").text
    rig.latch.close()


async def test_what_trades_names_venue_and_symbol() -> None:
    rig = Rig()
    rig.status.venue, rig.status.symbol = "live", "ETHUSDT"
    assert rig.commander.preview("flatten").startswith("live ETHUSDT: sell 1 ETH")


async def test_a_guard_halts_as_the_operator_does_and_resume_lifts_it_for_good(tmp_path: Path) -> None:
    crossed = Crossed("max_drawdown", 0.1, 0.125, Decimal("87.5"), Decimal("100.00"), Decimal("1750.10"))
    rig = Rig(tmp_path)
    await rig.restore()
    rig.commander.halt_by_guard(crossed)
    rig.commander.halt_by_guard(crossed)
    assert (rig.commander.halted, rig.status.halted) == (True, True)
    (fact,) = [fact for fact in rig.journal.recent if fact.kind == "command"]
    assert fact.fields["by"] == "guard"
    assert "max_drawdown 0.1 is crossed: 12.5000% lost, worth 87.5 against 100;" in str(fact.fields["text"])
    rig.latch.close()
    after = Rig(tmp_path)
    await after.restore()
    assert (after.commander.halted, after.latch.words.why != "") == (True, True)
    assert after.say("resume").done
    assert (after.commander.halted, after.latch.words.why, after.rebased) == (False, "", 1)
    assert after.latch.words.rebased_ms == 1_700_000_000_000


async def test_an_operators_halt_is_lifted_without_forgetting_losses(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    await rig.restore()
    assert rig.say("halt").done
    assert rig.say("resume").done
    assert (rig.rebased, rig.latch.words.rebased_ms) == (0, 0)


async def test_a_latch_of_before_guards_is_still_read(tmp_path: Path) -> None:
    before = Rig(tmp_path)
    await before.restore()
    before.latch.close()
    spoil(tmp_path, '{"paused": false, "halted": true, "leaving": "", "taking": false}')
    rig = Rig(tmp_path)
    await rig.restore()
    assert (rig.commander.halted, rig.latch.words.why, rig.latch.trouble) == (True, "", "")


async def test_a_protective_stop_stays_when_nothing_is_armed_and_goes_with_a_halt() -> None:
    rig = Rig()
    rig.status.order = attrs.evolve(RESTING, protects=True)
    assert "the protective stop SELL 1 @ 2001.00 stays" in rig.say("disarm").text
    assert "the protective stop SELL 1 @ 2001.00 is cancelled" in rig.say("halt").text
