"""What goes wrong in the world: each trouble, the faults of the catalogue that it plays, how it begins and heals.

Most are verbs of the exchange (`sim.fault.faults`); the others are the network's, the machine's, Telegram's and the
operator's. A trouble begins at once, says how long it wants to last, and hands back what heals it.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable

import attrs

from tetrio.chaos.bot_api import Reply, error
from tetrio.chaos.world import CHAT, REST, STREAM, TELEGRAM, WS_API, World
from tetrio.chaos.world import OPERATOR as USER
from tetrio.operator import Order
from tetrio.sim.fault.faults import FaultError

Heal = Callable[[], None]
SLACK_TLS_S, SLACK_BAN_S = 45.0, 60.0


@attrs.frozen(kw_only=True)
class Trouble:
    """One way in which the world can be bad."""

    name: str
    faults: str
    """Of the catalogue: "F1 F16"."""
    begin: Callable[[World, random.Random], Heal | None]
    """Does it; what ends it, None where nothing has to."""
    lasts_s: tuple[float, float] = (0.0, 0.0)
    slack_s: float = 0.0
    """By how much longer than usual a bot may stay away after it: some answers ask it to."""
    blinds: bool = False
    """While it lasts nothing new is told of the market."""
    lethal: bool = False
    """It ends the process: another is started."""
    changes_rules: bool = False
    """An order on its way may not fit the symbol's rules any more."""
    weight: float = 1.0


def _nothing() -> None:
    """There is nothing to heal."""


def in_vain(heal: Heal | None) -> bool:
    """Whether a trouble that has handed this back has not begun at all: there was nothing for it to befall."""
    return heal is _nothing


# -- by the exchange's own verbs --------------------------------------------------------------------------------------


def _verb(*specs: str) -> Callable[[World, random.Random], Heal]:
    """Arm one of these; `{n}` is a number of bytes, `{s}` a short time."""

    def begin(world: World, rng: random.Random) -> Heal:
        for spec in rng.sample(specs, len(specs)):
            text = spec.format(n=rng.randrange(1, 4000), s=f"{rng.uniform(0.05, 4):.3f}s")
            try:
                armed = world.exchange.mishaps.arm(text)
            except FaultError:
                continue  # there is one of the kind already, or too little to withdraw
            return functools.partial(_over, world, armed.id)
        return _nothing

    return begin


def _hang_up(world: World, *names: str) -> None:
    """Reset what is connected there: who is connected already notices nothing of what befalls who connects."""
    for name in names:
        for connection in world.internet.connections(world.hosts[name]):
            connection.reset()


def _refusing(*specs: str) -> Callable[[World, random.Random], Heal]:
    """Arm one of these, which befall new connections, and have some made."""
    arm = _verb(*specs)

    def begin(world: World, rng: random.Random) -> Heal:
        heal = arm(world, rng)
        _hang_up(world, *rng.choice(((WS_API,), (WS_API, STREAM))))
        return heal

    return begin


def _in_doubt(spec: str) -> Callable[[World, random.Random], Heal]:
    """Arm what befalls questions about an order, and have one asked: by losing what became of it."""
    lose, arm = _verb("lose-reply:order.place", "lose-reply:order.cancelReplace"), _verb(spec)
    silence = _verb("lose-event:executionReport:3")

    def begin(world: World, rng: random.Random) -> Heal:
        heals = [each(world, rng) for each in (arm, silence, lose)]

        def heal() -> None:
            for each in heals:
                each()

        return heal

    return begin


def _over(world: World, number: int) -> None:
    try:
        world.exchange.mishaps.heal(number)
    except FaultError:
        return  # used up, and forgotten


def _external_lock(world: World, rng: random.Random) -> Heal:
    """The exchange's verb locks and forgets: what is locked has to be released by another."""
    mishaps = world.exchange.mishaps
    for asset, amount in rng.sample((("ETH", "0.002"), ("FDUSD", "5"), ("ETH", "0.0001"), ("FDUSD", "0.1")), 4):
        try:
            mishaps.arm(f"external-lock:{asset}:{amount}")
        except FaultError:
            continue  # there is not so much to lock
        return functools.partial(_release, world, f"external-lock:{asset}:-{amount}")
    return _nothing


