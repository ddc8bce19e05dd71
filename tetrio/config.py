"""Configuration: TOML, environment and command line, in layers, into frozen records.

    defaults  <  file  <  environment TETRIO__SECTION__KEY  <  --set section.key=value

Every value remembers where it came from, and every error names that place, what is accepted, and the nearest known
name where one was mistyped. Fractions, not per cent; amounts of money are exact decimals and never pass through a
float. This module reads the one file that it is given and nothing else: the environment is handed in, secrets stay in
their files (`tetrio.keys` reads them), and whether a market or a symbol exists is for those to say who open it.
"""

from __future__ import annotations

import difflib
import tomllib
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import attrs
import cattrs

from tetrio.core.params import ExitParams, GainScale, Limits, RiskParams, StrategyParams
from tetrio.errors import ConfigError
from tetrio.faces import ControlParams, LogParams, MetricsParams, TelegramParams
from tetrio.log import is_secret
from tetrio.venue import VENUE_URLS, AccountParams, SymbolParams, Urls, VenueParams, check_url

ENVIRONMENT_PREFIX = "TETRIO__"
LATER = ("dashboard",)
"""Sections that this version does not have yet."""
WORDS = {"strategy.fee": "auto", "venue.speed": "max"}
"""Settings that take a number or one word; the word is None in the record."""


@attrs.frozen(kw_only=True)
class Config:
    """The whole configuration, checked."""

    venue: VenueParams
    symbol: SymbolParams
    strategy: StrategyParams
    exit: ExitParams
    risk: RiskParams
    account: AccountParams
    log: LogParams
    telegram: TelegramParams
    metrics: MetricsParams
    control: ControlParams
    origins: Mapping[str, str]
    """"section.key" to where its value came from: "default", a file, a variable, an option."""

    @property
    def embedded(self) -> bool:
        """Whether the bot brings its own exchange: sim and paper, unless URLs aim it elsewhere.

        On paper the URLs of REST and of the streams say whose market is relayed; only ws_api, where orders go, aims it.
        """
        venue = self.venue
        if venue.name == "paper":
            return not venue.ws_api
        return venue.name == "sim" and not (venue.rest and venue.ws_api and venue.stream)

    @property
    def relayed(self) -> bool:
        """Whether the market of the bot's own exchange is another exchange's, relayed."""
        return self.venue.name == "paper" and self.embedded

    @property
    def virtual(self) -> bool:
        """Whether the run is in virtual time (`--speed max`)."""
        return self.venue.speed is None

    @property
    def urls(self) -> Urls:
        """Where to connect: what was given, else the venue's own."""
        own, venue = VENUE_URLS[self.venue.name], self.venue
        return Urls(
            venue.rest or own.rest,
            venue.ws_api or own.ws_api,
            venue.stream or own.stream,
            venue.sbe_stream or own.sbe_stream,
        )


SECTIONS: Mapping[str, type[Any]] = {
    "venue": VenueParams,
    "symbol": SymbolParams,
    "strategy": StrategyParams,
    "exit": ExitParams,
    "risk": RiskParams,
    "account": AccountParams,
    "log": LogParams,
    "telegram": TelegramParams,
    "metrics": MetricsParams,
    "control": ControlParams,
}


CREDENTIALS = (
    ("account", "api_key_file", "api-key"),
    ("account", "private_key_file", "ed25519.pem"),
    ("telegram", "token_file", "telegram"),
)
"""(section, key, file name) of what systemd may pass as a credential."""


class Text(str):
    """A value that came as text (environment, command line) and may stand for a number or a truth value."""

    __slots__ = ()


@attrs.frozen
class Given:
    """One value that somebody gave, before it is checked."""

    key: str
    """"section.key"."""
    value: object
    origin: str


@attrs.frozen
class Row:
    """One setting as `config show` prints it."""

    key: str
    value: str
    origin: str
    meaning: str


