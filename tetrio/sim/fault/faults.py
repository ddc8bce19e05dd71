"""What can go wrong on the exchange, as words: the vocabulary of faults, and the text in which they are asked for.

    stall:stream:10s@30s              in 30 s the stream connections fall silent for 10 s
    cut:ws_api:in:1234                the next WebSocket API connection to send 1,234 bytes is reset at that byte
    lose-reply:order.place            the next order is executed and its answer never sent
    deposit:ETH:0.5                   and the bot's balance changes under it

A fault is `VERB:ARGUMENT:...@WHEN`; arguments that have defaults may be left out or left empty, WHEN is how long after
the exchange's start (or, later, after it was asked for) it begins. `parse` reads one, `usage` explains all. Each verb
is a record here; what it does is the business of `wires` (bytes), `gates` (messages) and `mishaps` (the rest). Pure.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Annotated, get_args, get_type_hints

import attrs

FACES = ("rest", "ws_api", "stream", "sbe")
ALWAYS = 2**63 - 1
"""TIMES that is never used up."""
LONGEST_S = 10 * 365 * 86400.0
_LONGEST_SHOWN = 60  # characters of a bad part that an error repeats
_SPEC = re.compile(r"(?P<fault>.*?)(?:@(?P<when>[0-9.][^:@]*))?", re.DOTALL)
_COLON = re.compile(r":(?![^\[\]]*\])")  # none within the brackets of an IPv6 address
_TIME = re.compile(r"([+-]?)([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)", re.ASCII)
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_AMOUNT = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII)


class FaultError(ValueError):
    """A fault that cannot be, or cannot be now; the message is one line, and names the part that is wrong."""


# -- what the arguments are -------------------------------------------------------------------------------------------


@attrs.frozen
class Where:
    """Connections that a fault is about."""

    face: str = "all"
    number: int | None = None
    """Counted per face from 1, in order of arrival; None: every one."""

    def fits(self, face: str, number: int) -> bool:
        """Whether the connection `number` of `face` is meant."""
        return self.face in ("all", face) and self.number in (None, number)

    def __str__(self) -> str:
        return self.face if self.number is None else f"{self.face}#{self.number}"


@attrs.frozen
class Spread:
    """A delay, each time anew between `mean_s - jitter_s` and `mean_s + jitter_s`."""

    mean_s: float
    jitter_s: float = 0.0


@attrs.frozen
class Kind:
    """How one kind of argument is written."""

    name: str
    what: str
    """What it must be, for errors and for the help."""
    read: Callable[[str], object]
    """ValueError when it is not."""


def seconds(text: str) -> float:
    """A duration such as 500ms, 10s, 2m, 1h or 7d, in seconds; ValueError."""
    value = signed_seconds(text)
    if text.startswith(("+", "-")):
        raise ValueError
    return value


def signed_seconds(text: str) -> float:
    """The same with a sign allowed."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError
    value = float(match[2]) * _UNITS_S[match[3]]
    if value > LONGEST_S:
        raise ValueError
    return -value if match[1] == "-" else value


def spread(text: str) -> Spread:
    """A delay such as 200ms or 200ms~50ms; ValueError."""
    mean, tilde, jitter = text.partition("~")
    value = Spread(seconds(mean), seconds(jitter) if tilde else 0.0)
    if value.jitter_s > value.mean_s:
        raise ValueError
    return value


def _where(text: str) -> Where:
    face, hash_, number = text.partition("#")
    face = _one_of("all", *FACES)(face)
    return Where(face, _count(number) if hash_ else None)


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise FaultError(f"{shown(text)} is none of {', '.join(words)}{nearest(text, words)}")
        return text

    return read


def _number(text: str, most: int = ALWAYS) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) <= most):
        raise ValueError
    return int(text)


def _count(text: str) -> int:
    if not (number := _number(text)):
        raise ValueError
    return number


def _times(text: str) -> int:
    return ALWAYS if text == "all" else _count(text)


def _close_code(text: str) -> int:
    code = _number(text, 4999)
    if not (code in {1000, 1001, 1002, 1003, *range(1007, 1015)} or code >= 3000):
        raise ValueError
    return code


def _refusal(text: str) -> str:
    if re.fullmatch(r"[2345][0-9]{2}", text, re.ASCII):
        return text
    return _one_of("rst", "fin", "garbage", "503")(text)


