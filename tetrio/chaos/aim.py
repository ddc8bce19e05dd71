"""How the executor is brought into a state that a trouble is aimed at.

What lasts is waited for; what is short is brought about first: by a word of the operator's, by a trade of the public,
by a reset, by losing an answer. A state that is a request under way begins when the exchange has got the request.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from tetrio.chaos.states import state_of
from tetrio.chaos.world import WS_API, World
from tetrio.operator import Order

AIM_S = 40.0
"""So long it is tried."""
LOOK_S, CLOSELY_S = 0.2, 0.05
"""Between two looks; while a state was brought about that may be short, and that no request tells."""
SHORT = frozenset({"partial", "resyncing", "stopping"})
PATIENCE_S = 4.0
"""For what was brought about to come, an answer given up for lost included."""
Way = Callable[[World], None]


def state_now(world: World) -> str:
    """The executor's; "" where no process lives."""
    life = world.life
    return "" if life.dead else state_of(life.bot)


def say(word: str) -> Way:
    """The operator says this."""
    return lambda world: world.say(Order(word=word, by="chaos", force=word == "disarm"))


def _lose_session(world: World) -> None:
    for connection in world.internet.connections(world.hosts[WS_API]):
        connection.reset()


def lose_reply(method: str, word: str) -> Way:
    """The operator says this, and the answer to what follows from it is lost."""

    def way(world: World) -> None:
        spec = f"lose-reply:{method}"
        if all(armed.spec.text != spec for armed in world.exchange.mishaps.living()):
            world.exchange.mishaps.arm(spec)
        say(word)(world)

    return way


def nibble(world: World) -> None:
    """The public takes a part of what rests."""
    world.market.nibble(world.resting_exit)


def in_force(world: World) -> bool:
    """Whether something is to go wrong on the exchange's side, or does."""
    return bool(world.exchange.mishaps.living())


def use_up(world: World) -> None:
    """What was to bring about a state, and has not struck, strikes no more."""
    for armed in world.exchange.mishaps.living():
        world.exchange.mishaps.heal(armed.id)


def _all(way: Way) -> dict[str, Way]:
    return dict.fromkeys(("idle", "resting", "partial"), way)


_EXIT, _DISARM = say("exit"), say("disarm")
WAYS: dict[str, dict[str, Way]] = {
    "idle": {"resting": _DISARM, "partial": _DISARM},
    "sent": {"idle": _EXIT, "resting": _DISARM, "partial": _DISARM},
    "resting": {"idle": _EXIT},
    "partial": {"idle": _EXIT, "resting": nibble},
    "replacing": {"idle": _EXIT},
    "cancelling": {"idle": _EXIT, "resting": _DISARM, "partial": _DISARM},
    "taking": _all(say("flatten")),
    "unknown": {
        "idle": lose_reply("order.place", "exit"),
        "resting": lose_reply("order.cancel", "disarm"),
        "partial": lose_reply("order.cancel", "disarm"),
    },
    "resyncing": _all(_lose_session),
    "stopping": _all(lambda world: world.life.stop()),
}
"""State -> where one is -> the next step to it; where there is none one waits."""


@attrs.define(eq=False)
class Aim:
    """One trouble that waits for its state."""

    state: str
    strike: Callable[[str], None]
    """Called with the state that it is, once."""
    done: trio.Event = attrs.field(factory=trio.Event)

    def hit(self) -> None:
        """This is the state."""
        if not self.done.is_set():
            self.done.set()
            self.strike(self.state)

    async def take(self, world: World, calm: Callable[[], bool]) -> None:
        """Until it has struck, in that state or, when that will not come, in another; or all is to be calm."""
        with trio.move_on_after(AIM_S):
            while not (self.done.is_set() or calm()):
                now = state_now(world)
                if now == self.state:
                    self.hit()
                elif (way := WAYS[self.state].get(now)) is not None:
                    way(world)
                    if state_now(world) == self.state:
                        self.hit()
                    await self._watch(world)
                else:
                    await trio.sleep(LOOK_S)
        if not self.done.is_set():
            self.done.set()
            self.strike(state_now(world))

    async def _watch(self, world: World) -> None:
        look_s, before = CLOSELY_S if self.state in SHORT else LOOK_S, state_now(world)
        with trio.move_on_after(PATIENCE_S):
            while not self.done.is_set() and state_now(world) == before:  # noqa: ASYNC110 - no event tells it
                await trio.sleep(look_s)
