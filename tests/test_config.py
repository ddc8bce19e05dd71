from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrio import config
from tetrio.cli import main
from tetrio.config import Config, Given, Text
from tetrio.core.params import GainScale
from tetrio.errors import ConfigError
from tetrio.venue import VenueParams, check_url, is_loopback

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "config").glob("*.toml"))


def load(*options: str, file: Path | None = None, environ: dict[str, str] | None = None) -> Config:
    return config.load(file, environ, [config.from_option(option) for option in options])


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "bot.toml"


AIMED = ("symbol.name=ETHFDUSD", "account.api_key_file=a", "account.private_key_file=b")


# --- layers ----------------------------------------------------------------------------------------------------------


def test_the_defaults_are_the_contracts() -> None:
    settings = load()
    assert settings.embedded
    assert not settings.virtual
    strategy = settings.strategy
    assert (strategy.start_factor, strategy.min_factor, strategy.buffer, strategy.hard_stop) == (0.5, 0.1, 0.002, 0.005)
    assert (strategy.donchian_window, strategy.donchian_shift, strategy.kline_history) == (40, 2, 1440)
    assert strategy.fee is None
    assert (settings.venue.name, settings.venue.market, settings.venue.speed) == ("sim", "synthetic", 1.0)
    assert (settings.exit.requote_ms, settings.exit.dust_after_s, settings.exit.on_stop) == (250, 60.0, "cancel")
    assert set(settings.origins.values()) == {"default"}


def test_each_layer_overrides_those_before_it_and_is_remembered(toml: Path) -> None:
    toml.write_text("[strategy]\nhard_stop = 0.01\nbuffer = 0.01\nmin_factor = 0.01\n[venue]\nseed = 5\n")
    settings = load(
        "strategy.min_factor=0.04",
        "strategy.min_factor=0.03",
        file=toml,
        environ={"TETRIO__STRATEGY__BUFFER": "0.02", "TETRIO__STRATEGY__MIN_FACTOR": "0.02", "HOME": "/"},
    )
    strategy, origins = settings.strategy, settings.origins
    assert (strategy.hard_stop, strategy.buffer, strategy.min_factor) == (0.01, 0.02, 0.03)
    assert settings.venue.seed == 5
    assert origins["strategy.hard_stop"] == str(toml)
    assert origins["strategy.buffer"] == "TETRIO__STRATEGY__BUFFER"
    assert origins["strategy.min_factor"] == "--set"
    assert origins["strategy.start_factor"] == "default"


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_example_is_fine(path: Path) -> None:
    settings = load(file=path)
    assert settings.venue.name == ("sim" if path.stem == "replay" else path.stem)


def test_there_is_an_example_for_every_venue() -> None:
    names = {path.stem for path in CONFIGS}
    venues = attrs.fields_dict(VenueParams)["name"].metadata["limits"].choices
    assert names == {*venues, "replay"}


def test_the_sim_example_is_the_defaults_spelt_out() -> None:
    settings = load(file=next(path for path in CONFIGS if path.stem == "sim"))
    assert attrs.evolve(settings, origins={}) == attrs.evolve(load(), origins={})


def test_every_setting_shows_its_value_origin_and_meaning() -> None:
    rows = {row.key: row for row in config.rows(load("strategy.fee=auto", "venue.maker=0.00010"))}
    assert len(rows) == sum(len(attrs.fields(cls)) for cls in config.SECTIONS.values())
    assert all(row.meaning for row in rows.values())
    assert (rows["strategy.fee"].value, rows["strategy.fee"].origin) == ("auto", "--set")
    assert rows["venue.maker"].value == "0.00010"
    assert rows["venue.live"].value == "false"


# --- values ----------------------------------------------------------------------------------------------------------


