"""S18: that no secret gets out, by whatever way: each text that leaves the bot is searched for marked secrets.

Searched for are the texts themselves, what they look like in base64, in hexadecimal and percent-encoded, and anything
that looks like a signature: whoever has one may replay what it was made for.
"""

from __future__ import annotations

import base64
import re
import urllib.parse
from collections.abc import Iterable, Iterator

from tetrio.chaos.judge.case import Case

SIGNATURE = re.compile(r"(?:[A-Za-z0-9+/]|%2[BF]){86}(?:==|%3D%3D)|signature\W{1,6}[A-Za-z0-9+/%]{20}", re.IGNORECASE)
KEY_BYTES = 32
"""Of an Ed25519 private key; the last of its PKCS#8 form."""


class Sinks:
    """Searches what it is told."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._marks: tuple[str, ...] = ()
        self._found: set[str] = set()

    def plant(self, token: str, pem: str) -> None:
        """These are secret: a Telegram bot's token, and a private key."""
        self._marks = tuple({*_of_token(token), *_of_key(pem)})

    def told(self, sink: str, texts: Iterable[str]) -> None:
        """Texts that have gone into a sink; where one holds a secret that is a breach, told once a sink."""
        for text in texts:
            secret = any(mark in text for mark in self._marks)
            if (secret or SIGNATURE.search(text)) and sink not in self._found:
                self._found.add(sink)
                self._case.breach("S18", f"{'a secret' if secret else 'a signature'} has gone into the {sink}")


def _of_token(token: str) -> Iterator[str]:
    """The whole, and the part that is secret, each as it may be written."""
    for text in (token, token.partition(":")[2]):
        yield text
        yield urllib.parse.quote(text, safe="")
        yield base64.b64encode(text.encode()).decode().rstrip("=")


def _of_key(pem: str) -> Iterator[str]:
    body = "".join(line for line in pem.splitlines() if not line.startswith("-----"))
    key = base64.b64decode(body)[-KEY_BYTES:]
    yield body
    yield urllib.parse.quote(body, safe="")
    yield key.hex()
    yield repr(key)[2:-1]
    yield base64.b64encode(key).decode().rstrip("=")