def _release(world: World, spec: str) -> None:
    world.exchange.mishaps.arm(spec)


def _change_filters(world: World, rng: random.Random) -> Heal:
    """Stricter rules, which an order that rests, or is about to be sent, may not fit; and back."""
    before = world.exchange.venue.rules
    name, text = rng.choice(
        (
            ("min_notional", str(rng.choice((20, 100, 400)))),
            ("max_qty_lots", str(rng.choice((1000, 20_000)))),
            ("min_qty_lots", str(rng.choice((10, 500)))),
            ("peg_allowed", "false"),
        )
    )
    back = str(getattr(before, name)).lower()
    world.exchange.mishaps.arm(f"change-filters:{name}={text}")
    return functools.partial(_release, world, f"change-filters:{name}={back}")


def _ban(world: World, rng: random.Random) -> Heal:
    for_s = rng.uniform(5, 40)
    world.witness.stay_away(for_s)
    armed = world.exchange.mishaps.arm(f"ban:{world.life.host.ip}:{for_s:.3f}s")

    def heal() -> None:
        world.witness.let_in()
        _over(world, armed.id)

    return heal


_GARBLES = ("truncated", "utf8", "empty", "binary", "nan", "deep", "junk", "stale")
_MUTATIONS = ("order.place", "order.cancelReplace", "order.cancel")

