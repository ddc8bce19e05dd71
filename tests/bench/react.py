"""The way from tick to order, for a stopwatch outside: `python -m tests.bench.react STREAM_URL WS_API_URL [--ca FILE]`.

The bot's own feed, strategy and executor tasks run between an outside market stream and an outside WebSocket API. Each
bookTicker makes one `order.place` whose client order id contains `tick-<u>`, u its update id. It prints
`{"ready": true}` once both links are up and the first tick is folded, and runs until it is ended.

What differs from the bot: an exit is wanted all the time, and each tick is priced anew, also one that moves no price;
an order is over with its answer, since there is no account task to tell its end; nobody logs on. Of ticks that are
folded in one batch, or come before the last order is answered, the newest makes the order, as in the bot.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import AsyncIterator
from decimal import Decimal

import attrs
import trio

from tests.bench._rig import SYMBOL, base_of, feeding, rules_of, silent_journal, symbol_sent, trusting
from tetrio.core import kernel
from tetrio.core.kernel import KernelRules
from tetrio.core.limits import Breakers, DailyOrders, OrderBudget
from tetrio.core.market import Holdings, Quote, Reason, Side
from tetrio.core.money import SymbolRules
from tetrio.core.orders import Cancel as TakeAway
from tetrio.core.orders import Names, OrderEvent, Place, Replace, Wait
from tetrio.core.params import ExitParams, StrategyParams
from tetrio.errors import WireError
from tetrio.live.executor import Executor
from tetrio.live.link import open_link
from tetrio.live.mailbox import Mailbox
from tetrio.live.rest import open_rest
from tetrio.live.rulebook import Rulebook
from tetrio.live.session import Session
from tetrio.live.sleeve import Balance, Sleeve
from tetrio.live.strategy import Intent, Memory, Strategy
from tetrio.net import trust
from tetrio.net.clock import WallClock
from tetrio.status import Status

TAG, NONCE = "bench0", "00000"
PARAMS = StrategyParams(reference="book", fee=0.0, hard_stop=1.0)
HELD = Decimal(1_000_000)
ONE_ORDER = 1000  # lots
LOOK_S = 0.5


def armed(rules: SymbolRules) -> kernel.State:
    """The base is held, and is to be sold."""
    state = kernel.start(PARAMS, KernelRules.of(rules))
    state = kernel.on_holdings(state, Holdings(base=rules.floor_lots(HELD), quote=0))
    return kernel.adopt(state, Reason.MANUAL, Side.SELL)


class EachTick(Strategy):
    """Publishes each tick, also one that moves no price."""

    def _publish(self) -> None:
        super()._publish()
        self._intents.ring()


@attrs.define
class TickNames(Names):
    """Ids that name the tick; `intents` is where the executor reads it."""

    intents: Mailbox[Intent] = attrs.field(kw_only=True)

    def next(self, episode: int, reason: str) -> str:
        """Of the newest tick."""
        quote = self.intents.value.quote
        assert quote is not None, "an order is priced by a book"
        return f"tt-{self.tag}-tick-{quote.update_id}"


class OneEach(Executor):
    """One order a tick, each over with its answer."""

    _ticked: int | None = None

    def _plan(self) -> Place | Replace | TakeAway | Wait:
        quote = self._intents.value.quote
        if quote is None or quote.update_id == self._ticked:
            return Wait("no new tick")
        action = super()._plan()
        if isinstance(action, Place):
            self._ticked = quote.update_id
        return action

    async def _place(self, action: Place) -> None:
        with contextlib.suppress(WireError):  # a stopwatch's answer need not tell all that Binance's does
            await super()._place(action)
        for order in self._sleeve.unfinished():
            self._sleeve.learn(order.client_order_id, OrderEvent.EXPIRE)
        self._sleeve.fresh = True
        self._breakers = Breakers()  # nor does one that refuses hold up the next


@contextlib.asynccontextmanager
async def executing(url: str, rules: SymbolRules, intents: Mailbox[Intent], status: Status) -> AsyncIterator[OneEach]:
    """An executor over a link of its own."""
    journal, clock = silent_journal(), WallClock()
    sleeve = Sleeve(rules, TAG, NONCE, told=lambda *_: None, filled=lambda _: None)
    sleeve.balances = {rules.base_asset: Balance(HELD), rules.quote_asset: Balance(HELD)}
    sleeve.fresh = True
    async with (
        open_rest("http://127.0.0.1:9", clock.now_ns) as rest,
        open_link(url, lambda: clock.now_ns() // 1_000_000) as link,
    ):
        yield OneEach(
            Session(link), sleeve, TickNames(TAG, NONCE, intents=intents), intents,
            params=ExitParams(requote_ms=0), max_notional=Decimal(0), budget=OrderBudget(), daily=DailyOrders(10**9),
            breakers=Breakers(), rulebook=Rulebook(rest, sleeve, journal=journal, wake=intents.ring),
            stopped=lambda: False, learnt=trio.lowlevel.checkpoint, why_no_clock=lambda: "",
            journal=journal, status=status, now_ns=time.time_ns, halted=lambda: False,
        )  # fmt: skip


async def react(stream: str, api: str, symbol: str) -> None:
    """Until the order link is lost; it returns when the server's ticks are another symbol's."""
    rules = attrs.evolve(rules_of(symbol), max_qty_lots=ONE_ORDER)
    status, journal, intents = Status(), silent_journal(), Mailbox(Intent())
    first = trio.Event()

    def seen(_: Quote) -> None:
        if not first.is_set():
            first.set()

    strategy = EachTick(
        rules, PARAMS, Memory(state=armed(rules)), intents,
        journal=journal, status=status, on_first=lambda: None, decided=lambda _: None, watch=seen,
    )  # fmt: skip
    async with (
        executing(api, rules, intents, status) as executor,
        feeding(stream, rules, status, journal, WallClock()) as inbound,
        trio.open_nursery() as tasks,
    ):
        tasks.start_soon(strategy.run, inbound)
        tasks.start_soon(executor.run)
        while not first.is_set():
            with trio.move_on_after(LOOK_S):
                await first.wait()
            if status.frames and not first.is_set():
                tasks.cancel_scope.cancel()
                return
        print(json.dumps({"ready": True}), flush=True)
        await trio.sleep_forever()


async def run(stream: str, api: str, symbol: str, ca: str | None) -> None:
    """With the symbol that the server sends where none was named."""
    base, named = base_of(stream)
    with trust.trusting(trusting(ca)):
        await react(base, api, symbol or named or SYMBOL)
        while True:
            await react(base, api, await symbol_sent(base))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.react")
    parser.add_argument("stream", metavar="STREAM_URL", help="the base of a market-stream service")
    parser.add_argument("ws_api", metavar="WS_API_URL", help="a WebSocket API, its path with it")
    parser.add_argument("--symbol", default="", help=f"whose bookTickers to read (what the URL names, or {SYMBOL})")
    parser.add_argument("--ca", metavar="FILE", help="the authority of wss:// servers, PEM")
    given = parser.parse_args()
    trio.run(run, given.stream, given.ws_api, given.symbol, given.ca)


if __name__ == "__main__":
    main()
