"""The drill itself: its patches fit, say where they are from, and the quickest of them are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drill.bugs import BUGS, Bug, Hunk, copy_with, read
from tests.drill.search import search

QUICKEST = ("14-wrong-side-as-limit", "18-floats-on-the-wire")
CITED = {
    "DogsTailFarmer/exchanges-wrapper#42": "F113",
    "JKorf/Binance.Net#165": "F37",
    "JKorf/Binance.Net#935": "F60",
    "askmike/gekko#2405": "F57",
    "binance/binance-connector-js#530": "F10",
    "binance/binance-connector-python#180": "F8",
    "binance/binance-futures-connector-java#51": "F59",
    "binance/binance-spot-api-docs#9": "F47",
    "ccxt/ccxt#15343": "F10",
    "ccxt/ccxt#18078": "F48",
    "ccxt/ccxt#18217": "F37",
    "ccxt/ccxt#19152": "F3",
    "chrisleekr/binance-trading-bot#149": "F53",
    "chrisleekr/binance-trading-bot#618": "F85",
    "chrisleekr/binance-trading-bot#742": "F39",
    "edeng23/binance-trade-bot#296": "F45",
    "edeng23/binance-trade-bot#402": "F91",
    "edeng23/binance-trade-bot#49": "F14",
    "enigmampc/catalyst#317": "F43",
    "freqtrade/freqtrade#113": "F119",
    "freqtrade/freqtrade#2889": "F91",
    "freqtrade/freqtrade#6068": "F68",
    "freqtrade/freqtrade#8151": "F100",
    "freqtrade/freqtrade#907": "F69",
    "hummingbot/hummingbot#1791": "F58",
    "hummingbot/hummingbot#3561": "F69",
    "hummingbot/hummingbot#402": "F53",
    "hummingbot/hummingbot#4554": "F59",
    "hummingbot/hummingbot#493": "F43",
    "hummingbot/hummingbot#5502": "F36",
    "hummingbot/hummingbot#601": "F45",
    "hummingbot/hummingbot#7827": "F79",
    "jaggedsoft/node-binance-api#233": "F19",
    "nautechsystems/nautilus_trader#1184": "F113",
    "nautechsystems/nautilus_trader#1437": "F64",
    "nautechsystems/nautilus_trader#4215": "F44",
    "nautechsystems/nautilus_trader#4991": "F50",
    "oliver-zehentleitner/unicorn-binance-websocket-api#15": "F50",
    "oliver-zehentleitner/unicorn-binance-websocket-api#27": "F14",
    "python-trio/trio-websocket#175": "F22",
    "python-trio/trio-websocket#199": "F16",
    "sammchardy/python-binance#1090": "F4",
    "sammchardy/python-binance#608": "F1",
    "sieblyio/binance#580": "F44",
    "websocket-client/websocket-client#674": "F2",
    "whittlem/pycryptobot#130": "F83",
    "yasinkuyu/binance-trader#182": "F82",
}
"""Report -> the fault of the catalogue under which it is cited (trio-websocket's: in the table beside it)."""
FOUND_SINCE = {"hummingbot/hummingbot#2896": "F67"}
"""Not in the catalogue, but of the same kind."""
ORIGINAL = "trailing-edge"
"""The bot that the catalogue calls TE: what it does was tried, not reported."""
READ = [read(path) for path in BUGS]


def test_there_are_forty_bugs_or_more() -> None:
    assert len(BUGS) >= 40
    assert len({bug.hunks for bug in READ}) == len(BUGS)


@pytest.mark.parametrize("bug", READ, ids=lambda bug: bug.name)
def test_a_patch_fits_into_the_bot_and_leaves_the_referee_alone(bug: Bug, tmp_path: Path) -> None:
    copy_with(bug, tmp_path)
    assert bug.hunks
    for hunk in bug.hunks:
        assert hunk.file.startswith(("tetrio/live/", "tetrio/core/", "tetrio/net/", "tetrio/wire/", "tetrio/telegram/"))
        compile((tmp_path / hunk.file).read_text("utf-8"), hunk.file, "exec")


@pytest.mark.parametrize("bug", READ, ids=lambda bug: bug.name)
def test_a_bug_is_from_a_report_under_the_fault_that_it_names(bug: Bug) -> None:
    assert bug.report == ORIGINAL or (CITED | FOUND_SINCE)[bug.report] in bug.fault.split()
    assert bug.invariants


def test_a_hunk_that_does_not_fit_is_said(tmp_path: Path) -> None:
    hunk = Hunk("tetrio/errors.py", "no such line\n", "another\n")
    bug = Bug(
        name="x", what="", report=ORIGINAL, fault="", invariants=("S1",), options=(), hunks=(hunk,)
    )  # fmt: skip
    with pytest.raises(ValueError, match="fits 0 times"):
        copy_with(bug, tmp_path)


@pytest.mark.parametrize("name", QUICKEST)
def test_the_quickest_are_found_by_the_invariant_that_must_find_them(name: str) -> None:
    bug = next(bug for bug in READ if bug.name == name)
    found = search(bug, 0, 3)
    assert found.invariant in bug.invariants, found.note