def load(path: Path | None = None, environ: Mapping[str, str] | None = None, overrides: Iterable[Given] = ()) -> Config:
    """Read all layers and check them; ConfigError names the first thing that is wrong, and where.

    path        a TOML file, or None for the built-in defaults
    environ     variables; those that begin with TETRIO__ are settings, CREDENTIALS_DIRECTORY is systemd's
    overrides   what the command line gave, the last one winning
    """
    config = read(path, environ, overrides)
    check(config)
    return config


def read(path: Path | None = None, environ: Mapping[str, str] | None = None, overrides: Iterable[Given] = ()) -> Config:
    """As `load`, but each value is only checked for itself: for `tetrio explain`, which connects nowhere."""
    environ = environ or {}
    layers = [*(from_file(path) if path else ()), *from_environment(environ), *overrides]
    given = {each.key: each for each in layers}
    records: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for section, cls in SECTIONS.items():
        values = {}
        for field in attrs.fields(cls):
            key = f"{section}.{field.name}"
            origins[key] = given[key].origin if key in given else "default"
            if key in given:
                values[field.name] = _structure(given[key], cls, field)
        records[section] = cls(**values)
    return _with_credentials(Config(**records, origins=origins), environ)


def from_file(path: Path) -> Iterator[Given]:
    """The settings of a TOML file; ConfigError when it cannot be read or names what is not known."""
    try:
        tree = tomllib.loads(path.read_text("utf-8"), parse_float=Decimal)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, InvalidOperation) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    for section, table in tree.items():
        where = f"{path}: [{section}]"
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: {section} stands outside a section; {_known_sections(section)}")
        _known_section(section, where)
        for name, value in table.items():
            _known_key(section, name, where)
            yield Given(f"{section}.{name}", value, str(path))


def from_environment(environ: Mapping[str, str]) -> Iterator[Given]:
    """The settings among the environment's variables, TETRIO__SECTION__KEY."""
    for variable in sorted(environ):
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        section, separator, name = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if not separator:
            raise ConfigError(f"{variable}: settings are named {ENVIRONMENT_PREFIX}SECTION__KEY")
        _known_section(section, variable)
        _known_key(section, name, variable)
        yield Given(f"{section}.{name}", Text(environ[variable]), variable)


def from_option(text: str, origin: str = "--set") -> Given:
    """One `section.key=value` of the command line."""
    key, equals, value = text.partition("=")
    section, dot, name = key.strip().partition(".")
    where = f"{origin} {key.strip()}"  # not the value: it may be a secret that found no key
    if not (equals and dot):
        raise ConfigError(f"{where}: write section.key=value, such as strategy.hard_stop=0.005")
    _known_section(section, where)
    _known_key(section, name, where)
    return Given(f"{section}.{name}", Text(value.strip()), origin)


def structure_one(given: Given) -> object:
    """The checked value of one setting, as it stands in its record; ConfigError as `load` raises it."""
    section, _, name = given.key.partition(".")
    _known_section(section, given.origin)
    _known_key(section, name, given.origin)
    cls = SECTIONS[section]
    return _structure(given, cls, attrs.fields_dict(cls)[name])


def parse_funds(text: str) -> dict[str, Decimal]:
    """`ETH=1,USDT=0` as amounts by asset; ValueError when it is not of that form."""
    funds: dict[str, Decimal] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        asset, equals, amount = (piece.strip() for piece in part.partition("="))
        if not (equals and asset and asset == asset.upper() and asset.isalnum()):
            raise ValueError(f'{part!r} is not of the form "ETH=1"')
        if asset in funds:
            raise ValueError(f"{asset} is given twice")
        funds[asset] = _exact(Text(amount), Decimal)
        if funds[asset] < 0:
            raise ValueError(f"{part!r} is negative")
    return funds