def _pattern(text: str) -> str:
    if not re.fullmatch(r"@?[A-Za-z0-9_.*?]{1,60}", text, re.ASCII):
        raise ValueError
    return text


def _asset(text: str) -> str:
    if not re.fullmatch(r"[A-Z0-9]{1,20}", text, re.ASCII):
        raise ValueError
    return text


def _signed_amount(text: str) -> Decimal:
    if not _AMOUNT.fullmatch(text) or not Decimal(text):
        raise ValueError
    return Decimal(text)


def _amount(text: str) -> Decimal:
    if (amount := _signed_amount(text)) < 0:
        raise ValueError
    return amount


def _changes(text: str) -> dict[str, str]:
    changes = dict(part.partition("=")[::2] for part in text.split(","))
    for name, value in changes.items():
        if not re.fullmatch(r"[a-z_]{1,40}", name) or not re.fullmatch(r"[A-Za-z0-9.,_-]{1,40}", value, re.ASCII):
            raise ValueError
    return changes


def _address(text: str) -> str:
    if not re.fullmatch(r"\[[0-9a-f:.]{2,45}\]|[0-9a-z.]{1,45}", text, re.ASCII):
        raise ValueError
    return text.strip("[]")


def _api_key(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", text, re.ASCII):
        raise ValueError
    return text


ERRORS: dict[str, tuple[int, int, str]] = {
    "-1000": (500, -1000, "An unknown error occurred while processing the request."),
    "-1001": (500, -1001, "Internal error; unable to process your request. Please try again."),
    "-1003": (429, -1003, "Too many requests queued."),
    "-1006": (500, -1006, "An unexpected response was received from the message bus. Execution status unknown."),
    "-1007": (
        504,
        -1007,
        "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    ),
    "-1008": (503, -1008, "Server is currently overloaded with other requests. Please try again in a few minutes."),
    "-1021": (400, -1021, "Timestamp for this request is outside of the recvWindow."),
    "-2010": (400, -2010, "Account has insufficient balance for requested action."),
    "-2013": (400, -2013, "Order does not exist."),
    "-2015": (401, -2015, "Invalid API-key, IP, or permissions for action."),
    "500": (500, -1000, "An unknown error occurred while processing the request."),
    "503-unknown": (503, -1000, "Unknown error, please check your request or try again later."),
    "503-unavailable": (503, -1000, "Service Unavailable."),
    "403": (403, 0, ""),
    "451": (451, 0, ""),
    "502": (502, 0, ""),
    "504": (504, 0, ""),
}
"""What `fail` answers with: status, code and text; a code of 0 is an HTML page, on the WebSocket API -1000."""
BACKEND_TIMEOUT_S = 10.0
"""After which Binance answers -1007."""
GARBLES = ("truncated", "utf8", "empty", "binary", "huge", "nan", "deep", "junk", "stale", "crossed", "zero")

TIME = "a time such as 500ms, 10s, 2m or 1h"
Seconds = Annotated[float, Kind("FOR", TIME, seconds)]
Lead = Annotated[float, Kind("LEAD", TIME, seconds)]
Gap = Annotated[float, Kind("GAP", TIME, seconds)]
Offset = Annotated[float, Kind("BY", "a time with a sign, such as +500ms or -2s", signed_seconds)]
Age = Annotated[float, Kind("BY", TIME, seconds)]
By = Annotated[Spread, Kind("BY", "a time such as 200ms, or 200ms~50ms with a smaller jitter", spread)]
At = Annotated[Where, Kind("WHERE", f"one of all, {', '.join(FACES)}, or one connection, such as ws_api#2", _where)]
Direction = Annotated[str, Kind("DIRECTION", "in (from the client), out or both", _one_of("in", "out", "both"))]
OneWay = Annotated[str, Kind("DIRECTION", "in (from the client) or out", _one_of("in", "out"))]
Bytes = Annotated[int, Kind("BYTES", "a number of bytes", _number)]
Size = Annotated[int, Kind("BYTES", "a number of bytes, at least 1", _count)]
Times = Annotated[int, Kind("TIMES", "how often: 1, 2, ... or all", _times)]
Breaking = Annotated[str, Kind("HOW", "rst or fin", _one_of("rst", "fin"))]
Refusing = Annotated[str, Kind("HOW", "rst, fin, garbage, or an HTTP status such as 503 or 418", _refusal)]
CloseCode = Annotated[int, Kind("CODE", "a close code that may be sent, such as 1001 or 1008", _close_code)]
Method = Annotated[str, Kind("METHOD", "a method of the WebSocket API such as order.place, order.* or *", _pattern)]
Event = Annotated[str, Kind("EVENT", "a user event such as executionReport or *, or a channel: @trade, @*", _pattern)]
Error = Annotated[str, Kind("ERROR", f"one of {', '.join(ERRORS)}", _one_of(*ERRORS))]
Executed = Annotated[str, Kind("EXECUTED", "executed or not", _one_of("executed", "not"))]
Garbling = Annotated[str, Kind("HOW", f"one of {', '.join(GARBLES)}", _one_of(*GARBLES))]
Asset = Annotated[str, Kind("ASSET", "an asset such as ETH", _asset)]
Amount = Annotated[Decimal, Kind("AMOUNT", "an amount above 0", _amount)]
Delta = Annotated[Decimal, Kind("AMOUNT", "an amount, below 0 to release", _signed_amount)]
Changes = Annotated[dict[str, str], Kind("NAME=VALUE,...", "rules such as tick_size=0.1,min_notional=10", _changes)]
Address = Annotated[str, Kind("ADDRESS", "a client's address such as 127.0.0.1 or [::1]", _address)]
ApiKey = Annotated[str, Kind("APIKEY", "an API key", _api_key)]


# -- the verbs: connections -------------------------------------------------------------------------------------------


@attrs.frozen
class Stall:
    """Nothing is read and nothing goes out, for a time, on old connections and new; nothing is lost."""

    where: At
    for_s: Seconds
    direction: Direction = "both"


@attrs.frozen
class HalfOpen:
    """Connections there are go dead without a word, and stay so even if closed here, until healed; new ones live."""

    where: At
    for_s: Seconds = math.inf


@attrs.frozen
class Cut:
    """After exactly so many more bytes, a new connection's first ones included, the connection is cut."""

    where: At
    direction: OneWay
    after: Bytes
    how: Breaking = "rst"
    times: Times = 1


@attrs.frozen
class Refuse:
    """New connections are reset, closed, or answered by an HTTP status."""

    where: At
    how: Refusing = "rst"
    for_s: Seconds = math.inf


@attrs.frozen
class Delay:
    """Bytes come late, in order: what goes out by BY, each read by BY."""

    where: At
    by: By
    direction: Direction = "both"
    for_s: Seconds = math.inf


@attrs.frozen
class Dribble:
    """What goes out comes in pieces of so many bytes, GAP apart."""

    where: At
    size: Size
    gap_s: Gap = 0.0
    for_s: Seconds = math.inf


@attrs.frozen
class Kill:
    """Every connection is reset at once, and new ones are for a time."""

    where: At = Where()
    for_s: Seconds = 0.0


@attrs.frozen
class Disconnect:
    """Every WebSocket connection is closed in order, as after its 24 hours."""

    where: At = Where()
    code: CloseCode = 1001


@attrs.frozen
class ServerShutdown:
    """serverShutdown is told, in the shape of each connection, and LEAD later they are closed."""

    where: At = Where()
    lead_s: Lead = 10.0


@attrs.frozen
class NoPong:
    """The client's pings are not answered."""

    where: At = Where()
    for_s: Seconds = math.inf


@attrs.frozen
class NoPing:
    """The client is not pinged."""

    where: At = Where()
    for_s: Seconds = math.inf


# -- the verbs: messages ----------------------------------------------------------------------------------------------


@attrs.frozen
class LoseRequest:
    """A request is lost on its way: nothing is executed, nothing is answered."""

    method: Method
    times: Times = 1


@attrs.frozen
class LoseReply:
    """A request is executed, and its answer is lost."""

    method: Method
    times: Times = 1


@attrs.frozen
class Fail:
    """A request is answered by an error, -1007 after 10 s, although it was executed or because it was not."""

    method: Method
    error: Error
    executed: Executed = "not"
    times: Times = 1


@attrs.frozen
class DelayEvent:
    """An event comes late; those after it do not wait."""

    event: Event
    by: By
    times: Times = 1


@attrs.frozen
class LoseEvent:
    """An event never comes."""

    event: Event
    times: Times = 1


@attrs.frozen
class DuplicateEvent:
    """An event comes twice."""

    event: Event
    times: Times = 1


@attrs.frozen
class ReorderEvents:
    """An event comes after the next one on its connection."""

    event: Event
    times: Times = 1


@attrs.frozen
class GarbleEvent:
    """An event comes with contents that make no sense, or that repeat the last one (stale)."""

    event: Event
    how: Garbling
    times: Times = 1


# -- the verbs: engine and service ------------------------------------------------------------------------------------


@attrs.frozen
class ReplicaLag:
    """Queries about orders, trades and balances are answered as of so long ago."""

    by_s: Age
    for_s: Seconds = math.inf


@attrs.frozen
class Halt:
    """The symbol's status is HALT."""

    for_s: Seconds = math.inf


@attrs.frozen
class Break:
    """The symbol's status is BREAK."""

    for_s: Seconds = math.inf


@attrs.frozen
class CancelOnly:
    """The symbol's status is CANCEL_ONLY."""

    for_s: Seconds = math.inf


@attrs.frozen
class Resume:
    """The symbol's status is TRADING again."""


@attrs.frozen
class Delist:
    """The symbol is gone for good: what rests expires, and whoever asks for it is told -1121."""


@attrs.frozen
class ChangeFilters:
    """The symbol's rules change."""

    changes: Changes


@attrs.frozen
class Deposit:
    """Funds come in: balanceUpdate and outboundAccountPosition."""

    asset: Asset
    amount: Amount


@attrs.frozen
class Withdraw:
    """Free funds go out: balanceUpdate and outboundAccountPosition."""

    asset: Asset
    amount: Amount


@attrs.frozen
class ExternalLock:
    """Funds are locked from outside: externalLockUpdate and outboundAccountPosition."""

    asset: Asset
    delta: Delta


@attrs.frozen
class ClockOffset:
    """The exchange's clock is ahead (+) or behind (-)."""

    by_s: Offset
    for_s: Seconds = math.inf


@attrs.frozen
class Ban:
    """An address is banned: 418 on whatever it asks, and its WebSocket API connections are closed."""

    address: Address = "127.0.0.1"
    for_s: Seconds = 120.0


@attrs.frozen
class Revoke:
    """An API key is not known any more."""

    api_key: ApiKey


@attrs.frozen
class Exit:
    """The exchange's process ends on the spot, without a word (`tetrio exchange` only)."""


OnBytes = Stall | HalfOpen | Cut | Refuse | Delay | Dribble | Kill | NoPong
"""What `fault.wires` does."""
OnRequests = LoseRequest | LoseReply | Fail
OnEvents = DelayEvent | LoseEvent | DuplicateEvent | ReorderEvents | GarbleEvent
Fault = (
    OnBytes
    | NoPing
    | Disconnect
    | ServerShutdown
    | OnRequests
    | OnEvents
    | ReplicaLag
    | Halt
    | Break
    | CancelOnly
    | Resume
    | Delist
    | ChangeFilters
    | Deposit
    | Withdraw
    | ExternalLock
    | ClockOffset
    | Ban
    | Revoke
    | Exit
)


def verb(fault: Fault | type[Fault]) -> str:
    """Its word: `half-open` for HalfOpen."""
    name = fault.__name__ if isinstance(fault, type) else type(fault).__name__
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


VERBS: dict[str, type[Fault]] = {verb(each): each for each in get_args(Fault)}
"""By word."""


# -- the text ---------------------------------------------------------------------------------------------------------


@attrs.frozen
class Spec:
    """A fault that was asked for."""

    text: str
    """As it may be shown: without an API key."""
    fault: Fault
    after_s: float = 0.0
    """When it begins."""


def parse(text: str, methods: Collection[str] = ()) -> Spec:
    """The fault that `text` asks for; FaultError names the part that is wrong and the nearest right word.

    methods   those of the WebSocket API: a METHOD must fit one of them; () lets any pass
    """
    match = _SPEC.fullmatch(text)
    assert match is not None, "the pattern takes any text"
    word, *given = _COLON.split(match["fault"])
    word = word.replace("_", "-")
    if word not in VERBS:
        raise FaultError(f"{shown(word)} is no fault{nearest(word, VERBS) or '; `--fault help` tells all'}")
    after_s = 0.0
    if match["when"] is not None:
        after_s = _read(Kind("WHEN", TIME, seconds), match["when"], word)  # type: ignore[assignment]  # a float
    fault = _build(VERBS[word], word, given)
    if isinstance(fault, OnRequests):
        _check_method(fault.method, methods, word)
    told = text if not isinstance(fault, Revoke) else text.replace(fault.api_key, f"{fault.api_key[:4]}...")
    return Spec(told, fault, after_s)


def _build(kind: type[Fault], word: str, given: list[str]) -> Fault:
    hints = get_type_hints(kind, include_extras=True)
    fields = attrs.fields(kind)
    if len(given) > len(fields):
        most = f"takes at most {len(fields)}" if fields else "takes no argument"
        raise FaultError(f"{word}: {shown(given[len(fields)])} is too much: it {most} ({signature(kind)})")
    values: dict[str, object] = {}
    for at, field in enumerate(fields):
        part = given[at] if at < len(given) else ""
        argument: Kind = hints[field.name].__metadata__[0]
        if part:
            values[field.name] = _read(argument, part, word)
        elif field.default is attrs.NOTHING:
            raise FaultError(f"{word}: {argument.name} is missing: {argument.what} ({signature(kind)})")
    return kind(**values)  # type: ignore[arg-type]  # read by the kinds of its own fields


def _read(argument: Kind, part: str, word: str) -> object:
    try:
        return argument.read(part)
    except FaultError as error:
        raise FaultError(f"{word}: {argument.name}: {error}") from None
    except ValueError:
        raise FaultError(f"{word}: {argument.name}: {shown(part)} is not {argument.what}") from None


def _check_method(pattern: str, methods: Collection[str], word: str) -> None:
    if methods and not any(fnmatchcase(method, pattern) for method in methods):
        raise FaultError(f"{word}: METHOD: {shown(pattern)} is none{nearest(pattern, methods)}")


def nearest(word: str, known: Collection[str]) -> str:
    """`; did you mean X?`, or nothing."""
    near = difflib.get_close_matches(word[:_LONGEST_SHOWN], known, 1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def shown(part: str) -> str:
    """A part of what was given, on one line and not too long."""
    return repr(part if len(part) <= _LONGEST_SHOWN else part[: _LONGEST_SHOWN - 3] + "...")


def signature(kind: type[Fault]) -> str:
    """How the fault is written: `stall:WHERE:FOR[:DIRECTION]`."""
    hints = get_type_hints(kind, include_extras=True)
    parts = [verb(kind)]
    optional = 0
    for field in attrs.fields(kind):
        name = hints[field.name].__metadata__[0].name
        if field.default is attrs.NOTHING:
            parts.append(f":{name}")
        else:
            parts.append(f"[:{name}")
            optional += 1
    return "".join(parts) + "]" * optional


def usage() -> str:
    """Every fault, and how its arguments are written."""
    kinds: dict[str, dict[str, None]] = {}
    lines = ["Faults are written VERB:ARGUMENT:...@WHEN; an argument with a default may be left out or empty.", ""]
    for kind in VERBS.values():
        lines += [f"  {signature(kind)}", f"      {_first_line(kind)}{_defaults(kind)}"]
        for hint in get_type_hints(kind, include_extras=True).values():
            argument = hint.__metadata__[0]
            kinds.setdefault(argument.name, {})[argument.what] = None
    lines += ["", f"  WHEN: {TIME}, after the start (or after it was asked for); without it, at once"]
    lines += [f"  {name}: {'; or '.join(whats)}" for name, whats in sorted(kinds.items())]
    lines += ["", "For example: --fault stall:stream:10s@30s --fault cut:ws_api:in:99 --fault lose-reply:order.place:2"]
    return "\n".join(lines)


def _first_line(kind: type[Fault]) -> str:
    return (kind.__doc__ or "").splitlines()[0]


def _defaults(kind: type[Fault]) -> str:
    hints = get_type_hints(kind, include_extras=True)
    told = [
        f"{hints[field.name].__metadata__[0].name} {_default(field.default)}"
        for field in attrs.fields(kind)
        if field.default is not attrs.NOTHING
    ]
    return f" Default: {', '.join(told)}." if told else ""


def _default(value: object) -> str:
    if isinstance(value, float):
        return "until healed" if value == math.inf else f"{value:g}s"
    return str(value)