EXCHANGE = (
    Trouble(name="stall-stream", faults="F2 F94", begin=_verb("stall:stream:10m"), lasts_s=(1, 40)),
    Trouble(name="stall-api", faults="F2 F3", begin=_verb("stall:ws_api:10m", "stall:ws_api:10m:out"), lasts_s=(1, 40)),
    Trouble(name="half-open-stream", faults="F1", begin=_verb("half-open:stream"), lasts_s=(5, 60)),
    Trouble(name="half-open-api", faults="F1", begin=_verb("half-open:ws_api"), lasts_s=(5, 60)),
    Trouble(name="cut-api-in", faults="F9 F23 F43", begin=_verb("cut:ws_api:in:{n}"), lasts_s=(20, 60), weight=2),
    Trouble(name="cut-api-out", faults="F9 F43 F50", begin=_verb("cut:ws_api:out:{n}"), lasts_s=(20, 60), weight=2),
    Trouble(name="fin-api", faults="F8", begin=_verb("cut:ws_api:out:{n}:fin"), lasts_s=(20, 60)),
    Trouble(
        name="cut-stream",
        faults="F9 F88",
        begin=_verb("cut:stream:out:{n}", "cut:stream:out:{n}:fin"),
        lasts_s=(20, 60),
    ),
    Trouble(
        name="refuse-5xx", faults="F20 F41", begin=_refusing("refuse:all:503", "refuse:ws_api:502"), lasts_s=(1, 40)
    ),
    Trouble(
        name="refuse-429",
        faults="F17",
        begin=_refusing("refuse:ws_api:429", "refuse:all:429"),
        lasts_s=(1, 20),
        slack_s=10,
    ),
    Trouble(
        name="refuse-garbage",
        faults="F22",
        begin=_refusing("refuse:all:garbage", "refuse:ws_api:garbage"),
        lasts_s=(1, 30),
    ),
    Trouble(name="refuse-redirect", faults="F21", begin=_refusing("refuse:all:302", "refuse:all:200"), lasts_s=(1, 30)),
    Trouble(name="kill", faults="F7 F9", begin=_verb("kill", "kill:all:{s}"), weight=2),
    Trouble(
        name="close",
        faults="F5 F10",
        begin=_verb("disconnect", "disconnect:ws_api:1000", "disconnect:stream:1001", "disconnect:ws_api:1008"),
        slack_s=30,
    ),
    Trouble(
        name="server-shutdown",
        faults="F6 F41",
        begin=_verb("server-shutdown:all:{s}", "server-shutdown:ws_api:5s", "server-shutdown:stream:{s}"),
    ),
    Trouble(name="no-pong", faults="F1 F11", begin=_verb("no-pong"), lasts_s=(5, 40)),
    Trouble(name="no-ping", faults="F11", begin=_verb("no-ping"), lasts_s=(5, 40)),
    Trouble(
        name="lose-request",
        faults="F43",
        begin=_verb(*(f"lose-request:{each}" for each in _MUTATIONS)),
        lasts_s=(30, 60),
        weight=2,
    ),
    Trouble(
        name="lose-reply",
        faults="F43 F66",
        begin=_verb(*(f"lose-reply:{each}" for each in _MUTATIONS)),
        lasts_s=(30, 60),
        weight=2,
    ),
    Trouble(
        name="lose-answer",
        faults="F43 F115",
        begin=_verb(
            "lose-reply:*",
            "lose-request:*",
            "lose-reply:order.status",
            "lose-reply:account.status",
            "lose-reply:openOrders.status",
        ),
        lasts_s=(30, 60),
    ),
    Trouble(
        name="unknown-executed",
        faults="F44",
        begin=_verb(*(f"fail:{each}:{code}:executed" for each in _MUTATIONS for code in ("-1006", "-1007", "504"))),
        lasts_s=(30, 60),
        weight=2,
    ),
    Trouble(
        name="unknown-not-executed",
        faults="F40 F44",
        begin=_verb(*(f"fail:{each}:{code}:not" for each in _MUTATIONS for code in ("-1007", "-1008", "500"))),
        lasts_s=(30, 60),
        weight=2,
    ),
    Trouble(
        name="timestamp",
        faults="F36 F42",
        begin=_verb("fail:order.place:-1021", "fail:order.cancelReplace:-1021", "fail:account.status:-1021"),
        lasts_s=(30, 60),
    ),
    Trouble(
        name="insufficient",
        faults="F58",
        begin=_verb("fail:order.place:-2010", "fail:order.place:-2010:not:3", "fail:order.place:-2010:not:5"),
        lasts_s=(30, 60),
        slack_s=60,
    ),
    Trouble(
        name="weight",
        faults="F37",
        begin=_verb("fail:order.*:-1003", "fail:account.status:-1003"),
        lasts_s=(30, 60),
        slack_s=20,
    ),
    Trouble(
        name="no-such-order",
        faults="F45",
        begin=_in_doubt("fail:order.status:-2013:not:2"),
        lasts_s=(30, 60),
    ),
    Trouble(
        name="cancel-unknown",
        faults="F53 F56",
        begin=_verb("fail:order.cancel:503-unknown:executed", "fail:order.cancelReplace:503-unknown:executed"),
        lasts_s=(30, 60),
    ),
    Trouble(
        name="replica-lag",
        faults="F45 F51",
        begin=_verb("replica-lag:{s}", "replica-lag:8s"),
        lasts_s=(5, 60),
        weight=2,
    ),
    Trouble(
        name="lose-report",
        faults="F3 F50",
        begin=_verb("lose-event:executionReport", "lose-event:executionReport:3"),
        lasts_s=(30, 60),
        weight=2,
    ),
    Trouble(
        name="lose-position",
        faults="F79 F80",
        begin=_verb("lose-event:outboundAccountPosition", "lose-event:outboundAccountPosition:3"),
        lasts_s=(30, 60),
    ),
    Trouble(
        name="delay-report",
        faults="F46 F47 F52",
        begin=_verb("delay-event:executionReport:{s}", "delay-event:executionReport:{s}:4"),
        lasts_s=(30, 60),
    ),
    Trouble(
        name="delay-position", faults="F79", begin=_verb("delay-event:outboundAccountPosition:{s}"), lasts_s=(30, 60)
    ),
    Trouble(
        name="double-report",
        faults="F48",
        begin=_verb("duplicate-event:*:5", "duplicate-event:executionReport"),
        lasts_s=(30, 60),
    ),
    Trouble(
        name="reorder-reports",
        faults="F49",
        begin=_verb("reorder-events:executionReport:3", "reorder-events:*:5"),
        lasts_s=(30, 60),
    ),
    Trouble(
        name="garble-user",
        faults="F111 F112 F113 F116 F117",
        begin=_verb(*(f"garble-event:executionReport:{how}" for how in _GARBLES)),
        lasts_s=(30, 60),
    ),
    Trouble(
        name="garble-market",
        faults="F111 F112 F113 F114 F116 F117",
        begin=_verb(
            *(f"garble-event:@{kind}:{how}" for how in (*_GARBLES, "huge") for kind in ("bookTicker", "trade", "*"))
        ),
        lasts_s=(30, 60),
    ),
    Trouble(
        name="bad-book",
        faults="F85 F86",
        begin=_verb(
            "garble-event:@bookTicker:crossed:5", "garble-event:@bookTicker:zero:5", "garble-event:@bookTicker:stale:5"
        ),
        lasts_s=(30, 60),
    ),
    Trouble(
        name="stale-market",
        faults="F4",
        begin=_verb("garble-event:@*:stale:all"),
        lasts_s=(5, 40),
        slack_s=60,
        blinds=True,
    ),
    Trouble(
        name="lose-market",
        faults="F88 F89",
        begin=_verb("lose-event:@trade:10", "lose-event:@kline_1s:20", "duplicate-event:@*:20", "reorder-events:@*:20"),
        lasts_s=(30, 60),
    ),
    Trouble(
        name="halted-symbol",
        faults="F91",
        begin=_verb("halt", "break", "cancel-only"),
        lasts_s=(2, 70),
        slack_s=35,
        changes_rules=True,
    ),
    Trouble(
        name="change-filters",
        faults="F92",
        begin=_change_filters,
        lasts_s=(2, 60),
        slack_s=35,
        changes_rules=True,
    ),
    Trouble(name="deposit", faults="F77", begin=_verb("deposit:ETH:0.01", "deposit:FDUSD:25")),
    Trouble(
        name="withdraw",
        faults="F77",
        begin=_verb("withdraw:ETH:0.001", "withdraw:FDUSD:3", "withdraw:ETH:0.0001", "withdraw:FDUSD:0.2"),
    ),
    Trouble(
        name="external-lock",
        faults="F78",
        begin=_external_lock,
        lasts_s=(1, 60),
    ),
    Trouble(
        name="clock-offset",
        faults="F36 F96 F98",
        begin=_verb("clock-offset:+700ms", "clock-offset:-700ms", "clock-offset:+90ms"),
        lasts_s=(5, 90),
    ),
    Trouble(name="ban", faults="F18 F38", begin=_ban, lasts_s=(5, 40), slack_s=SLACK_BAN_S),
    Trouble(
        name="slow-path",
        faults="F42 F47",
        begin=_verb("delay:ws_api:800ms~700ms", "delay:all:300ms~200ms", "delay:ws_api:3s"),
        lasts_s=(5, 40),
    ),
    Trouble(
        name="dribble", faults="F9 F111", begin=_verb("dribble:all:40:20ms", "dribble:ws_api:7:5ms"), lasts_s=(2, 20)
    ),
)