def test_amounts_stay_exact_from_a_number_and_from_text(toml: Path) -> None:
    toml.write_text('[symbol]\nreserve_base = 0.1000000000000000055511151231257827\nreserve_quote = "12.30"\n')
    symbol = load(file=toml).symbol
    assert symbol.reserve_base == Decimal("0.1000000000000000055511151231257827")
    assert str(symbol.reserve_quote) == "12.30"
    assert load("symbol.max_notional=0.1").symbol.max_notional == Decimal("0.1")


def test_words_stand_where_a_number_may(toml: Path) -> None:
    toml.write_text('[strategy]\nfee = "auto"\ngain_scale_base = "1.5atr"\ngain_scale_quote = 0.002\n')
    strategy = load(file=toml).strategy
    assert strategy.fee is None
    assert (strategy.gain_scale_base, strategy.gain_scale_quote) == (GainScale(1.5, True), GainScale(0.002))
    assert load("strategy.fee=0").strategy.fee == 0
    assert load("venue.market=x.gz", "venue.speed=max").virtual


@pytest.mark.fault("F125")
@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("strategy.min_gain_base=5%", "fractions, not per cent: 5% is 0.05"),
        ("strategy.hard_stop=50", "at most 1; fractions, not per cent"),
        ("strategy.start_factor=50", "at most 1; fractions, not per cent"),
        ("strategy.hard_stop=0", "above 0"),
        ("strategy.buffer=-0.1", "at least 0"),
        ("strategy.buffer=nan", "finite"),
        ("strategy.buffer=inf", "finite"),
        ("strategy.buffer=", "not a number"),
        ("strategy.fee=much", 'not a number, or "auto"'),
        ("strategy.donchian_window=0", "at least 1"),
        ("strategy.donchian_window=2.5", "whole number"),
        ("strategy.gain_scale_base=2%", "2% is 0.02"),
        ("strategy.gain_scale_base=-1", "above 0"),
        ("strategy.gain_scale_base=nan", "above 0"),
        ("strategy.decay=exponental", "did you mean exponential"),
        ("strategy.kline_interval=2m", "none of 1s, 1m"),
        ("exit.chase=pegged", "none of join, improve, touch, peg"),
        ("exit.escalate_after_s=-1", "at least 0"),
        ("exit.protect=on", "none of off, stop, trailing"),
        ("risk.max_daily_loss=5", "0.5 % is 0.005"),
        ("venue.live=yes", "neither true nor false"),
        ("venue.speed=0", "above 0"),
        ("venue.maker=0.5", "at most 0.1"),
        ("venue.fund=ETH", 'not of the form "ETH=1"'),
        ("venue.fund=ETH=1,ETH=2", "given twice"),
        ("venue.fund=ETH=-1", "negative"),
        ("symbol.name=ethusdt", "write it as the exchange does"),
        ("symbol.reserve_base=nan", "finite"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_place_and_remedy(option: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(option)
    assert complaint in str(caught.value)
    assert str(caught.value).startswith("--set")
    assert option.partition("=")[0] in str(caught.value)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("[strategy]\nhard_stop = true", "is not a number"),
        ("[strategy]\ndonchian_window = true", "is not a number"),
        ("[strategy]\ndonchian_window = 40.0", "whole number"),
        ('[strategy]\nhard_stop = "0.5%"', "0.5% is 0.005"),
        ('[strategy]\nhard_stop = "0.005"', "without quotes"),
        ("[strategy]\nhard_stop = nan", "finite"),
        ("[strategy]\nhard_stop = [0.1]", "is not a number"),
        ("[strategy]\ngain_scale_base = true", "neither a fraction"),
        ("[strategy]\ndecay = 1", "in quotes"),
        ('[venue]\nlive = "true"', "neither true nor false"),
        ("[venue]\nlive = 1", "neither true nor false"),
        ("[symbol]\nreserve_base = true", "is not a number"),
    ],
)
def test_a_value_of_the_wrong_kind_in_a_file_is_refused(toml: Path, line: str, complaint: str) -> None:
    toml.write_text(line)
    with pytest.raises(ConfigError) as caught:
        load(file=toml)
    assert complaint in str(caught.value)
    assert str(toml) in str(caught.value)


