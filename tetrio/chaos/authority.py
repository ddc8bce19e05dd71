"""TLS on the simulated network: an authority, certificates of its hosts, and the server's ends of their connections.

Keys are Ed25519 and come from the seed, so that every handshake is as long in each run as in the one before. What
OpenSSL draws by itself changes bytes, never sizes.
"""

from __future__ import annotations

import datetime
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tetrio.net.closing import hang_up

HANDSHAKE_S = 20.0
_BEGIN = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
_END = datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC)
_PAST = datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC)


@attrs.frozen
class Authority:
    """Who vouches for the hosts of one simulated network."""

    name: str
    key: Ed25519PrivateKey

    @classmethod
    def of(cls, seed: bytes, name: str = "authority.test") -> Authority:
        """The authority whose key is `seed`, 32 bytes."""
        return cls(name, Ed25519PrivateKey.from_private_bytes(seed))

    def client_context(self) -> ssl.SSLContext:
        """What trusts this authority and no other."""
        context = ssl.create_default_context(cadata=self._own().public_bytes(Encoding.PEM).decode())
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    def server_context(self, seed: bytes, names: Sequence[str], *, expired: bool = False) -> ssl.SSLContext:
        """What a host with these names shows, with a key of its own."""
        key = Ed25519PrivateKey.from_private_bytes(seed)
        shown = (
            self._certificate(names[0], key, _PAST if expired else _END)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(self.key, None)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0
        with tempfile.TemporaryDirectory(prefix="tetrio-chaos-") as place:
            chain = Path(place) / "chain.pem"
            private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            chain.touch(0o600)
            chain.write_bytes(private + shown.public_bytes(Encoding.PEM))
            context.load_cert_chain(chain)
        return context

    def _own(self) -> x509.Certificate:
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        return (
            self._certificate(self.name, self.key, _END)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self.key, None)
        )

    def _certificate(self, name: str, key: Ed25519PrivateKey, until: datetime.datetime) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)]))
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(_BEGIN)
            .not_valid_after(until)
        )


class _Below:
    """A socket under TLS: it has a peer and can be reset, but what is sent past TLS is nonsense."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self.family = sock.family

    def getsockname(self) -> Any:
        return self._sock.getsockname()

    def getpeername(self) -> Any:
        return self._sock.getpeername()

    def setsockopt(self, *args: Any) -> None:
        self._sock.setsockopt(*args)

    def reset(self) -> None:
        self._sock.reset()

    def close(self) -> None:
        self._sock.close()


class Secured(trio.abc.HalfCloseableStream):
    """The server's end of one TLS connection, with the socket below it."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream
        self.socket = _Below(stream.transport_stream.socket)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As the stream below."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """As the stream below."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """As the stream below."""
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        """TLS has no half-closed connections: whoever is served is told by the end of all of it."""
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """As the stream below."""
        await self._stream.aclose()


class Front:
    """One address at which a service is to be had by TLS; its certificate may be changed for a bad one."""

    def __init__(
        self,
        serve: Callable[[trio.abc.Stream], Awaitable[None]],
        context: ssl.SSLContext,
        knocked: Callable[[], None],
    ) -> None:
        """`knocked` is called with each connection, before anything is said on it."""
        self._serve, self.context, self._knocked = serve, context, knocked

    async def run(self, port: int, ip: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled."""
        listeners = await trio.open_tcp_listeners(port, host=ip)
        task_status.started()
        await trio.serve_listeners(self._meet, listeners)

    async def _meet(self, stream: trio.SocketStream) -> None:
        self._knocked()
        secured = trio.SSLStream(stream, self.context, server_side=True, https_compatible=True)
        try:
            with trio.fail_after(HANDSHAKE_S):
                await secured.do_handshake()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            await hang_up(stream)
            return
        await self._serve(Secured(secured))
