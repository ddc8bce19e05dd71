"""A bug as a patch: its header, and its diff applied to a copy of the package."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import attrs

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUGS = sorted(HERE.glob("*.patch"))


@attrs.frozen
class Bug:
    """One bug."""

    name: str
    what: str
    report: str
    """Where it was reported: owner/repository#number."""
    fault: str
    """Faults of the catalogue, such as `F43 F44`."""
    invariants: tuple[str, ...]
    """Any of these must name it."""
    options: tuple[str, ...]
    """Of `tetrio chaos`, beside the seeds."""
    hunks: tuple[Hunk, ...]


@attrs.frozen
class Hunk:
    """A place in a file, as it is and as the bug has it."""

    file: str
    before: str
    after: str


def read(path: Path) -> Bug:
    """A patch; ValueError names what its header lacks."""
    text = path.read_text("utf-8")
    head, mark, diff = text.partition("\n--- ")
    if not mark:
        raise ValueError(f"{path.name}: no diff")
    header = dict(line.split(": ", 1) for line in head.splitlines() if ": " in line)
    try:
        return Bug(
            name=path.stem,
            what=header["Bug"],
            report=header["Report"],
            fault=header["Fault"],
            invariants=tuple(header["Invariant"].split()),
            options=tuple(shlex.split(header.get("Options", ""))),
            hunks=tuple(_hunks("--- " + diff)),
        )
    except KeyError as missing:
        raise ValueError(f"{path.name}: the header has no line {missing.args[0]!r}") from None


def _hunks(diff: str) -> list[Hunk]:
    """By their lines, not their numbers: what moves within a file does not break a patch."""
    hunks: list[Hunk] = []
    file, before, after = "", list[str](), list[str]()

    def end() -> None:
        if before or after:
            hunks.append(Hunk(file, "".join(before), "".join(after)))
            before.clear()
            after.clear()

    for line in diff.splitlines(keepends=True):
        if line.startswith(("--- ", "+++ ", "@@")):
            end()
            if line.startswith("+++ "):
                file = line[4:].split("\t")[0].strip().removeprefix("b/")
        elif line[:1] in (" ", "-", "+", "\n"):
            if line[:1] != "+":
                before.append(line[1:] or "\n")
            if line[:1] != "-":
                after.append(line[1:] or "\n")
    end()
    return hunks


def copy_with(bug: Bug, directory: Path) -> None:
    """The package with the bug, below `directory`; ValueError when a hunk does not fit exactly once."""
    shutil.copytree(ROOT / "tetrio", directory / "tetrio", ignore=shutil.ignore_patterns("__pycache__"))
    for hunk in bug.hunks:
        path = directory / hunk.file
        text = path.read_text("utf-8")
        if text.count(hunk.before) != 1:
            raise ValueError(f"{bug.name}: a hunk fits {text.count(hunk.before)} times in {hunk.file}:\n{hunk.before}")
        path.write_text(text.replace(hunk.before, hunk.after), "utf-8")
