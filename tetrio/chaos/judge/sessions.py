"""The connections of the WebSocket API: whose each is, what it has asked, and whether it is synchronised."""

from __future__ import annotations

import attrs

from tetrio.chaos.judge.case import Line
from tetrio.chaos.judge.lives import Roll

REMEMBERED = 200
"""Connections that are over: a referee may watch for days."""
SUBSCRIBE, SNAPSHOTS = "userDataStream.subscribe", frozenset({"account.status", "openOrders.status"})


@attrs.define
class Session:
    """One connection."""

    life: int
    """The process that opened it."""
    asked: dict[object, tuple[str, str]] = attrs.field(factory=dict)
    """id -> method and the order that it is about."""
    answered: set[str] = attrs.field(factory=set)

    def forget_snapshots(self) -> None:
        """A subscription begins: what was asked for before it tells nothing of what came between."""
        self.answered -= SNAPSHOTS
        self.asked = {number: asked for number, asked in self.asked.items() if asked[0] not in SNAPSHOTS}

    @property
    def missing(self) -> set[str]:
        """What it has not been told yet, of what makes it synchronised."""
        return {SUBSCRIBE, *SNAPSHOTS} - self.answered


class Sessions:
    """All that there were, by their number in the record, and which of them are open."""

    def __init__(self, roll: Roll) -> None:
        self._roll = roll
        self._all: dict[int, Session] = {}
        self.open: set[int] = set()

    def audit(self, line: Line) -> None:
        """A line of the exchange's record."""
        match line["ev"]:
            case "connect" if line["face"] == "ws_api":
                self.open.add(line["connection"])
                self._all[line["connection"]] = Session(self._roll.latest)
                self._forget()
            case "disconnect":
                self.open.discard(line["connection"])

    def _forget(self) -> None:
        """All but the newest, and those that are still open."""
        over = [number for number in self._all if number not in self.open]
        for number in over[:-REMEMBERED]:
            del self._all[number]

    def get(self, connection: int) -> Session | None:
        """The session of a connection; None before it has asked anything, or was in the record."""
        return self._all.get(connection)

    def asking(self, connection: int) -> Session:
        """The session of a connection on which something is asked."""
        return self._all.setdefault(connection, Session(self._roll.latest))

    @property
    def in_step(self) -> bool:
        """Whether the latest process has an open session that is synchronised."""
        living = (self._all[number] for number in self.open)
        return any(session.life == self._roll.latest and not session.missing for session in living)
