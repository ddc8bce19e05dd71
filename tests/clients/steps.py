"""What every client script shares: the exchange it is aimed at, and the line of JSON that it prints for each step.

A step that fails is told as one and the script goes on, so that one thing that does not work is one test that fails.
The scripts run under the clients' own environment, and so this module imports nothing but the standard library.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Any

SYMBOL, BASE, QUOTE = "ETHFDUSD", "ETH", "FDUSD"
WITHIN_S = 5.0
"""How long a step may take; a stream that is silent for so long is broken."""


@dataclass(frozen=True)
class Aim:
    """Where the exchange is, and who asks."""

    rest: str
    ws_api: str
    stream: str
    ed_key: str
    """The API key of the Ed25519 pair."""
    ed_pem: Path
    hmac_key: str
    hmac_secret: str


def aim() -> Aim:
    """What the command line says."""
    parser = argparse.ArgumentParser()
    for name in ("rest", "ws-api", "stream", "ed-key", "ed-pem", "hmac-key", "hmac-secret"):
        parser.add_argument(f"--{name}", required=True, type=Path if name == "ed-pem" else str)
    return Aim(**vars(parser.parse_args()))


Describe = Callable[[Exception], Mapping[str, object]]
"""What a client's exception says: `code` and `msg`, as that client tells them."""


@dataclass
class Steps:
    """Runs steps and prints what came of them."""

    describe: Describe
    refusals: tuple[type[Exception], ...]
    """What the client raises when the exchange says no; anything else that is raised is told as a fault."""
    complaints: list[str] = field(default_factory=list)

    def run(self, name: str, call: Callable[[], Any], show: Callable[[Any], Any] = lambda got: got) -> Any:
        """What `call` returns, or None when it raises; `show` makes of it what is printed."""
        try:
            got = call()
            shown = show(got)
        except Exception as error:  # told, and judged by the test
            self._failed(name, error)
            return None
        say(name, value=shown)
        return got

    async def arun(self, name: str, call: Awaitable[Any], show: Callable[[Any], Any] = lambda got: got) -> Any:
        """The same for what is awaited."""
        try:
            async with asyncio.timeout(WITHIN_S):
                got = await call
            shown = show(got)
        except Exception as error:  # told, and judged by the test
            self._failed(name, error)
            return None
        say(name, value=shown)
        return got

    def listen_to_log(self, *words: str) -> None:
        """Tell warnings of the client that hold one of `words`, at the end."""
        logging.getLogger().addHandler(_Ear(self.complaints, words))

    def end(self) -> None:
        """The last line."""
        say("end", value=self.complaints)

    def _failed(self, name: str, error: Exception) -> None:
        kind = "error" if isinstance(error, self.refusals) else "fault"
        say(name, **{kind: {"type": type(error).__name__, **self.describe(error), "text": str(error)[:500]}})


class _Ear(logging.Handler):
    def __init__(self, heard: list[str], words: tuple[str, ...]) -> None:
        super().__init__(logging.WARNING)
        self._heard, self._words = heard, words

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if any(word in text for word in self._words):
            self._heard.append(text[:1000])


def say(name: str, **what: object) -> None:
    """One line."""
    print(json.dumps({"step": name, **what}, default=str), flush=True)


def at(answer: Any, *path: str | int) -> Any:
    """What stands at `path` in an answer; None where the answer, or a step of the path, is not there."""
    for name in path:
        try:
            answer = answer[name]
        except (LookupError, TypeError):
            return None
    return answer


@dataclass(frozen=True)
class Prices:
    """Prices around a market of the moment."""

    bid: Decimal
    ask: Decimal

    @classmethod
    def of(cls, bid: object, ask: object) -> Prices:
        """As a client told them; made up where it told none, so that the steps after it are taken all the same."""
        return cls(Decimal(str(bid or 1000)), Decimal(str(ask or 1000)))

    def far(self, share: str = "0.9") -> Decimal:
        """Where a buy rests, out of the market's reach."""
        return (self.bid * Decimal(share)).quantize(Decimal("0.01"), ROUND_DOWN)

    def through(self) -> Decimal:
        """Where a buy would match at once."""
        return (self.ask * Decimal("1.05")).quantize(Decimal("0.01"), ROUND_DOWN)
