"""Nothing that is closed on the way out of a failure takes the failure's place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

import tetrio
from tetrio.net.closing import hang_up

ROOT = Path(tetrio.__file__).parent
HARMLESS = {"turn", "_turn", "_reloading", "listener"}
"""What `async with` may leave: a lock's release does not wait, and a listener is given up only when all ends."""


class WhyItEndedError(Exception):
    """The error that must come out."""


async def test_an_error_comes_out_of_a_cancelled_scope_that_closes_a_stream() -> None:
    ours, _ = trio.testing.memory_stream_pair()
    with pytest.raises(WhyItEndedError), trio.CancelScope() as scope:
        try:
            scope.cancel()
            raise WhyItEndedError
        finally:
            await hang_up(ours)


async def test_trio_alone_would_lose_it() -> None:
    out, _ = trio.open_memory_channel[int](1)
    with trio.CancelScope() as scope:
        async with out:
            scope.cancel()
            raise WhyItEndedError
    assert scope.cancelled_caught, "the trap is gone: tetrio.net.closing is not needed any more"


def modules() -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


def closes(tree: ast.Module) -> Iterator[str]:
    """Places that wait while something that exists already is closed."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncWith):
            for item in node.items:
                context = item.context_expr
                name = context.attr if isinstance(context, ast.Attribute) else getattr(context, "id", None)
                if name is not None and name not in HARMLESS:
                    yield f"line {node.lineno}: async with {ast.unparse(context)}"
        elif isinstance(node, ast.Attribute) and node.attr == "aclose_forcefully":
            yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("module", [name for name in modules() if name != "net/closing.py"])
def test_channels_are_closed_by_with_and_streams_by_hang_up(module: str) -> None:
    found = list(closes(ast.parse((ROOT / module).read_text("utf-8"))))
    assert not found, f"{module}: {found}"
