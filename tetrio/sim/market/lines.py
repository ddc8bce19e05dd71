"""Lines of a file that may be gzipped, with errors that a person can act on."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path

from tetrio.errors import MarketError

_GZIP = b"\x1f\x8b"
_LONGEST = 64 << 20
"""Bytes of the longest line that is read; a REST snapshot of 5,000 levels has about 300 kB."""


def first_line(path: Path) -> bytes:
    """The first line without its end, b"" for an empty file. MarketError when it cannot be read."""
    return next(lines_of(path), b"")


def lines_of(path: Path) -> Iterator[bytes]:
    """Lines without their ends. MarketError when the file cannot be opened, or its compressed data end or break off."""
    number = 0
    try:
        with path.open("rb") as plain:
            zipped = plain.read(2) == _GZIP
            plain.seek(0)
            source = io.BufferedReader(gzip.GzipFile(fileobj=plain), 1 << 18) if zipped else plain
            while line := source.readline(_LONGEST):
                number += 1
                if len(line) == _LONGEST:
                    raise MarketError(f"{path}, line {number}: longer than {_LONGEST} bytes")
                yield line.rstrip(b"\r\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        why = f"the compressed data are truncated or damaged ({error})"
        raise MarketError(f"{path}, after line {number}: {why}") from None
    except OSError as error:
        raise MarketError(f"{path} cannot be read: {error.strerror or error}") from None