def rows(config: Config) -> Iterator[Row]:
    """Every setting with its value, origin and meaning, in the order of the sections."""
    for section, cls in SECTIONS.items():
        record = getattr(config, section)
        for field in attrs.fields(cls):
            key = f"{section}.{field.name}"
            value = show(getattr(record, field.name), key)
            yield Row(key, value, config.origins[key], field.metadata["meaning"])


def show(value: object, key: str = "") -> str:
    """`value` as it is written in a configuration file, without quotes."""
    if value is None:
        return WORDS[key]
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def check(config: Config) -> None:
    """What concerns more than one setting; ConfigError. `load` has called it."""
    _check_factors(config)
    _check_urls(config)
    _check_market(config)
    _check_account(config)


def _check_factors(config: Config) -> None:
    strategy = config.strategy
    if strategy.min_factor > strategy.start_factor:
        raise ConfigError(
            f"strategy.min_factor = {show(strategy.min_factor)} ({config.origins['strategy.min_factor']}) is above "
            f"strategy.start_factor = {show(strategy.start_factor)} ({config.origins['strategy.start_factor']}): "
            "the callback narrows from start_factor to min_factor"
        )


def _check_urls(config: Config) -> None:
    venue = config.venue
    for name, schemes in (
        ("rest", ("https", "http")),
        ("ws_api", ("wss", "ws")),
        ("stream", ("wss", "ws")),
        ("sbe_stream", ("wss", "ws")),
    ):
        url = getattr(venue, name)
        if url:
            try:
                check_url(url, schemes)
            except ValueError as error:
                raise ConfigError(f"venue.{name} = {url} ({config.origins[f'venue.{name}']}): {error}") from None
    try:
        check_url(config.telegram.url, ("https", "http"))
    except ValueError as error:
        origin = config.origins["telegram.url"]
        raise ConfigError(f"telegram.url = {config.telegram.url} ({origin}): {error}") from None
    if venue.name == "sim" and config.embedded and (venue.rest or venue.ws_api or venue.stream):
        raise ConfigError(
            "venue.rest, venue.ws_api and venue.stream aim the bot at another exchange together: give all three"
        )


def _check_market(config: Config) -> None:
    venue = config.venue
    played = venue.name == "sim" and config.embedded
    if not played and venue.market != "synthetic":
        raise ConfigError(f"venue.market ({config.origins['venue.market']}) is for the venue sim, not {_aim(config)}")
    if config.virtual and (not played or venue.market == "synthetic"):
        raise ConfigError(f'venue.speed = "max" ({config.origins["venue.speed"]}) needs sim and a recorded market')
    if not played and venue.speed not in (None, 1.0):
        raise ConfigError(f"venue.speed ({config.origins['venue.speed']}) is for the venue sim, not {_aim(config)}")
    if not played and not config.symbol.name:
        raise ConfigError(f'symbol.name is needed for {_aim(config)}, such as "ETHFDUSD"')


def _check_account(config: Config) -> None:
    if config.embedded:
        return
    missing = [name for name in ("api_key_file", "private_key_file") if not getattr(config.account, name)]
    if missing:
        raise ConfigError(
            f"account.{' and account.'.join(missing)} needed for {_aim(config)}: make a key with `tetrio keys new`, "
            "or pass systemd the credentials api-key and ed25519.pem"
        )


def check_live(config: Config) -> None:
    """ConfigError unless real money may be traded, or none would be; asked by `serve` after its own question."""
    if config.venue.name == "live" and not config.venue.live:
        raise ConfigError(
            "the venue live trades real money: set live = true under [venue], or run `tetrio serve --live` on a "
            "terminal and type the confirmation"
        )


def _aim(config: Config) -> str:
    """The exchange in words, for messages."""
    return f"the exchange at {config.venue.ws_api}" if config.venue.ws_api else f"the venue {config.venue.name}"