@given(st.decimals(min_value=0, max_value=10**12, allow_nan=False, places=12))
def test_an_amount_is_what_was_written(amount: Decimal) -> None:
    assert config.structure_one(Given("symbol.max_notional", Text(f"{amount:f}"), "x")) == amount


@given(st.text(max_size=20))
def test_any_text_is_a_value_or_a_configuration_error(text: str) -> None:
    for key in ("strategy.hard_stop", "strategy.gain_scale_base", "venue.speed", "venue.fund", "symbol.reserve_base"):
        try:
            config.structure_one(Given(key, Text(text), "x"))
        except ConfigError as error:
            assert key in str(error)


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.fault("F125")
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[strategy]\nmin_gian_base = 0.1", "[strategy]: unknown key min_gian_base; did you mean min_gain_base?"),
        ("[exit]\nhard_stop = 0.1", "[exit]: unknown key hard_stop; it belongs in [strategy]"),
        ("[account]\nzzz = 1", "known are reconcile, api_key_file, private_key_file"),
        ("[stratgy]\n", "did you mean [strategy]?"),
        ("[zzz]\n", "known are [venue], [symbol]"),
        ("[dashboard]\nlisten = 'x'", "[dashboard] is not part of this version yet"),
        ("seed = 3", "seed stands outside a section"),
        ("[venue\n", "is not TOML"),
        ("[venue]\nseed = 1\nseed = 2", "is not TOML"),
        ("[account]\napi_key = 'AAAA'", "did you mean api_key_file?"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(toml: Path, content: str, complaint: str) -> None:
    toml.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load(file=toml)
    assert complaint in str(caught.value)
    assert str(caught.value).startswith(str(toml))
    assert "AAAA" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "complaint"),
    [
        ("TETRIO__STRATEGY__HARDSTOP", "did you mean hard_stop?"),
        ("TETRIO__STRATEGY", "TETRIO__SECTION__KEY"),
        ("TETRIO__ZZZ__KEY", "unknown section"),
    ],
)
def test_a_mistyped_variable_is_refused(variable: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ={variable: "1"})
    assert complaint in str(caught.value)
    assert str(caught.value).startswith(variable)


@pytest.mark.parametrize("option", ["hard_stop=1", "strategy.hard_stop", "=", "strategy.=1", "x.y=1"])
def test_a_malformed_option_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match=r"--set"):
        load(option)


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load(file=tmp_path / "missing.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not TOML"):
        load(file=tmp_path / "binary.toml")


# --- across settings -------------------------------------------------------------------------------------------------