# -- the network ------------------------------------------------------------------------------------------------------


def _dns(world: World, rng: random.Random) -> Heal:
    world.internet.dns = rng.choice(("fail", "nxdomain", "hang", "slow"))
    _hang_up(world, *rng.choice(((), (WS_API,), (REST, WS_API, STREAM))))

    def heal() -> None:
        world.internet.dns = ""

    return heal


def _syn(how: str) -> Callable[[World, random.Random], Heal]:
    def begin(world: World, rng: random.Random) -> Heal:
        chosen = rng.choice(((REST,), (WS_API,), (STREAM,), (REST, WS_API, STREAM)))
        weathers = [world.internet.weather(world.hosts[name]) for name in chosen]
        for weather in weathers:
            weather.syn = how
        _hang_up(world, *(chosen if rng.random() < 0.7 else ()))

        def heal() -> None:
            for weather in weathers:
                weather.syn = ""

        return heal

    return begin


def _one_bad_address(world: World, rng: random.Random) -> Heal:
    for name in (REST, WS_API, STREAM):
        world.internet.name(name, world.hosts[name], dead_first=True)
    _hang_up(world, REST, WS_API, STREAM)

    def heal() -> None:
        for name in (REST, WS_API, STREAM):
            world.internet.name(name, world.hosts[name])

    return heal


