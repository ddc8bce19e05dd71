"""Randomness: the one door to it. Under `net.virtual` what comes through is drawn from the run's seed."""

from __future__ import annotations

import os
import random


def token_bytes(count: int) -> bytes:
    """`count` bytes from the operating system, fit for keys (from the seed in a virtual run)."""
    return os.urandom(count)


def token(length: int) -> str:
    """`length` characters of a-z and 0-9, as client order ids may carry them."""
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    return "".join(alphabet[byte % len(alphabet)] for byte in token_bytes(length))


def rng(name: str) -> random.Random:
    """A generator of its own for one concern, so that drawing here does not shift what is drawn there."""
    return random.Random(token_bytes(16) + name.encode())  # noqa: S311 - jitter and markets, never keys
