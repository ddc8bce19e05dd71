"""When the exchange may be asked: one place that knows, for every task of the process and across epochs.

A ban (429, 418) is the address's: until it is over nothing is asked of any host. A host whose certificate is wrong, or
which will not have us, is left alone for a while. And connections are made within a budget, by a bucket of tokens for
each service (orders, market): a few at once after a loss, then one now and then, so that in 5 minutes there are never
more than 30 to it (Binance cuts off at 300, for all that share the address) and none has to be waited for long.
"""

from __future__ import annotations

import random
from collections import defaultdict

import attrs
import trio

from tetrio.errors import LinkBarred, LinkLost
from tetrio.net import entropy
from tetrio.net.clock import machine_s

BURST = 10  # epochs: each takes one of either service, for the account link and the market line
EVERY_S = 15.0  # BURST and 300 / EVERY_S are 30; below the longest back-off, so that an outage does not use them up
TLS_S = 30.0
BARRED_S = 900.0
MISBEHAVED_S = 25.0  # closed with 1008: longer than any ordinary back-off
BAN_S = {429: 60.0, 418: 120.0}  # where no time is named: a window of request weight; the shortest ban
JITTER_S = 1.0


@attrs.define
class _Bucket:
    """Tokens of one service."""

    tokens: float = BURST
    filled_at: float = 0.0

    def take(self, now: float) -> float:
        """One of them; how many tokens have to come in before it is there: each waits for one of its own."""
        self.tokens = min(BURST, self.tokens + (now - self.filled_at) / machine_s(EVERY_S)) - 1
        self.filled_at = now
        return max(0.0, -self.tokens)


class Access:
    """Whether and when this process may ask the exchange; times are trio's clock."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._rng = rng or entropy.rng("access")
        self._banned_until = 0.0
        self._banned_why = ""
        self._barred: dict[str, tuple[float, str]] = {}
        self._buckets: defaultdict[str, _Bucket] = defaultdict(_Bucket)
        self.hurried = False
        """A stop has no time to wait for the budget; bans it obeys."""
        self.connections = 0
        """Attempts so far."""

    def left_s(self, host: str = "") -> float:
        """For how long nothing may be asked of `host`, or of any, s of the machine."""
        until = max(self._banned_until, self._barred.get(host, (0.0, ""))[0])
        return max(0.0, until - trio.current_time()) / machine_s(1)

    def check(self) -> None:
        """LinkLost while the address is banned."""
        if left := self.left_s():
            raise LinkLost(f"nothing is asked for {left:.0f} s: {self._banned_why}", kind="ban", retry_after_s=left)

    def check_host(self, host: str) -> None:
        """LinkLost while the address is banned, or `host` is to be left alone."""
        self.check()
        if left := self.left_s(host):
            why = self._barred[host][1]
            raise LinkLost(f"{host} is left alone for {left:.0f} s: {why}", kind="barred", retry_after_s=left)

    async def connect(self, host: str, port: int = 443) -> None:
        """To be asked before each WebSocket connection: waits for the budget; LinkLost as `check_host`."""
        self.check_host(host)
        self.connections += 1
        owed = self._buckets[f"{host}:{port}"].take(trio.current_time())
        if owed and not self.hurried:
            await trio.sleep(owed * machine_s(EVERY_S))
            self.check()

    def ban(self, for_s: float, why: str) -> None:
        """The exchange wants to be left alone by this address: for as long, and a little more."""
        until = trio.current_time() + machine_s(for_s + self._rng.uniform(0, JITTER_S))
        if until > self._banned_until:
            self._banned_until, self._banned_why = until, why

    def heed(self, error: LinkLost, host: str) -> LinkLost:
        """Take from a failure how long to leave off; the error, with that time in it."""
        if error.kind == "ban":
            self.ban(error.retry_after_s or BAN_S[429], str(error))
            error.retry_after_s = self.left_s()
        elif error.kind == "tls" or isinstance(error, LinkBarred):
            for_s = BARRED_S if isinstance(error, LinkBarred) else TLS_S
            self._barred[host] = trio.current_time() + machine_s(for_s), str(error)
            error.retry_after_s = for_s
        return error


def http_refusal(what: str, status: int, retry_after: str) -> LinkLost:
    """What an HTTP answer of `status` means where another was hoped for.

    what          for the message: who was asked for what
    retry_after   the header's text, "" when there is none
    """
    if status in BAN_S:
        after = float(retry_after) if retry_after.isdecimal() else BAN_S[status]
        return LinkLost(f"{what} refused with HTTP {status}, too many requests", kind="ban", retry_after_s=after)
    if status in {403, 451}:
        return LinkBarred(f"{what} refused with HTTP {status}: the exchange refuses this address", kind="barred")
    return LinkLost(f"{what} refused with HTTP {status}", kind="upgrade")