def _with_credentials(config: Config, environ: Mapping[str, str]) -> Config:
    """Key files that were not configured, from where systemd puts credentials; fresh copies of a reload come first."""
    runtime, loaded = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0], environ.get("CREDENTIALS_DIRECTORY")
    if not loaded:
        return config
    directories = [Path(runtime) / "credentials", Path(loaded)] if runtime else [Path(loaded)]
    origins, changed = dict(config.origins), dict[str, Any]()
    for section, name, file in CREDENTIALS:
        record = changed.get(section, getattr(config, section))
        path = next((each for directory in directories if _holds_something(each := directory / file)), None)
        if not getattr(record, name) and path is not None:
            changed[section] = attrs.evolve(record, **{name: str(path)})
            origins[f"{section}.{name}"] = "systemd credential"
    return attrs.evolve(config, **changed, origins=origins)


def _holds_something(path: Path) -> bool:
    """Whether a credential is there; a blank one is none, since a unit cannot leave one out."""
    try:
        return bool(path.read_bytes().strip())
    except FileNotFoundError:
        return False
    except OSError:
        return True  # whoever reads it says what is wrong with it


# --- names -----------------------------------------------------------------------------------------------------------


def _known_section(section: str, where: str) -> None:
    if section in SECTIONS:
        return
    if section in LATER:
        raise ConfigError(f"{where}: unknown section; [{section}] is not part of this version yet, leave it out")
    raise ConfigError(f"{where}: unknown section; {_known_sections(section)}")


def _known_sections(section: str) -> str:
    near = difflib.get_close_matches(section, SECTIONS, 1)
    return f"did you mean [{near[0]}]?" if near else f"known are {', '.join(f'[{name}]' for name in SECTIONS)}"


def _known_key(section: str, name: str, where: str) -> None:
    names = [field.name for field in attrs.fields(SECTIONS[section])]
    if name in names:
        return
    elsewhere = [other for other, cls in SECTIONS.items() if name in attrs.fields_dict(cls)]
    near = difflib.get_close_matches(name, names, 1, cutoff=0.5)
    if elsewhere:
        remedy = f"it belongs in [{elsewhere[0]}]"
    elif near:
        remedy = f"did you mean {near[0]}?"
    else:
        remedy = f"known are {', '.join(names)}"
    raise ConfigError(f"{where}: unknown key {name}; {remedy}")


# --- values ----------------------------------------------------------------------------------------------------------


def _structure(given: Given, cls: type[Any], field: attrs.Attribute[Any]) -> object:
    """The value of one setting as its record holds it, its range checked."""
    word = WORDS.get(given.key)
    if word is not None and given.value == word:
        return None
    wanted = typing.get_type_hints(cls)[field.name]
    try:
        value = _CONVERTER.structure(given.value, float if word is not None else wanted)
        _check_range(value, field)
        if given.key in _EXTRA:
            _EXTRA[given.key](value)
    except (ValueError, TypeError) as error:
        also = f', or "{word}"' if word is not None else ""
        raise ConfigError(f"{given.origin}: {given.key}: {error}{also} [{field.metadata['meaning']}]") from None
    return value


def _check_range(value: Any, field: attrs.Attribute[Any]) -> None:
    limits: Limits = field.metadata["limits"]
    if limits.choices and value not in limits.choices:
        near = difflib.get_close_matches(value, limits.choices, 1)
        raise ValueError(
            f"{value!r} is none of {', '.join(limits.choices)}" + (f"; did you mean {near[0]}?" if near else "")
        )
    fraction = "fraction" in field.metadata["meaning"]
    if isinstance(value, GainScale | tuple):
        return
    high = 1 if fraction and limits.high is None else limits.high
    low_ok = limits.low is None or (value > limits.low if limits.low_open else value >= limits.low)
    if not low_ok or (high is not None and value > high):
        hint = "; fractions, not per cent: 0.5 % is 0.005" if fraction and value >= 1 else ""
        raise ValueError(f"{show(value)} is outside {_range(limits, high)}{hint}")