def test_the_callback_cannot_narrow_upwards() -> None:
    with pytest.raises(ConfigError, match=r"min_factor = 0\.6"):
        load("strategy.min_factor=0.6")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("venue.speed=max",), "needs sim and a recorded market"),
        (("venue.name=paper", "symbol.name=ETHFDUSD", "venue.speed=max"), "needs sim and a recorded market"),
        (("venue.name=paper", "symbol.name=ETHFDUSD", "venue.speed=2"), "is for the venue sim"),
        (("venue.name=paper",), "symbol.name is needed"),
        (("venue.name=testnet", "venue.market=x.gz", *AIMED), "is for the venue sim"),
        (("venue.name=testnet", "symbol.name=ETHFDUSD"), "account.api_key_file and account.private_key_file needed"),
        (("venue.name=demo", "symbol.name=ETHFDUSD", "account.api_key_file=a"), "account.private_key_file needed"),
        (("venue.stream=ws://127.0.0.1:1",), "give all three"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(options: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(*options)
    assert complaint in str(caught.value)


def test_three_urls_aim_the_bot_elsewhere_whatever_the_venue() -> None:
    urls = ("venue.rest=http://127.0.0.1:1", "venue.ws_api=ws://127.0.0.1:2/ws-api/v3", "venue.stream=ws://[::1]:2")
    settings = load(*urls, *AIMED)
    assert not settings.embedded
    assert settings.urls.ws_api == "ws://127.0.0.1:2/ws-api/v3"
    with pytest.raises(ConfigError, match="keys new"):
        load(*urls, "symbol.name=ETHFDUSD")
    with pytest.raises(ConfigError, match=r"symbol\.name is needed"):
        load(*urls, *AIMED[1:])


def test_paper_brings_its_own_exchange_whatever_market_it_relays() -> None:
    paper = load("venue.name=paper", "symbol.name=ETHFDUSD")
    assert (paper.embedded, paper.relayed) == (True, True)
    assert (paper.urls.rest, paper.urls.stream) == ("https://api.binance.com", "wss://stream.binance.com:9443")
    moved = load("venue.name=paper", "symbol.name=X", "venue.rest=http://127.0.0.1:1", "venue.stream=ws://127.0.0.1:2")
    assert moved.relayed
    assert (moved.urls.rest, moved.urls.stream) == ("http://127.0.0.1:1", "ws://127.0.0.1:2")
    aimed = load("venue.name=paper", "venue.ws_api=ws://127.0.0.1:2/ws-api/v3", *AIMED)
    assert (aimed.embedded, aimed.relayed) == (False, False)
    assert not load().relayed


@pytest.mark.fault("F95")
def test_the_venues_have_binances_own_ends() -> None:
    settings = load("venue.name=testnet", *AIMED)
    assert settings.urls.ws_api == "wss://ws-api.testnet.binance.vision/ws-api/v3"
    moved = load("venue.name=testnet", "venue.rest=https://api1.testnet.binance.vision", *AIMED)
    assert (moved.urls.rest, moved.urls.stream) == ("https://api1.testnet.binance.vision", settings.urls.stream)


def test_real_money_needs_to_be_allowed() -> None:
    settings = load("venue.name=live", *AIMED)
    with pytest.raises(ConfigError, match="real money"):
        config.check_live(settings)
    config.check_live(load("venue.name=live", "venue.live=true", *AIMED))
    config.check_live(load("venue.name=testnet", *AIMED))


def test_systemd_credentials_stand_in_for_key_files(tmp_path: Path) -> None:
    for name in ("api-key", "ed25519.pem"):
        (tmp_path / name).write_text("x")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    settings = load("venue.name=testnet", "symbol.name=ETHFDUSD", environ=environ)
    assert settings.account.api_key_file == str(tmp_path / "api-key")
    assert settings.account.private_key_file == str(tmp_path / "ed25519.pem")
    assert settings.origins["account.api_key_file"] == "systemd credential"
    assert load("account.api_key_file=own", environ=environ).account.api_key_file == "own"


@pytest.mark.parametrize(
    "url",
    ["ws://127.0.0.1:9000", "ws://127.8.9.1", "ws://[::1]:80/x", "ws://localhost:1/ws-api/v3", "wss://example.com/x"],
)
def test_urls_that_may_be_used(url: str) -> None:
    check_url(url, ("wss", "ws"))


@pytest.mark.parametrize(
    "url",
    [
        "ws://example.com",
        "ws://127.0.0.1.example.com",
        "ws://localhost.example.com",
        "ws://10.0.0.1",
        "ws://0.0.0.0",
        "ws://[::]",
        "http://127.0.0.1",
        "example.com",
        "wss://",
        "wss://:443",
        "wss://host:port",
        "wss://host:0",
        "wss://host:99999",
        "wss://user:word@host",
        "wss://host?x=1",
        "wss://ho st",
        "wss://[::1",
        "",
    ],
)
def test_urls_that_may_not_be_used(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_url(url, ("wss", "ws"))


def test_this_host_is_told_from_others() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.255.255.254", "::1", "localhost", "LOCALHOST"))
    assert not any(is_loopback(host) for host in ("128.0.0.1", "::", "localhost.", "example.com", "2130706433"))


# --- config explain --------------------------------------------------------------------------------------------------


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["config", "explain", "--json", *arguments]) == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    return said


EVERY = [f"{section}.{field.name}" for section, cls in config.SECTIONS.items() for field in attrs.fields(cls)]


@pytest.mark.parametrize("key", EVERY)
def test_every_setting_is_explained_by_an_example_that_is_accepted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, key: str
) -> None:
    said = explained(capsys, key)
    path = tmp_path / "example.toml"
    path.write_text(said["example"])
    assert [(row.value, row.origin) for row in config.rows(config.read(path)) if row.key == key] == [
        (said["value"], str(path))
    ]
    assert config.read(None, {said["environment"]: said["value"]}).origins[key] == said["environment"]
    assert said["origin"] == "default"
    assert said["value"] == said["default"]
    assert main(["config", "explain", key]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{key}\n  {said['meaning']}\n")


def test_a_settings_range_unit_and_origin_are_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TETRIO__STRATEGY__HARD_STOP", "0.01")
    said = explained(capsys, "hard_stop")
    assert said["range"] == "above 0, at most 1"
    assert said["unit"] == "a fraction, not per cent: 0.005 is 0.5 %"
    assert (said["value"], said["default"], said["origin"]) == ("0.01", "0.005", "TETRIO__STRATEGY__HARD_STOP")
    assert explained(capsys, "strategy.hard_stop", "--set", "strategy.hard_stop=0.02")["origin"] == "--set"
    assert explained(capsys, "exit.chase")["choices"] == ["join", "improve", "touch", "peg"]
    assert explained(capsys, "requote_ms")["unit"] == "milliseconds"
    assert explained(capsys, "strategy.fee")["type"] == 'a number, or "auto"'
    assert explained(capsys, "TETRIO__SYMBOL__RESERVE_BASE")["unit"] == "base units"
    assert "unit" not in explained(capsys, "venue.fund")


def test_a_section_lists_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(explained(capsys, "risk")["keys"]) == {key for key in EVERY if key.startswith("risk.")}
    assert main(["config", "explain", "[risk]"]) == 0
    assert capsys.readouterr().out.startswith("[risk]: guards around everything else.")


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("strategy.hard_stpo", "did you mean strategy.hard_stop?"),
        ("hard_stpo", "did you mean strategy.hard_stop?"),
        ("stategy", "did you mean strategy?"),
        ("exit.hard_stop", "say which: strategy.hard_stop"),
        ("name", "say which: venue.name or symbol.name"),
        ("zzzzzz", "sections are venue, symbol"),
    ],
)
def test_a_mistyped_key_names_the_nearest(capsys: pytest.CaptureFixture[str], key: str, complaint: str) -> None:
    assert main(["config", "explain", key]) == 4
    assert complaint in capsys.readouterr().err


def test_a_blank_credential_is_none_and_a_reloads_copy_comes_first(tmp_path: Path) -> None:
    loaded, runtime = tmp_path / "loaded", tmp_path / "runtime"
    (runtime / "credentials").mkdir(parents=True)
    loaded.mkdir()
    for directory, name, content in (
        (loaded, "api-key", "x"), (loaded, "ed25519.pem", "x"), (loaded, "telegram", "\n"),
        (runtime / "credentials", "api-key", "y"), (runtime / "credentials", "ed25519.pem", "\n"),
    ):  # fmt: skip
        (directory / name).write_text(content)
    environ = {"CREDENTIALS_DIRECTORY": str(loaded), "RUNTIME_DIRECTORY": f"{runtime}:/other"}
    settings = load("venue.name=testnet", "symbol.name=ETHFDUSD", environ=environ)
    assert settings.telegram.token_file == ""
    assert settings.account.api_key_file == str(runtime / "credentials" / "api-key")
    assert settings.account.private_key_file == str(loaded / "ed25519.pem")