def _dark(world: World, rng: random.Random) -> None:
    direction = rng.choice(("in", "out", "both"))
    for name in rng.choice(((WS_API,), (STREAM,), (REST, WS_API, STREAM))):
        for connection in world.internet.connections(world.hosts[name]):
            connection.go_dark(direction)


def _reset(world: World, rng: random.Random) -> None:
    for name in rng.choice(((WS_API,), (STREAM,), (REST, WS_API, STREAM))):
        for connection in world.internet.connections(world.hosts[name]):
            connection.reset() if rng.random() < 0.6 else connection.fin()


def _slow(world: World, rng: random.Random) -> Heal:
    weathers = [world.internet.weather(host) for host in world.hosts.values()]
    before = [weather.latency_s for weather in weathers]
    for weather in weathers:
        weather.latency_s = 0.2, rng.uniform(0.3, 2.0)

    def heal() -> None:
        for weather, latency_s in zip(weathers, before, strict=True):
            weather.latency_s = latency_s

    return heal


def _bad_certificate(world: World, rng: random.Random) -> Heal:
    front = world.fronts[rng.choice((REST, WS_API, STREAM))]
    good, front.context = front.context, rng.choice(world.bad_contexts())
    _hang_up(world, world.name_of(front))

    def heal() -> None:
        front.context = good

    return heal


NETWORK = (
    Trouble(name="dns", faults="F14", begin=_dns, lasts_s=(1, 60)),
    Trouble(name="syn-drop", faults="F15", begin=_syn("drop"), lasts_s=(1, 40)),
    Trouble(name="syn-refuse", faults="F15 F28", begin=_syn("refuse"), lasts_s=(1, 40)),
    Trouble(name="deaf", faults="F16", begin=_syn("deaf"), lasts_s=(1, 40)),
    Trouble(name="one-bad-address", faults="F15 F28", begin=_one_bad_address, lasts_s=(1, 60)),
    Trouble(name="dark", faults="F1", begin=_dark),
    Trouble(name="reset", faults="F9 F7", begin=_reset, weight=2),
    Trouble(name="slow-network", faults="F42 F79", begin=_slow, lasts_s=(2, 40)),
    Trouble(name="bad-certificate", faults="F13", begin=_bad_certificate, lasts_s=(1, 30), slack_s=SLACK_TLS_S),
)


# -- the machine ------------------------------------------------------------------------------------------------------


def _kill(world: World, rng: random.Random) -> None:
    world.life.kill(silently=rng.random() < 0.3)


def _stop(world: World, rng: random.Random) -> None:
    world.life.stop()


def _suspend(world: World, rng: random.Random) -> None:
    """The machine slept: its connections are nobody's any more, and the date has gone on without it."""
    for name in (REST, WS_API, STREAM, TELEGRAM):
        for connection in world.internet.connections(world.hosts[name]):
            connection.go_dark()
    world.leap(rng.uniform(1, 90))


def _step(world: World, rng: random.Random) -> Heal:
    """Somebody sets the date; NTP sets it right again."""
    by = round(rng.choice((-1, 1)) * rng.choice((0.2, 0.5, 0.9)) * 1e9)
    world.clock.off_ns += by

    def heal() -> None:
        world.clock.off_ns -= by

    return heal


def _revoke(world: World, rng: random.Random) -> Heal:
    """The key is gone, and the bot hardly asks any more; then the operator makes one, and starts the bot again."""
    world.revoke_key()

    def heal() -> None:
        world.restore_key()
        world.life.stop()

    return heal


MACHINE = (
    Trouble(name="sigkill", faults="F27 F68 F84 F101", begin=_kill, lethal=True, weight=4),
    Trouble(name="revoke", faults="F31", begin=_revoke, lasts_s=(1, 20), slack_s=45, lethal=True, weight=0.5),
    Trouble(name="sigterm", faults="F69 F100", begin=_stop, lethal=True, weight=2),
)
CLOCKS = (
    Trouble(name="suspend", faults="F97", begin=_suspend),
    Trouble(name="clock-step", faults="F96", begin=_step, lasts_s=(1, 30)),
)


# -- Telegram, and the operator ---------------------------------------------------------------------------------------


