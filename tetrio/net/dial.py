"""From a URL to a connected stream: DNS, TCP, TLS, each bounded, each failure said in words.

What lies above (the WebSocket handshake, HTTP) is the caller's. No redirect is followed, no certificate waved through.
"""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

import attrs
import trio

from tetrio.errors import ConfigError, LinkLost
from tetrio.net.clock import machine_s
from tetrio.net.closing import hang_up
from tetrio.net.tls import TlsStream
from tetrio.net.trust import client_context

CONNECT_S = 5.0  # for DNS, TCP and TLS together; as long again for the upgrade
PORTS = {"ws": 80, "wss": 443, "http": 80, "https": 443}


@attrs.frozen
class Address:
    """A URL, taken apart."""

    host: str
    port: int
    path: str
    """With its query."""
    tls: bool
    default_port: bool

    @classmethod
    def parse(cls, url: str) -> Address:
        """ConfigError for what is no ws, wss, http or https URL."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"{url!r} is not a URL: {error}") from None
        if parts.scheme not in PORTS or not parts.hostname:
            raise ConfigError(f"{url!r} is not a ws://, wss://, http:// or https:// URL")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        usual = PORTS[parts.scheme]
        return cls(parts.hostname, port or usual, path, parts.scheme in {"wss", "https"}, port in {None, usual})

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.default_port else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


async def dial(address: Address, within_s: float, *, in_bulk: bool = False) -> trio.abc.Stream:
    """Connect, with TLS where the URL asks for it; LinkLost names the phase that failed.

    in_bulk   with a TLS that is read in bulk, by one task
    """
    kind, phase = "dns", "DNS look-up"
    try:
        with trio.fail_after(machine_s(within_s)):
            # asked for by itself, so that a failure has its name; trio asks again, and tries what addresses there are
            await trio.socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
            kind, phase = "tcp", "TCP connection"
            stream: trio.abc.Stream = await trio.open_tcp_stream(address.host, address.port)
            if address.tls:
                kind, phase = "tls", "TLS handshake"
                stream = await _secure(stream, address.host, in_bulk=in_bulk)
    except trio.TooSlowError:
        # a handshake that hangs is a peer that is away, not a certificate that is wrong
        kind = "tcp" if kind == "tls" else kind
        raise LinkLost(f"{address}: {phase} not finished within {within_s:g} s", kind=kind) from None
    except ssl.SSLError as error:
        raise LinkLost(f"{address}: {phase} refused: {error.reason or error}", kind="tls") from error
    except (OSError, trio.BrokenResourceError) as error:
        kind = "tcp" if kind == "tls" else kind
        raise LinkLost(f"{address}: {phase} failed: {reason(error)}", kind=kind) from error
    return stream


async def _secure(stream: trio.abc.Stream, host: str, *, in_bulk: bool) -> trio.abc.Stream:
    secured: TlsStream | trio.SSLStream[trio.abc.Stream] = (
        TlsStream(stream, client_context(), host)
        if in_bulk
        else trio.SSLStream(stream, client_context(), server_hostname=host, https_compatible=True)
    )
    try:
        await secured.do_handshake()  # now: later, in a reader, a bad certificate would look like a silent peer
    except BaseException as error:
        await hang_up(stream)
        if isinstance(error, trio.BrokenResourceError) and isinstance(error.__cause__, ssl.SSLError):
            raise error.__cause__ from None
        raise
    return secured


def reason(error: BaseException) -> str:
    """The innermost words: trio and httpx hang the system's refusal below their own."""
    inner = error
    while isinstance(inner, BaseExceptionGroup) or inner.__cause__ is not None:
        inner = inner.exceptions[0] if isinstance(inner, BaseExceptionGroup) else inner.__cause__ or inner
    return (inner.strerror if isinstance(inner, OSError) else None) or str(inner) or type(inner).__name__
