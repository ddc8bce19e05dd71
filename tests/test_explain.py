"""`tetrio explain` against traces of a published bot of the same design, and against bad input."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.paths import SHARED
from tetrio import explain
from tetrio.core.params import StrategyParams
from tetrio.errors import ConfigError

GOLDEN = sorted((SHARED / "golden").glob("*.jsonl.gz"))
KEYS = [
    *("i", "regime", "gate", "gate_regime", "maker_exit", "hard_stop", "anchor_price", "high_price"),
    *("gain", "drawdown", "factor", "callback", "min_gain", "upper", "lower", "mid"),
]
PARAMS = {"kind": "params", "LOT_SIZE": 0.0001, "MIN_QTY": 0.0001, "PRICE_TICK": 0.01, "MIN_NOTIONAL": 5.0}
STEP = {"i": 0, "t": 0, "bid": 100.0, "ask": 100.01, "close": 100.0, "kT": 59_999, "base": 1.0, "quote": 0.0}


def trace_steps(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path) as lines:
        return [record for record in map(json.loads, lines) if "kind" not in record]


def text(*records: dict[str, Any]) -> list[str]:
    return [json.dumps(record) for record in records]


def in_value(price: float, step: dict[str, Any]) -> float:
    value: float = price * step["base"] if step["regime"] == "BASE" else step["quote"] / price
    return value


def test_there_are_golden_traces() -> None:
    assert len(GOLDEN) >= 7


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_golden_trace_has_no_difference(path: Path) -> None:
    expected = trace_steps(path)
    got = list(explain.steps(path, StrategyParams()))
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected, strict=True):
        assert list(ours) == KEYS
        assert ours["i"] == theirs["i"]
        assert ours["regime"] == (theirs["regime"] or "FLAT"), theirs
        for key in ("gate", "gate_regime", "maker_exit"):
            assert ours[key] == theirs[key], (key, theirs)
        if theirs["regime"] == "BASE":
            assert ours["hard_stop"] == theirs["hard_stop"], theirs
        for key in ("upper", "lower", "mid"):
            assert ours[key] == theirs[key], (key, theirs)
        for key in ("anchor", "high"):
            assert math.isclose(in_value(ours[f"{key}_price"], theirs), theirs[key], rel_tol=1e-9), (key, theirs)


def folded(*records: dict[str, Any], base: StrategyParams | None = None, **settings: Any) -> list[dict[str, Any]]:
    return list(explain.run(text(*records), base or StrategyParams(), settings))


def walk(bids: list[float], **given: Any) -> list[dict[str, Any]]:
    return [{**STEP, "i": at, "bid": bid, "ask": bid + 0.01, "close": bid, **given} for at, bid in enumerate(bids)]


def test_a_params_record_without_decay_means_hyperbolic() -> None:
    rise = walk([100.0, 100.5])
    assert folded(PARAMS, *rise)[-1]["factor"] == pytest.approx(0.25)
    exponential = 0.1 + 0.4 * math.exp(-1)
    assert folded({**PARAMS, "decay": "exponential"}, *rise)[-1]["factor"] == pytest.approx(exponential)


def test_settings_are_layered_config_then_params_record_then_set() -> None:
    config = StrategyParams(min_gain_base=0.04, buffer=0.0, donchian_gain=0.0)
    assert folded(PARAMS, STEP, base=config)[0]["min_gain"] == 0.04
    params = {**PARAMS, "MIN_GAIN_TRIGGER_FRAC_BASE": 0.03}
    assert folded(params, STEP, base=config)[0]["min_gain"] == 0.03
    settings: dict[str, Any] = {"strategy.min_gain_base": "0.02"}
    assert folded(params, STEP, base=config, **settings)[0]["min_gain"] == 0.02


def test_set_understands_the_texts_of_the_configuration() -> None:
    texts: dict[str, Any] = {
        "gain_scale_base": "1.5atr", "fee": "auto", "donchian_window": "3", "decay": "exponential", "hard_stop": "0.5",
    }  # fmt: skip
    assert len(folded(PARAMS, *walk([100.0, 60.0]), **texts)) == 2


def test_an_exit_is_armed_in_its_step_after_a_change_of_regime_has_disarmed() -> None:
    bought = {**STEP, "i": 1, "manual": True}
    sold = {**STEP, "i": 2, "base": 0.0, "quote": 100.0, "manual": True}
    got = folded(PARAMS, STEP, bought, sold, {**sold, "i": 3, "manual": False})
    assert [step["maker_exit"] for step in got] == [False, True, True, True]
    assert [step["regime"] for step in got] == ["BASE", "BASE", "QUOTE", "QUOTE"]


def test_flat_has_no_prices_and_arms_nothing() -> None:
    flat = {**STEP, "i": 1, "base": 0.0, "quote": 4.0, "manual": True}
    got = folded(PARAMS, {**STEP, "manual": True}, flat, {**STEP, "i": 2})
    assert [step["regime"] for step in got] == ["BASE", "FLAT", "BASE"]
    assert [step["maker_exit"] for step in got] == [True, False, False]
    assert all(
        got[1][key] is None for key in ("anchor_price", "high_price", "gain", "drawdown", "callback", "min_gain")
    )


def test_a_kline_begins_when_its_close_time_exceeds_the_last_one() -> None:
    closes = [100.0, 101.0, 102.0, 103.0]
    records = [{**STEP, "i": at, "close": close, "kT": 59_999 + 60_000 * at} for at, close in enumerate(closes)]
    late = {**STEP, "i": 4, "close": 200.0, "kT": 59_999}  # an old close time replaces the forming close
    got = folded(PARAMS, *records, late, donchian_shift=0)
    assert [step["upper"] for step in got] == [100.0, 101.0, 102.0, 103.0, 200.0]
    assert folded(PARAMS, *records, donchian_shift=2)[-1]["upper"] == 101.0
    assert folded(PARAMS, *records, donchian_shift=2)[1]["upper"] is None


def test_unknown_kinds_are_ignored_and_a_crash_of_the_original_ends_the_input() -> None:
    note, crashed = {"kind": "note", "x": 1}, {"kind": "original-crashed", "at": 1}
    assert len(folded(PARAMS, note, STEP, crashed, {**STEP, "i": 1})) == 1


def test_the_sentence_names_the_price_at_which_the_next_decision_falls() -> None:
    params = {**PARAMS, "FEE": 0.0, "BUFFER": 0.0, "MIN_GAIN_TRIGGER_FRAC_BASE": 0.001}
    records = text(params, *walk([100.0, 102.0]))
    answer = list(explain.run(records, StrategyParams(), {"decay": "hyperbolic"}, why=True))[-1]
    assert "arms a take-profit if the bid falls to 101.80 (callback 0.20 % from the high 102.00)" in answer["why"]
    assert "hard stop at 99.50" in answer["why"]


def test_the_file_may_be_plain_or_gzipped_whatever_its_name(tmp_path: Path) -> None:
    body = "\n".join(text(PARAMS, STEP, {**STEP, "i": 1})).encode()
    plain, zipped = tmp_path / "steps.gz", tmp_path / "steps.jsonl"
    plain.write_bytes(body)
    zipped.write_bytes(gzip.compress(body))
    assert list(explain.steps(plain, StrategyParams())) == list(explain.steps(zipped, StrategyParams()))


def test_a_gzip_file_cut_short_is_a_clear_error(tmp_path: Path) -> None:
    whole = gzip.compress(("\n".join(text(PARAMS, *[STEP] * 500)) + "\n").encode())
    path = tmp_path / "cut.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match=r"cut\.gz: the gzip file is damaged or cut short"):
        list(explain.steps(path, StrategyParams()))


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.jsonl: cannot be read"):
        list(explain.steps(tmp_path / "none.jsonl", StrategyParams()))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "steps: no params record"),
        (text(STEP), "steps, line 1: a step before the params record"),
        ([*text(PARAMS), '{"bid": 1,'], "steps, line 2: not a JSON record"),
        ([*text(PARAMS), "[1, 2]"], "steps, line 2: a record must be a JSON object, this is list"),
        (text(PARAMS, {"i": 0, "bid": 1.0}), "line 2: Object missing required field `ask`; a step needs bid, ask"),
        (text(PARAMS, {**STEP, "bid": "1"}), r"line 2: Expected `float`, got `str` - at `\$.bid`"),
        (text(PARAMS, {**STEP, "bid": 0.0}), "line 2: bid and ask must be above 0"),
        (text(PARAMS, {**STEP, "base": math.nan}), "line 2: .* must be finite"),
        (text(PARAMS, PARAMS), "line 2: a second params record"),
        (text(PARAMS, STEP, {"kind": "history", "klines": []}), "line 3: history must come before the first step"),
        (text(PARAMS, {"kind": "history", "klines": [[1, 2]]}), "line 2: .* a history record needs klines"),
        (text({"kind": "params"}), "line 1: .*`LOT_SIZE`; a params record needs LOT_SIZE"),
        (text({**PARAMS, "LOT_SIZE": 0}), r"line 1 \(params\): LOT_SIZE must be above 0"),
        (text({**PARAMS, "START_FACTOR": 2}), "start_factor: 2 is out of range: at least 0 and at most 1"),
        (text({**PARAMS, "DONCHIAN_WINDOW": 1.5}), "donchian_window: 1.5 is not a whole number"),
        (text({**PARAMS, "decay": "linear"}), "decay: 'linear' is not one of exponential, hyperbolic"),
        (text({**PARAMS, "GAIN_SCALE_FRAC_BASE": 0}), "gain_scale_base: '0' must be above 0"),
        (text({**PARAMS, "BUFFER": "x"}), "buffer: 'x' is not a number"),
    ],
)
def test_bad_input_is_named_with_file_line_and_remedy(lines: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        list(explain.run(lines, StrategyParams()))


def test_an_unknown_setting_names_the_nearest_known_one() -> None:
    with pytest.raises(ConfigError, match="unknown strategy setting 'hard_stp'; did you mean hard_stop"):
        folded(PARAMS, STEP, hard_stp=0.1)
    with pytest.raises(ConfigError, match="unknown strategy setting 'zzz'; known are decay, start_factor"):
        folded(PARAMS, STEP, zzz=0.1)
