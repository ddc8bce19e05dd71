"""Who may open an SBE stream connection, and such a connection: binary market data, JSON texts for everything else.

Control messages, their replies and `serverShutdown` are what they are on a JSON connection, so `streams.Hub` serves
these lines too. There is no wrapper: a client routes by template and symbol, on `/stream` as on `/ws`. SBE is served on
no other face: on the WebSocket API and on REST it is switched off, which is an answer that Binance has too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tetrio.sim.face.auth import Keys, rejected_key
from tetrio.sim.face.checks import Refused
from tetrio.sim.face.connection import Connection, Turned
from tetrio.sim.face.sbe import BEST_BID_ASK
from tetrio.sim.face.streams import Line
from tetrio.wire.control import STREAM_METHODS, Subscriptions
from tetrio.wire.frames import binary_frame


def turned_away(keys: Keys, headers: Sequence[tuple[bytes, bytes]]) -> Turned | None:
    """The answer to a handshake without a right to it: any Ed25519 key will do, nothing is signed.

    Documented: the header, and that the key must be Ed25519. Seen: the 400 and its text. Assumed: that every key which
    will not do, unknown or HMAC, is refused as it is on REST, with 401 and the JSON of -2015 (-2014 when malformed).
    """
    api_key = next((value.decode("latin-1") for name, value in headers if name.lower() == b"x-mbx-apikey"), "")
    if not api_key:
        return Turned(400, b"No X-MBX-APIKEY header")
    try:
        keys.check_known(api_key)
        if not keys.may_log_on(api_key):
            raise rejected_key()
    except Refused as refused:
        return Turned.error(refused.status, refused.code, refused.msg)
    return None


def sbe_subscriptions(names: Iterable[str]) -> Subscriptions:
    """The streams of an SBE connection, `names` at first: it has no wrapper, so nobody can ask for one."""
    return Subscriptions(names, methods=STREAM_METHODS)


class SbeLine(Line):
    """One client's SBE stream connection.

    A client that reads too slowly is not sent what is no longer true: while a write to it is under way, an update of
    the best prices waits here, and gives way to a newer one ("auto-culling"). Trades and depth are never dropped.
    """

    binary = True

    def __init__(self, push: Callable[[bytes], None], subscriptions: Subscriptions, client: Connection) -> None:
        """`push` sends whole frames through `client`, which tells how it fares with them."""
        super().__init__(push, subscriptions)
        self._client = client
        self._newest: dict[str, bytes] = {}  # best prices that wait, by stream
        client.on_written = self._caught_up

    def gather(self, name: str, payload: bytes) -> None:
        """Keep a message until `flush`, or until the client has caught up."""
        if self._client.writing and name.endswith(BEST_BID_ASK):
            self._newest[name] = payload
        else:
            self.pending.append(payload)

    def flush(self) -> None:
        """Send what was gathered, if anything."""
        if self.pending:
            self.push(b"".join(map(binary_frame, self.pending)))
            self.pending.clear()

    def _caught_up(self) -> None:
        """The write is done."""
        for name, payload in self._newest.items():
            if name in self.subscriptions.names:
                self.pending.append(payload)
        self._newest.clear()
        self.flush()