def _weather(make: Callable[[World, random.Random], object]) -> Callable[[World, random.Random], Heal]:
    def begin(world: World, rng: random.Random) -> Heal:
        weather = make(world, rng)
        weather.__enter__()  # type: ignore[attr-defined]  # a context manager, each of them

        def heal() -> None:
            weather.__exit__(None, None, None)  # type: ignore[attr-defined]

        return heal

    return begin


TELEGRAMS = (
    Trouble(
        name="telegram-hangs",
        faults="F119",
        begin=_weather(lambda world, rng: world.telegram.hanging()),
        lasts_s=(5, 90),
    ),
    Trouble(
        name="telegram-slow",
        faults="F119",
        begin=_weather(lambda world, rng: world.telegram.slow(rng.uniform(1, 20), "sendMessage")),
        lasts_s=(5, 90),
    ),
    Trouble(
        name="telegram-429",
        faults="F120",
        begin=_weather(lambda world, rng: world.telegram.flooding(rng.randrange(1, 60))),
        lasts_s=(5, 60),
    ),
    Trouble(
        name="telegram-502",
        faults="F119",
        begin=_weather(lambda world, rng: world.telegram.broken()),
        lasts_s=(5, 60),
    ),
    Trouble(
        name="telegram-409",
        faults="F122",
        begin=_weather(lambda world, rng: world.telegram.answering(error(409, "Conflict"), "getUpdates")),
        lasts_s=(5, 60),
    ),
    Trouble(
        name="telegram-cut",
        faults="F119",
        begin=_weather(lambda world, rng: world.telegram.answering(Reply(body=b"x" * 99, cut_at=5))),
        lasts_s=(5, 60),
    ),
)


def _say(word: str, *, force: bool = False) -> Callable[[World, random.Random], None]:
    def begin(world: World, rng: random.Random) -> None:
        world.say(Order(word=word, by="chaos", force=force))

    return begin


def _until_resume(word: str) -> Callable[[World, random.Random], Heal]:
    def begin(world: World, rng: random.Random) -> Heal:
        world.say(Order(word=word, by="chaos"))
        return lambda: world.say(Order(word="resume", by="chaos"))

    return begin


OPERATOR = (
    Trouble(name="pause", faults="", begin=_until_resume("pause"), lasts_s=(1, 60)),
    Trouble(name="halt", faults="F130", begin=_until_resume("halt"), lasts_s=(1, 60)),
    Trouble(name="exit", faults="", begin=_say("exit")),
    Trouble(name="flatten", faults="F73", begin=_say("flatten")),
    Trouble(name="disarm", faults="", begin=_say("disarm", force=True)),
)

MARKET = (
    Trouble(name="storm", faults="F94", begin=lambda world, rng: world.market.storm(1000)),
    Trouble(
        name="outlier",
        faults="F86",
        begin=lambda world, rng: world.market.outlier(rng.choice((-1, 1)) * rng.uniform(0.005, 0.05)),
    ),
    Trouble(
        name="gap",
        faults="F72 F87",
        begin=lambda world, rng: world.market.gap(rng.choice((-1, 1)) * rng.uniform(0.004, 0.03)),
    ),
)


def _write(world: World, rng: random.Random) -> Heal:
    """Somebody types a word, and presses Yes a little later where the bot asks back."""
    word = rng.choice(("exit", "flatten", "disarm", "pause"))
    world.telegram.say(CHAT, USER, f"/{word}")
    if word == "flatten":
        world.witness.said(word)  # as soon as it is pressed

    def heal() -> None:
        if questions := [each for each in world.telegram.written if each.buttons]:
            world.telegram.press(USER, questions[-1], "Yes")
        world.telegram.say(CHAT, USER, "/resume")

    return heal


CHATS = (Trouble(name="telegram-words", faults="F73 F130", begin=_write, lasts_s=(4, 20)),)
CHATTING = frozenset(each.name for each in (*TELEGRAMS, *CHATS))
"""Those that need a chat."""
TROUBLES: dict[str, Trouble] = {
    each.name: each for each in (*EXCHANGE, *NETWORK, *MACHINE, *CLOCKS, *MARKET, *TELEGRAMS, *CHATS, *OPERATOR)
}
"""By name."""
