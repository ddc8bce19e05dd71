"""A module imports only from its left, and what is pure stays pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tetrio

ROOT = Path(tetrio.__file__).parent
ORDER = (
    ("errors",),
    ("core",),
    ("wire",),
    ("log",),
    ("journal", "histogram"),
    ("latency",),
    ("status",),
    ("net",),
    ("health", "operator"),
    ("live", "sim"),
    ("explain",),
    ("panel", "words"),
    ("keys",),
    ("venue", "faces"),
    ("config",),
    ("systemd", "telegram", "control", "metrics"),
    ("doctor",),
    ("beside",),
    ("app", "host"),
    ("chaos",),
    ("cli",),
    ("__main__",),
)
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}
IMPURE = {"trio", "time", "httpx", "logging", "random", "os", "socket", "asyncio", "threading", "secrets", "uuid"}
PURE = ("core/", "wire/", "sim/engine/")
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


def imports(tree: ast.AST, *, running: bool = False) -> Iterator[str]:
    """Dotted names that are imported; with `running`, not those under `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if running and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        yield from imports(node, running=running)


def room(module: str) -> str:
    """`sim/engine/book.py` → sim, `cli.py` → cli."""
    return module.partition("/")[0].removesuffix(".py")


@pytest.mark.parametrize("module", [each for each in MODULES if each != "__init__.py"])
def test_a_module_imports_only_from_its_left(module: str) -> None:
    own = room(module)
    assert own in RANK, f"{own} has no place in the order of the layers"
    for name in imports(ast.parse((ROOT / module).read_text("utf-8"))):
        if not name.startswith("tetrio.") or name == "tetrio.__version__":
            continue
        other = name.split(".")[1]
        assert other == own or RANK[other] < RANK[own], f"{module} imports {name}, which is not on its left"


@pytest.mark.parametrize("module", [each for each in MODULES if each.startswith(PURE)])
def test_what_is_pure_imports_no_clock_no_network_and_no_chance(module: str) -> None:
    tree = ast.parse((ROOT / module).read_text("utf-8"))
    found = {name.split(".")[0] for name in imports(tree, running=True)} & IMPURE
    assert not found, f"{module} imports {', '.join(sorted(found))}"


def test_the_pure_modules_are_there() -> None:
    assert {"core/kernel.py", "wire/sign.py", "sim/engine/book.py", "sim/engine/engine.py"} <= set(MODULES)


def test_a_forbidden_import_is_seen_wherever_it_stands() -> None:
    source = """
if TYPE_CHECKING:
    from random import Random
def f():
    import os.path
    from tetrio.sim.engine import book
"""
    assert list(imports(ast.parse(source))) == ["random.Random", "os.path", "tetrio.sim.engine.book"]
    assert list(imports(ast.parse(source), running=True)) == ["os.path", "tetrio.sim.engine.book"]