def _range(limits: Limits, high: float | None) -> str:
    if limits.low is not None and limits.low == high:
        return f"what is possible: only {high:g}"
    bounds = []
    if limits.low is not None:
        bounds.append(f"{'above' if limits.low_open else 'at least'} {limits.low:g}")
    if high is not None:
        bounds.append(f"at most {high:g}")
    return "the range: " + ", ".join(bounds)


def _exact(value: object, _: object) -> Decimal:
    """A finite decimal, exactly as it was written."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise ValueError(f"{_shown(value)} is not a number")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{_shown(value)} is not a number{_unit_hint(value)}") from None
    if not number.is_finite():
        raise ValueError(f"{_shown(value)} is not a finite number")
    return number


def _number(value: object, kind: object) -> float:
    if isinstance(value, str) and not isinstance(value, Text):
        raise ValueError(f"{value!r} is text: write a number, without quotes{_unit_hint(value)}")
    return float(_exact(value, kind))


def _whole(value: object, kind: object) -> int:
    if isinstance(value, str) and not isinstance(value, Text):
        raise ValueError(f"{value!r} is text: write a whole number, without quotes")
    number = _exact(value, kind)
    if number != number.to_integral_value() or isinstance(value, Decimal):
        raise ValueError(f"{_shown(value)} is not a whole number")
    return int(number)


def _numbers(value: object, kind: object) -> tuple[int, ...]:
    """Whole numbers: a list, or as text separated by commas."""
    if isinstance(value, Text):
        value = [Text(part.strip()) for part in value.strip("[] ").split(",") if part.strip()]
    if not isinstance(value, list):
        raise ValueError(f"{_shown(value)} is not a list of whole numbers, such as [123456789]")
    return tuple(_whole(each, kind) for each in value)


def _truth(value: object, _: object) -> bool:
    if isinstance(value, Text) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, bool):
        return value
    raise ValueError(f"{_shown(value)} is neither true nor false")


def _words(value: object, _: object) -> str:
    if isinstance(value, str):
        return str(value)
    raise ValueError(f"{_shown(value)} is not text: write it in quotes")


def _gain_scale(value: object, _: object) -> GainScale:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise ValueError(f'{_shown(value)} is neither a fraction such as 0.005 nor a multiple such as "1.5atr"')
    try:
        return GainScale.parse(str(value))
    except ValueError as error:
        raise ValueError(f"{error}{_unit_hint(value)}") from None


def _unit_hint(value: object) -> str:
    """What to write instead of "5%"."""
    text = str(value).strip()
    if not text.endswith("%"):
        return ""
    try:
        fraction = Decimal(text.removesuffix("%").strip()) / 100
    except InvalidOperation:
        return "; fractions, not per cent"
    return f"; fractions, not per cent: {text} is {fraction:f}"


def _shown(value: object) -> str:
    return show(value) if isinstance(value, bool | Decimal) else repr(str(value) if isinstance(value, Text) else value)


def _capitals(value: object) -> None:
    name = str(value)
    if name and not (name.isalnum() and name == name.upper()):
        raise ValueError(f'{name!r} is not a symbol: write it as the exchange does, such as "ETHFDUSD"')


def _path(value: object) -> None:
    if is_secret(str(value)):
        raise ValueError(
            "a path is wanted, and this looks like the secret itself: write it into a file of its own (chmod 600), "
            "name that file here, and replace the secret if others may have read it"
        )


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False)
    for kind, hook in (
        (float, _number),
        (int, _whole),
        (bool, _truth),
        (str, _words),
        (Decimal, _exact),
        (GainScale, _gain_scale),
    ):
        converter.register_structure_hook(kind, hook)
    converter.register_structure_hook_func(lambda kind: kind == tuple[int, ...], _numbers)
    return converter


_CONVERTER = _converter()
_EXTRA: Mapping[str, Callable[[object], object]] = {
    "symbol.name": _capitals,
    "venue.fund": lambda value: parse_funds(str(value)),
    **{f"{section}.{name}": _path for section, name, _ in CREDENTIALS},
}
