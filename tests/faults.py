"""The catalogue of faults, F1 to F130: what goes wrong, and which tests show that it is survived.

A test says which faults it shows by `@pytest.mark.fault("F43", "F44")`; `python -m tests.faults` prints the table, and
`test_fault_table` holds it complete. A fault that cannot happen to tetrio is excused here by the line of code that
makes it impossible: at most ten are.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import attrs

TESTS = Path(__file__).parent
ROOT = TESTS.parent
MOST_EXCUSED = 10

TITLES = {
    "F1": "half-open TCP",
    "F2": "silent stall of a socket that is alive",
    "F3": "stall of the user stream alone",
    "F4": "the same stale payload again and again",
    "F5": "the cut after 24 hours",
    "F6": "serverShutdown",
    "F7": "cuts earlier than 24 hours, many of them",
    "F8": "FIN without a Close frame",
    "F9": "RST in the middle of a message",
    "F10": "a clean Close: 1000, 1001, 1008",
    "F11": "a ping of the server that is not answered in time",
    "F12": "a flood of messages from the client",
    "F13": "a certificate that is refused",
    "F14": "DNS fails",
    "F15": "SYN black hole, one bad address",
    "F16": "an upgrade that is never answered",
    "F17": "429 at the handshake",
    "F18": "418 at the handshake, perhaps unseen",
    "F19": "403 of a firewall, 451",
    "F20": "5xx at the handshake",
    "F21": "a redirect, a captive portal",
    "F22": "garbage, a bad accept, compression that nobody asked for",
    "F23": "a send that was cancelled or failed",
    "F24": "a WebSocket library that hangs on exit",
    "F25": "a large subscription",
    "F26": "the limit on connection attempts",
    "F27": "two sessions after a restart",
    "F28": "another address of ours",
    "F29": "a logon that is refused at the start",
    "F30": "a session that lost its authentication",
    "F31": "a revoked key",
    "F32": "a key of the wrong kind",
    "F33": "eventStreamTerminated",
    "F34": "errors of the subscription's state",
    "F35": "listenKeys are gone",
    "F36": "-1021, ahead or behind",
    "F37": "-1003, too much weight",
    "F38": "418 on the WebSocket API",
    "F39": "-1015, too many orders",
    "F40": "-1008, overloaded",
    "F41": "-1034, -1016: too many connections, shutting down",
    "F42": "recvWindow checked just before the engine",
    "F43": "a reply lost after the order was accepted",
    "F44": "-1006, -1007, any 5xx: execution unknown",
    "F45": "-2013 right after placing",
    "F46": "an event before its reply",
    "F47": "a reply long before its event",
    "F48": "a report that comes twice",
    "F49": "reports out of order",
    "F50": "events lost in a gap",
    "F51": "a snapshot older than the events",
    "F52": "a late fill of a closed order",
    "F53": "-2011 because it filled meanwhile",
    "F54": "cancelReplace: cancelled, new one refused",
    "F55": "cancelReplace: not cancelled, new one placed",
    "F56": "cancelReplace: both failed",
    "F57": "a partial fill between decision and replace",
    "F58": "-2010, insufficient balance",
    "F59": "-2010, would immediately match",
    "F60": "-2010, duplicate order",
    "F61": "a namesake",
    "F62": "-1013, a filter",
    "F63": "-1111, precision; artefacts of floats",
    "F64": "an order that the exchange expires",
    "F65": "a REJECTED report",
    "F66": "an order that is accepted and not on the book",
    "F67": "somebody else cancels or places orders",
    "F68": "a crash between sending and remembering",
    "F69": "an orphan at shutdown",
    "F70": "self-trade prevention",
    "F71": "a stop whose price has passed already",
    "F72": "a post-only exit that never fills in a crash",
    "F73": "an IOC that fills in part",
    "F74": "dust below the filters",
    "F75": "commission taken in the base",
    "F76": "a discount asset that runs out",
    "F77": "a deposit, a transfer",
    "F78": "an external lock",
    "F79": "balances later than the fill",
    "F80": "a position that lists some assets only",
    "F81": "a cold start without an event",
    "F82": "coins that the bot did not buy",
    "F83": "two instances",
    "F84": "a restart that forgets anchor and high",
    "F85": "a crossed, locked, zero or one-sided book",
    "F86": "one bad tick",
    "F87": "a gap through the stop",
    "F88": "a gap in the klines",
    "F89": "a kline late, revised, or never closed",
    "F90": "bookTicker has no time",
    "F91": "HALT, BREAK, CANCEL_ONLY",
    "F92": "filters that change",
    "F93": "a symbol that is delisted",
    "F94": "a storm of ticks",
    "F95": "market of one venue, account of another",
    "F96": "the clock steps",
    "F97": "suspend and resume",
    "F98": "the clock drifts",
    "F99": "summer time, time zones",
    "F100": "SIGTERM in the middle of a replace",
    "F101": "SIGKILL anywhere",
    "F102": "process 1 of a container",
    "F103": "a blocked loop",
    "F104": "a watchdog that starves, or lies",
    "F105": "a loop of restarts",
    "F106": "out of memory, a leak",
    "F107": "a full disk",
    "F108": "descriptors or threads run out",
    "F109": "a teardown that swallows the cause",
    "F110": "a task that died unnoticed",
    "F111": "truncated JSON, invalid UTF-8",
    "F112": "NaN, 1e999, duplicate keys, huge numbers, deep nesting",
    "F113": "fields, events, words that nobody knows",
    "F114": "a huge frame",
    "F115": "a reply taken for another's",
    "F116": "a binary or compressed frame",
    "F117": "an empty frame",
    "F118": "no rate-limit fields",
    "F119": "Telegram down or slow",
    "F120": "Telegram's 429",
    "F121": "a text that Telegram cannot parse",
    "F122": "getUpdates 409",
    "F123": "a command of a stranger",
    "F124": "a command from yesterday",
    "F125": "a mistyped setting, a wrong unit",
    "F126": "a key file that others can read",
    "F127": "a key that may withdraw",
    "F128": "constants instead of the account's fees and the symbol's assets",
    "F129": "a person trades the same coins",
    "F130": "the operator's kill switch",
}


@attrs.frozen
class Excuse:
    """Why a fault cannot happen: a line that stands in a file of the product."""

    file: str
    line: str
    why: str


EXCUSED: dict[str, Excuse] = {
    "F25": Excuse(
        "tetrio/net/line.py",
        "/stream?streams={'/'.join(streams)}",
        "a line names its few streams in the URL and never sends a subscription",
    ),
    "F35": Excuse(
        "tetrio/live/account.py", '"userDataStream.subscribe", timed=False', "there is no listenKey anywhere"
    ),
}


def shown() -> dict[str, list[str]]:
    """Fault -> tests (`path::name`), as their marks say."""
    table: dict[str, list[str]] = {number: [] for number in TITLES}
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, numbers in _marked(ast.parse(path.read_text("utf-8"))):
            for number in numbers:
                table.setdefault(number, []).append(f"{path.relative_to(ROOT)}::{name}")
    return table


def _marked(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """Tests (with their class) and the faults on them, their class or their module."""
    whole = [number for node in tree.body if isinstance(node, ast.Assign) for number in _of_module(node)]
    yield from _within(tree.body, "", whole)


def _within(body: list[ast.stmt], above: str, given: list[str]) -> Iterator[tuple[str, list[str]]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _within(node.body, f"{above}{node.name}::", given + _numbers(node.decorator_list))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            numbers = given + _numbers(node.decorator_list)
            if numbers:
                yield above + node.name, numbers


def _of_module(node: ast.Assign) -> list[str]:
    if not any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets):
        return []
    marks = node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else [node.value]
    return _numbers(marks)


def _numbers(marks: list[ast.expr]) -> list[str]:
    return [
        argument.value
        for mark in marks
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault"
        for argument in mark.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


def table() -> str:
    """The whole catalogue, a line a fault, for people."""
    lines = []
    for number, tests in shown().items():
        excuse = EXCUSED.get(number)
        first = f"excused: {excuse.file}: {excuse.line} ({excuse.why})" if excuse else "; ".join(tests[:2]) or "-"
        more = f" (+{len(tests) - 2})" if len(tests) > 2 and not excuse else ""
        lines.append(f"{number:5} {TITLES.get(number, '?'):58} {first}{more}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
