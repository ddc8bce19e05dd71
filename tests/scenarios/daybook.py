"""What those who were beside the bot for a day have seen of it, and the day's timetable."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Awaitable, Callable

import attrs
import trio

from tests.scenarios.census import Census
from tests.scenarios.sandbox import Frame
from tetrio.chaos.bot_api import Written
from tetrio.journal import Fact
from tetrio.telegram.outbox import Rank
from tetrio.telegram.story import Story

CYCLE_S = 6 * 3600.0
QUIET_S = 340 * 60.0, 355 * 60.0
"""In each cycle: no cut and no question, for a census in between, which would count what is under way."""


@attrs.define
class Witness:
    """What must have been told: the facts' story, taken down as it happens by a listener of the test's own."""

    story: Story = attrs.field(factory=Story)
    told: list[tuple[str, Rank, str, str]] = attrs.field(factory=list)
    facts: Counter[str] = attrs.field(factory=Counter)

    def listen(self, fact: Fact) -> None:
        self.facts[fact.kind] += 1
        if fact.kind != "telegram":
            self.told += map(attrs.astuple, self.story.take(fact))


@attrs.define
class Day:
    """Everything that those beside the bot have seen."""

    code: int = -1
    virtual_s: float = 0.0
    witness: Witness = attrs.field(factory=Witness)
    written: list[Written] = attrs.field(factory=list)
    censuses: list[Census] = attrs.field(factory=list)
    cuts: int = 0
    answered: Counter[str] = attrs.field(factory=Counter)
    """The operator's words that were answered, by word."""
    scrapes: Counter[int] = attrs.field(factory=Counter)
    """HTTP statuses of /metrics."""
    exposition: str = ""
    """The last of them."""
    replies: Counter[str] = attrs.field(factory=Counter)
    """The shell's questions that were answered."""
    notified: Counter[str] = attrs.field(factory=Counter)
    """Lines that the service manager was told, by name."""
    longest_gap_s: float = 0.0
    """Between two signs of life for the service manager."""
    read_lines: int = 0
    """Lines that came out of standard error."""
    sinks: list[tuple[str, int, int]] = attrs.field(factory=list)
    """Name, lines written, lines lost."""
    facts: list[Frame] = attrs.field(factory=list)
    audit: list[Frame] = attrs.field(factory=list)
    status_file: Frame = attrs.field(factory=dict)
    dropped: int = 0
    """Messages given up, as the metrics count them."""

    def texts(self, chat: int) -> list[str]:
        """All that a chat has been shown, each edit of a message on its own."""
        return [text for each in self.written if each.chat == chat for text in each.texts]


async def each_cycle(acts: list[tuple[float, Callable[[], Awaitable[None]]]]) -> None:
    """Do each act in its minute of each cycle, one after the other."""
    for cycle in itertools.count():
        for minute, act in acts:
            await trio.sleep_until(cycle * CYCLE_S + minute * 60)
            await act()


def quiet() -> bool:
    return QUIET_S[0] <= trio.current_time() % CYCLE_S <= QUIET_S[1]
