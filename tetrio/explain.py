"""The kernel over recorded steps: what it decided at each, and why nothing else.

Reads the lines of a golden trace: a `params` record, a `history` record of klines, then one record a step with what
was seen and held. It trades nothing and models no fill: holdings are inputs. Everything is a plain float here (quote
units, base units), as it was in the bot that made such traces, so that rounding is the same.

A step is folded in this order: holdings, kline, the pass, and then the operator's exit if one came (step 7 of the pass,
after a change of regime has disarmed what was armed).
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import attrs
import msgspec

from tetrio.core import kernel
from tetrio.core.kernel import Command, KernelRules, State, Word
from tetrio.core.market import Holdings, Kline
from tetrio.core.money import places_of
from tetrio.core.params import GainScale, Limits, StrategyParams
from tetrio.core.why import sentence
from tetrio.errors import ConfigError

_LAST_MS = 59_999  # a kline of the traces closes this long after it opened

_NAMES = {
    "START_FACTOR": "start_factor",
    "MIN_FACTOR": "min_factor",
    "GAIN_SCALE_FRAC_BASE": "gain_scale_base",
    "GAIN_SCALE_FRAC_QUOTE": "gain_scale_quote",
    "MIN_GAIN_TRIGGER_FRAC_BASE": "min_gain_base",
    "MIN_GAIN_TRIGGER_FRAC_QUOTE": "min_gain_quote",
    "HARD_STOP_THRESHOLD_FRAC": "hard_stop",
    "ROLLING_KLINES_MAXLEN": "kline_history",
    "DONCHIAN_WINDOW": "donchian_window",
    "DONCHIAN_SHIFT": "donchian_shift",
    "DONCHIAN_GAIN_MULTIPLIER": "donchian_gain",
    "FEE": "fee",
    "BUFFER": "buffer",
}
_FIELDS = {field.name: field for field in attrs.fields(StrategyParams)}


class _Filters(msgspec.Struct):
    """The symbol's filters, from the params record."""

    LOT_SIZE: float
    MIN_QTY: float
    MIN_NOTIONAL: float
    PRICE_TICK: float


class _Step(msgspec.Struct):
    """What a step was given; every other field of its record is ignored."""

    bid: float
    ask: float
    close: float
    kT: int  # noqa: N815
    base: float
    quote: float
    manual: bool = False
    i: int | None = None

    @property
    def at_ns(self) -> int:
        """None of its own: which kline is forming is told by `kT`."""
        return 0


class _History(msgspec.Struct):
    """The klines before the first step: open time in ms, open, high, low, close."""

    klines: list[tuple[int, float, float, float, float]]


_Record = TypeVar("_Record", _Filters, _Step, _History)


def steps(
    path: str | Path, base: StrategyParams, overrides: Mapping[str, object] | None = None, *, why: bool = False
) -> Iterator[dict[str, Any]]:
    """One record a step of the trace at `path` (gzipped or not, told by its first bytes).

    base        defaults and configuration, below the file's params record
    overrides   strategy settings above it, by name (`hard_stop` or `strategy.hard_stop`), values or their text
    why         adds the sentence a person reads
    ConfigError names file, line and remedy.
    """
    return run(_lines(Path(path)), base, overrides, why=why, name=str(path))


def run(
    lines: Iterable[bytes | str],
    base: StrategyParams,
    overrides: Mapping[str, object] | None = None,
    *,
    why: bool = False,
    name: str = "steps",
) -> Iterator[dict[str, Any]]:
    """As `steps`, over lines that the caller has; `name` stands for the file in messages."""
    reader = _Reader(name, base, overrides or {}, why)
    for number, line in enumerate(lines, 1):
        reader.at = f"{name}, line {number}"
        record = reader.record(line)
        if record is None:
            continue
        if record.get("kind") == "original-crashed":
            break
        answer = reader.take(record)
        if answer is not None:
            yield answer
    reader.end()


