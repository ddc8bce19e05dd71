"""What a kernel must know of the past before an epoch trades: gone on with from memory, or rebuilt from the exchange.

By trades the fold of this process goes on where the last epoch left it, and is rebuilt where there is none, or where
it cannot go on (an own trade from before all that it remembers, another grid of prices). By best prices the state in
memory goes on as it is; what a new process begins with is rebuilt from trades too, equal to within a kline.
"""

from __future__ import annotations

from collections.abc import Callable

from tetrio.core import kernel
from tetrio.core.kernel import Command, Word
from tetrio.core.money import SymbolRules
from tetrio.core.params import StrategyParams
from tetrio.core.purse import Flow, OwnTrade
from tetrio.core.refold import Refold, Said, TooLate
from tetrio.core.state import KernelRules
from tetrio.journal import Journal
from tetrio.live import latch
from tetrio.live.account import Account
from tetrio.live.rebuild import Rebuilder, Words
from tetrio.live.reckoning import Reckoning
from tetrio.live.rest import Rest
from tetrio.live.strategy import Memory, say
from tetrio.status import Status


class Past:
    """Asked once an epoch, between the sync and the first observation."""

    def __init__(
        self,
        memory: Memory,
        rest: Rest,
        rules: SymbolRules,
        params: StrategyParams,
        *,
        journal: Journal,
        status: Status,
        now_ms: Callable[[], int],
        words: Callable[[], latch.Words],
        obeyed: Callable[[Command, int, int], None],
        ask: bool,
    ) -> None:
        """Of the account and of the operator.

        words    of the operator, as far as they are remembered
        obeyed   hears of one that has changed something, as the strategy's
        ask      for balances; False: they were pushed
        """
        self._memory, self._rules, self._params, self._journal, self._ask = memory, rules, params, journal, ask
        self._words, self._obeyed = words, obeyed
        self._rebuilder = Rebuilder(rest, rules, params, now_ms=now_ms, journal=journal, status=status)

    async def learn(self, account: Account) -> bool:
        """Bring `memory` up to now; whether the state was rebuilt from nothing."""
        memory = self._memory
        if self._params.reference == "book":
            return await self._for_the_book(account)
        reckoning = account.reckon(memory.known)
        if memory.fold is not None and memory.fits(self._rules):
            try:
                await self._resume(memory.fold, reckoning)
            except TooLate as error:
                self._journal.write("rebuilt", what="anew", why=str(error))
            else:
                return False
        memory.forget()
        fold = await self._rebuild(reckoning)
        memory.fold = fold if fold is not None else await self._rebuilder.from_now(reckoning.held())
        return fold is not None

    async def _resume(self, fold: Refold, reckoning: Reckoning) -> None:
        """On from the state in memory; TooLate when an own trade lies too far back."""
        self._take_heard(fold)  # what the last epoch was told, and did not come to
        await reckoning.settle(fold.total, ask=self._ask)
        self._take_heard(fold)
        await self._rebuilder.resume(fold, self._memory.untold)

    def _take_heard(self, fold: Refold) -> None:
        heard, untold = self._memory.heard, self._memory.untold
        while heard:
            match heard.popleft():
                case OwnTrade() as trade:
                    untold.append(fold.own(trade))
                case Flow() as flow:
                    untold.append(fold.flow(flow))
                case Command() as command:
                    untold.append(say(fold, command, self._obeyed))

    async def _rebuild(self, reckoning: Reckoning) -> Refold | None:
        held, own = await reckoning.settle(None, ask=self._ask)
        words = self._words()
        said = [Said(each.trade_id, each.at_ms, Command(Word(each.word), force=each.force)) for each in words.said]
        return await self._rebuilder.from_trades(held, own, reckoning, Words(paused=words.paused_before, said=said))

    async def _for_the_book(self, account: Account) -> bool:
        memory = self._memory
        if memory.state is not None and memory.state.rules == KernelRules.of(self._rules):
            return False
        fold = await self._rebuild(account.look_back())
        if fold is None:
            return False
        memory.state = kernel.with_params(fold.state, self._params)
        return True