def layered(params: StrategyParams, given: Mapping[str, object], source: str) -> StrategyParams:
    """`params` with settings of [strategy] laid over it, checked; ConfigError names `source`, key and range."""
    values: dict[str, Any] = {}
    for key, value in given.items():
        field = key.removeprefix("strategy.")
        if field not in _FIELDS:
            near = get_close_matches(field, _FIELDS, 1)
            remedy = f"did you mean {near[0]}?" if near else f"known are {', '.join(_FIELDS)}"
            raise ConfigError(f"{source}: unknown strategy setting {key!r}; {remedy}")
        values[field] = _setting(field, value, f"{source}: {key}")
    return attrs.evolve(params, **values)


class _Reader:
    """The records so far: parameters, filters, and the state they led to."""

    def __init__(self, name: str, base: StrategyParams, overrides: Mapping[str, object], why: bool) -> None:
        self.at = name
        self._name, self._base, self._overrides, self._why = name, base, overrides, why
        self._params: StrategyParams | None = None
        self._filters: _Filters | None = None
        self._klines: list[Kline] = []
        self._state: State | None = None
        self._count = 0

    def record(self, line: bytes | str) -> dict[str, Any] | None:
        """The record of a line; None for a blank one."""
        if not line.strip():
            return None
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ConfigError(
                f"{self.at}: not a JSON record ({error}); each line must hold one complete record"
            ) from None
        if not isinstance(record, dict):
            raise ConfigError(f"{self.at}: a record must be a JSON object, this is {type(record).__name__}")
        return record

    def take(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """Fold a record; the answer when it was a step."""
        match record.get("kind"):
            case "params":
                self._take_params(record)
            case "history":
                self._take_history(record)
            case None:
                return self._take_step(record)
            case _:
                pass  # kinds that we do not know are other programs' notes
        return None

    def end(self) -> None:
        """The lines are over."""
        if self._params is None:
            raise ConfigError(f'{self._name}: no params record; the first line must be {{"kind": "params", …}}')

    def _take_params(self, record: dict[str, Any]) -> None:
        if self._params is not None:
            raise ConfigError(f"{self.at}: a second params record; give one file a run")
        source = f"{self.at} (params)"
        given: dict[str, object] = {"decay": "hyperbolic", "reference": "book"} if "decay" not in record else {}
        given |= {_NAMES[key]: value for key, value in record.items() if key in _NAMES}
        given |= {key: value for key, value in record.items() if key in _FIELDS}
        params = layered(self._base, given, source)
        self._filters = self._convert(record, _Filters)
        for key in ("LOT_SIZE", "PRICE_TICK"):
            if getattr(self._filters, key) <= 0:
                raise ConfigError(f"{source}: {key} must be above 0")
        self._params = layered(params, self._overrides, "--set")

    def _take_history(self, record: dict[str, Any]) -> None:
        if self._state is not None:
            raise ConfigError(f"{self.at}: history must come before the first step")
        self._klines += [Kline(*kline, closed=True) for kline in self._convert(record, _History).klines]

    def _take_step(self, record: dict[str, Any]) -> dict[str, Any]:
        if self._params is None or self._filters is None:
            raise ConfigError(f'{self.at}: a step before the params record; begin with {{"kind": "params", …}}')
        step = self._convert(record, _Step)
        if not all(map(math.isfinite, (step.bid, step.ask, step.close, step.base, step.quote))):
            raise ConfigError(f"{self.at}: bid, ask, close, base and quote must be finite numbers")
        if step.bid <= 0 or step.ask <= 0:
            raise ConfigError(f"{self.at}: bid and ask must be above 0, they are {step.bid} and {step.ask}")
        if self._state is None:
            filters = self._filters
            rules = KernelRules(min_qty=filters.MIN_QTY, step=filters.LOT_SIZE, min_notional=filters.MIN_NOTIONAL)
            self._state = kernel.start(self._params, rules, self._klines)
        self._state = state = _folded(self._state, step)
        index = self._count if step.i is None else step.i
        self._count += 1
        return self._answer(index, state, step)

    def _answer(self, index: int, state: State, step: _Step) -> dict[str, Any]:
        view = kernel.view(state)
        answer = {
            "i": index,
            "regime": view.regime.value if view.regime else "FLAT",
            "gate": view.gate,
            "gate_regime": view.gate_regime.value if view.gate_regime else None,
            "maker_exit": view.maker_exit,
            "hard_stop": view.hard_stop,
            "anchor_price": view.anchor,
            "high_price": view.high,
            "gain": view.gain,
            "drawdown": view.drawdown,
            "factor": view.factor,
            "callback": view.callback,
            "min_gain": view.min_gain,
            "upper": view.upper,
            "lower": view.lower,
            "mid": view.mid,
        }
        if self._why:
            assert self._filters is not None, "checked with the first step"
            tick = self._filters.PRICE_TICK
            answer["why"] = sentence(view, state.params, step, _price_format(tick), tick=tick)
        return answer

    def _convert(self, record: dict[str, Any], kind: type[_Record]) -> _Record:
        try:
            return msgspec.convert(record, kind)
        except msgspec.ValidationError as error:
            what = "a step" if kind is _Step else f"a {record['kind']} record"
            needs = ", ".join(field.name for field in msgspec.structs.fields(kind) if field.required)
            raise ConfigError(f"{self.at}: {error}; {what} needs {needs}") from None


def _folded(state: State, step: _Step) -> State:
    """`state` after one step."""
    state = kernel.on_holdings(state, Holdings(base=max(step.base, 0.0), quote=max(step.quote, 0.0)))
    newest = state.forming.open_ms if state.forming else None
    open_ms = step.kT - _LAST_MS if newest is None or step.kT > newest + _LAST_MS else newest
    state = kernel.on_kline(state, _forming(state.forming, open_ms, step.close))
    state, _ = kernel.fold(state, [step])
    if step.manual:
        state, _ = kernel.on_command(state, Command(Word.EXIT))
    return state


def _forming(before: Kline | None, open_ms: int, close: float) -> Kline:
    """The forming kline as far as a trace tells: its closes, of which high and low are made."""
    if before is None or before.open_ms != open_ms:
        return Kline(open_ms, close, close, close, close)
    return Kline(open_ms, before.open, max(before.high, close), min(before.low, close), close)


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, gzipped or not."""
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as lines:
            yield from lines
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"{path}: the gzip file is damaged or cut short ({error}); copy it again") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a steps file") from None


def _setting(name: str, value: object, source: str) -> Any:
    """`value`, or its text, as the type of the setting, within its range."""
    field = _FIELDS[name]
    limits: Limits = field.metadata["limits"]
    if isinstance(field.default, GainScale):
        if isinstance(value, GainScale):
            return value
        try:
            return GainScale.parse(str(value))
        except ValueError as error:
            raise ConfigError(f"{source}: {error}") from None
    if limits.choices:
        if value not in limits.choices:
            raise ConfigError(f"{source}: {value!r} is not one of {', '.join(limits.choices)}")
        return value
    if name == "fee" and value in (None, "auto"):
        return None
    return _number(value, limits, source, whole=isinstance(field.default, int))


def _number(value: object, limits: Limits, source: str, *, whole: bool) -> float:
    try:
        number = float(str(value))
    except ValueError:
        raise ConfigError(f"{source}: {value!r} is not a number") from None
    if whole and not number.is_integer():
        raise ConfigError(f"{source}: {value!r} is not a whole number")
    low, high = limits.low, limits.high
    inside = math.isfinite(number) and (high is None or number <= high)
    if low is not None and (number < low or (limits.low_open and number == low)):
        inside = False
    if not inside:
        at_least = "" if low is None else f"above {low:g}" if limits.low_open else f"at least {low:g}"
        at_most = "" if high is None else f"at most {high:g}"
        raise ConfigError(f"{source}: {value} is out of range: {' and '.join(filter(None, (at_least, at_most)))}")
    return int(number) if whole else number


def _price_format(tick: float) -> Callable[[float], str]:
    """Prices with as many places as the tick has."""
    places = places_of(Decimal(repr(tick)))
    return lambda price: f"{price:,.{places}f}"
