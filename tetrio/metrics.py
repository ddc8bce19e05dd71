"""Numbers for Prometheus, and two yes-or-no questions, over HTTP on loopback.

    /metrics   every number of `TABLE`, read from the status when it is asked for
    /healthz   200 while the loop runs and is not held up
    /readyz    200 while the bot is alive in the sense of `tetrio.health`, else 503 and the reasons

The names are a closed list: `TABLE` is it, and ops/prometheus/README.md prints it. Amounts of money become floats here,
for display only. It is a guest beside trading: one request per connection, few connections, little time for each,
nothing kept between two. A page in a browser on this host that resolves its own name to us is not answered.
"""

from __future__ import annotations

import functools
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path

import attrs
import h11
import trio
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tetrio import __version__
from tetrio.errors import ConfigError
from tetrio.faces import MetricsParams
from tetrio.health import Bounds
from tetrio.journal import Journal
from tetrio.net.clock import WallClock, machine_s
from tetrio.net.serving import serve_few
from tetrio.status import PHASES, Status
from tetrio.venue import is_loopback

CONNECTIONS = 8  # at a time; Prometheus needs one
LIFE_S = 5.0  # of a connection
HEAD_BYTES = 8192  # of a request
BIND_AGAIN_S = 30.0  # while the port is taken
CONTENT = "text/plain; version=0.0.4; charset=utf-8"
HEADERS = (
    ("connection", "close"),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-origin"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
)
REASONS = ("take-profit", "hard stop", "manual")
QUANTILES = ("0.5", "0.99")
REGIMES = ("BASE", "QUOTE", "FLAT")

# --- the closed list -------------------------------------------------------------------------------------------------


@attrs.frozen
class Look:
    """What a number is read from."""

    status: Status
    journal: Journal
    now: float
    """trio's clock."""
    rate: float
    """s of trio's clock in one of the machine's."""

    def age(self, at: float | None) -> float | None:
        """s of the machine since `at`."""
        return None if at is None else max(0.0, self.now - at) / self.rate


Samples = float | None | Mapping[str | tuple[str, ...], float]
"""One number; None: not known now; or a number for each value of the labels."""


@attrs.frozen
class Row:
    """One metric."""

    name: str
    kind: str
    """gauge or counter."""
    unit: str
    help: str
    read: Callable[[Look], Samples]
    labels: tuple[str, ...] = ()


def _states(values: Iterable[str], present: str) -> dict[str | tuple[str, ...], float]:
    """1 for the one that holds, 0 for the others."""
    return {value: float(value == present) for value in values}


def _number(text: str | Decimal) -> float | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return float(number) if number.is_finite() else None


def _holdings(look: Look) -> Samples:
    return {asset: float(amount) for asset, amount in look.status.holding.items()}


def _value(look: Look) -> Samples:
    status, bid = look.status, _number(look.status.bid)
    if bid is None or not status.holding:
        return None
    base, quote = (float(status.holding.get(asset, 0)) for asset in (status.base_asset, status.quote_asset))
    return {status.quote_asset: quote + base * bid}


def _info(look: Look) -> Samples:
    return {(look.status.venue, look.status.symbol): 1.0}


def _exits(look: Look) -> Samples:
    return {reason: float(look.status.exits.get(reason, 0)) for reason in REASONS}


def _commissions(look: Look) -> Samples:
    return {asset: float(paid) for asset, paid in look.status.trading.fees.items()}


def _links(look: Look) -> Samples:
    return {name: float(state == "up") for name, state in look.status.links.items()}


def _lost(look: Look) -> Samples:
    return {sink.name: float(sink.lost) for sink in look.journal.sinks}


def _latency(look: Look) -> Samples:
    figures = look.status.latency.figures()
    half, most = QUANTILES
    quantiles = {(stage, half): each.p50_ms for stage, each in figures.items()}
    quantiles |= {(stage, most): each.p99_ms for stage, each in figures.items()}
    return {labels: ms / 1000 for labels, ms in quantiles.items()}


def _timed(look: Look) -> Samples:
    return {stage: float(each.count) for stage, each in look.status.latency.figures().items()}


def _clock_offset(look: Look) -> Samples:
    offset_ms = look.status.latency.offset_ms
    return None if offset_ms is None else offset_ms / 1000


def _clock_error(look: Look) -> Samples:
    latency = look.status.latency
    return None if latency.offset_ms is None else latency.error_ms / 1000


def _resident() -> float:
    return float(Path("/proc/self/statm").read_text("ascii").split()[1]) * resource.getpagesize()


@functools.cache  # once: the date may be set later, and a change would look like a restart
def _began() -> float:
    """prometheus_client's own collector asks /proc/stat, which a hardened unit (ProcSubset=pid) does not show."""
    ticks = int(Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()[19])
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return WallClock().now_ns() / 1e9 - age_s


_GAUGE, _COUNTER = "gauge", "counter"

TABLE: tuple[Row, ...] = (
    Row("tetrio_build_info", _GAUGE, "1", "always 1; the version of tetrio",
        lambda look: {__version__: 1.0}, ("version",)),
    Row("tetrio_instance_info", _GAUGE, "1", "always 1; where the bot trades, and what",
        _info, ("venue", "symbol")),
    Row("tetrio_alive", _GAUGE, "0 or 1", "whether it is alive in every sense: what /readyz says",
        lambda look: look.status.alive),
    Row("tetrio_ready", _GAUGE, "0 or 1", "whether it is synchronised with the exchange",
        lambda look: look.status.phase == "ready"),
    Row("tetrio_phase", _GAUGE, "0 or 1", "1 for the phase that it is in",
        lambda look: _states(PHASES, look.status.phase), ("phase",)),
    Row("tetrio_paused", _GAUGE, "0 or 1", "whether the operator has paused it: nothing new is armed",
        lambda look: look.status.paused),
    Row("tetrio_halted", _GAUGE, "0 or 1", "whether the operator has halted it: nothing is sent but cancels",
        lambda look: look.status.halted),
    Row("tetrio_flattening", _GAUGE, "0 or 1", "whether the exit takes, by the operator's word",
        lambda look: look.status.flattening),
    Row("tetrio_epochs_total", _COUNTER, "epochs", "times it has connected and rebuilt its state, the first included",
        lambda look: look.status.epoch),
    Row("tetrio_link_up", _GAUGE, "0 or 1", "whether a connection to the exchange is up",
        _links, ("link",)),
    Row("tetrio_beat_age_seconds", _GAUGE, "s", "since the market's steady stream last advanced",
        lambda look: look.age(look.status.vitals.beat_at)),
    Row("tetrio_session_age_seconds", _GAUGE, "s", "since the logged-on session last showed life",
        lambda look: look.age(look.status.vitals.session_at)),
    Row("tetrio_loop_lag_seconds", _GAUGE, "s", "worst lateness of the event loop in the last 10 s",
        lambda look: look.status.vitals.lag_s),
    Row("tetrio_latency_seconds", _GAUGE, "s",
        "latency of a stage since the start, at most 1.6 % off: "
        "feed, decide, send, order (tick to order), ack, rest, whole; see README.md",
        _latency, ("stage", "quantile")),
    Row("tetrio_latency_samples_total", _COUNTER, "samples", "how often a stage was timed",
        _timed, ("stage",)),
    Row("tetrio_clock_offset_seconds", _GAUGE, "s", "the exchange's clock less ours, as last measured",
        _clock_offset),
    Row("tetrio_clock_error_seconds", _GAUGE, "s", "how far off that may be: half the round trip",
        _clock_error),
    Row("tetrio_market_frames_total", _COUNTER, "frames", "market frames received",
        lambda look: look.status.frames),
    Row("tetrio_quotes_folded_total", _COUNTER, "quotes", "best bids and asks that the strategy has taken",
        lambda look: look.status.quotes_folded),
    Row("tetrio_orders_sent_total", _COUNTER, "orders", "orders sent",
        lambda look: look.status.orders_sent),
    Row("tetrio_orders_refused_total", _COUNTER, "orders",
        "orders refused; post-only rejections, which are normal in a fast market, included",
        lambda look: look.status.refused),
    Row("tetrio_orders_today", _GAUGE, "orders", "orders sent today, as [risk] max_orders_per_day counts them",
        lambda look: look.status.orders_today),
    Row("tetrio_order_resting", _GAUGE, "0 or 1", "whether an exit of ours rests on the exchange",
        lambda look: look.status.order is not None),
    Row("tetrio_fills_total", _COUNTER, "trades", "own trades",
        lambda look: look.status.trading.fills),
    Row("tetrio_commission_total", _COUNTER, "units of the asset", "commission paid",
        _commissions, ("asset",)),
    Row("tetrio_exits_total", _COUNTER, "exits", "finished exits by reason",
        _exits, ("reason",)),
    Row("tetrio_holdings", _GAUGE, "units of the asset", "what is traded, net of the reserve",
        _holdings, ("asset",)),
    Row("tetrio_value_quote", _GAUGE, "quote units", "worth of what is traded, at the bid",
        _value, ("asset",)),
    Row("tetrio_bid", _GAUGE, "quote units", "best bid",
        lambda look: _number(look.status.bid)),
    Row("tetrio_ask", _GAUGE, "quote units", "best ask",
        lambda look: _number(look.status.ask)),
    Row("tetrio_regime", _GAUGE, "0 or 1", "1 for what is held: BASE, QUOTE, or FLAT for neither",
        lambda look: _states(REGIMES, look.status.regime), ("regime",)),
    Row("tetrio_gain_ratio", _GAUGE, "fraction", "gain of the best price since the anchor",
        lambda look: look.status.gain),
    Row("tetrio_min_gain_ratio", _GAUGE, "fraction", "gain from which an exit may be armed",
        lambda look: look.status.min_gain),
    Row("tetrio_drawdown_ratio", _GAUGE, "fraction", "what has been given back since the best price",
        lambda look: look.status.drawdown),
    Row("tetrio_callback_ratio", _GAUGE, "fraction", "drawdown at which an exit is armed",
        lambda look: look.status.callback),
    Row("tetrio_loss_ratio", _GAUGE, "fraction", "loss against the anchor: what the hard stop looks at",
        lambda look: look.status.loss),
    Row("tetrio_gate_closed", _GAUGE, "0 or 1", "whether the gate is closed after a hard stop",
        lambda look: look.status.gate_closed),
    Row("tetrio_armed", _GAUGE, "0 or 1", "1 for the reason for which an exit is armed",
        lambda look: _states(REASONS, look.status.armed), ("reason",)),
    Row("tetrio_lost_lines_total", _COUNTER, "lines", "journal and log lines that a sink did not take",
        _lost, ("sink",)),
    Row("tetrio_telegram_sent_total", _COUNTER, "messages", "messages that Telegram took",
        lambda look: look.status.messages_sent),
    Row("tetrio_telegram_dropped_total", _COUNTER, "messages", "messages that were given up",
        lambda look: look.status.messages_dropped),
    Row("process_resident_memory_bytes", _GAUGE, "bytes", "memory of the process that is in RAM",
        lambda look: _resident()),
    Row("process_cpu_seconds_total", _COUNTER, "s", "CPU time of the process, user and system",
        lambda look: time.process_time()),
    Row("process_open_fds", _GAUGE, "files", "open file descriptors",
        lambda look: len(os.listdir("/proc/self/fd"))),  # noqa: PTH208 - names are enough
    Row("process_max_fds", _GAUGE, "files", "file descriptors that may be open",
        lambda look: resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
    Row("process_start_time_seconds", _GAUGE, "s since 1970", "when the process began",
        lambda look: _began()),
)  # fmt: skip
"""Every name that /metrics may show, and no other."""


def document() -> str:
    """`TABLE` in Markdown, for ops/prometheus/README.md."""
    lines = ["| name | type | labels | unit | meaning |", "|---|---|---|---|---|"]
    for row in TABLE:
        labels = ", ".join(row.labels) or "–"
        lines.append(f"| `{row.name}` | {row.kind} | {labels} | {row.unit} | {row.help} |")
    return "\n".join(lines) + "\n"


class _Collector(Collector):
    """Reads the status at the moment it is asked."""

    def __init__(self, status: Status, journal: Journal) -> None:
        self._status, self._journal = status, journal

    def collect(self) -> Iterator[Metric]:
        """One family for each row; one without samples where nothing is known."""
        look = Look(self._status, self._journal, trio.current_time(), machine_s(1.0))
        for row in TABLE:
            make = CounterMetricFamily if row.kind == _COUNTER else GaugeMetricFamily
            family = make(row.name, row.help, labels=row.labels)
            samples = row.read(look)
            if isinstance(samples, Mapping):
                for labels, value in samples.items():
                    family.add_metric([labels] if isinstance(labels, str) else list(labels), value)
            elif samples is not None:
                family.add_metric([], float(samples))
            yield family


def exposition(status: Status, journal: Journal) -> bytes:
    """What /metrics answers. Call it under trio."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(status, journal))
    return generate_latest(registry)


# --- the listener ----------------------------------------------------------------------------------------------------


def parse_listen(text: str) -> tuple[str, int]:
    """`metrics.listen` as host and port; ConfigError unless it is on this host."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ConfigError(f'metrics.listen = {text}: write HOST:PORT, such as "127.0.0.1:9464"')
    if not is_loopback(host):
        raise ConfigError(
            f"metrics.listen = {text}: loopback only (127.0.0.1, ::1, localhost); from another machine, go through an "
            f"SSH tunnel: ssh -L {port}:127.0.0.1:{port} HOST"
        )
    return "127.0.0.1" if host.lower() == "localhost" else host, int(port)


async def serve_metrics(
    params: MetricsParams,
    status: Status,
    journal: Journal,
    *,
    task_status: trio.TaskStatus[tuple[str, int] | None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; started with the address, or with None while the port is taken, and tried again.

    ConfigError, before anything else, unless `params.listen` is what `parse_listen` takes.
    """
    host, port = parse_listen(params.listen)
    told = False
    while True:
        try:
            (listener,) = await trio.open_tcp_listeners(port, host=host)
            break
        except OSError as error:
            if not told:
                why = f"{params.listen}: {error.strerror or error}; free it, or set [metrics] listen to another"
                journal.write("face", name="metrics", state="lost", why=why)
                task_status.started(None)
            told = True
            await trio.sleep(machine_s(BIND_AGAIN_S))
    address: tuple[str, int] = listener.socket.getsockname()[:2]
    journal.write("face", name="metrics", state="up", at=f"{address[0]}:{address[1]}")
    if not told:
        task_status.started(address)
    server = _Server(status, journal, address)
    await serve_few(listener, server.attend, most=CONNECTIONS)


@attrs.frozen
class _Answer:
    code: int
    body: bytes
    content: str = "text/plain; charset=utf-8"
    more: tuple[tuple[str, str], ...] = ()


class _Server:
    """Answers one request per connection."""

    def __init__(self, status: Status, journal: Journal, address: tuple[str, int]) -> None:
        self._status, self._journal = status, journal
        host, port = address
        names = {"127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host}
        self._hosts = {f"{name}:{port}".encode() for name in names}

    async def attend(self, stream: trio.SocketStream) -> None:
        """Read a request, answer it, close: all within `LIFE_S`."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        with trio.move_on_after(machine_s(LIFE_S)):
            try:
                request = await _read_request(connection, stream)
                if request is None:
                    return
                answer, body = self._answer(request), request.method != b"HEAD"
            except h11.RemoteProtocolError as error:
                answer, body = _Answer(error.error_status_hint, b"this is no request\n"), True
            if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await stream.send_all(_encode(connection, answer, body=body))
                await stream.send_eof()
                await _drain(stream)

    def _answer(self, request: h11.Request) -> _Answer:
        hosts = [value.lower() for name, value in request.headers if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return _Answer(421, b"this host name is not served\n")
        if request.method not in (b"GET", b"HEAD"):
            return _Answer(405, b"GET or HEAD\n", more=(("allow", "GET, HEAD"),))
        match request.target.partition(b"?")[0]:
            case b"/metrics":
                return _Answer(200, exposition(self._status, self._journal), CONTENT)
            case b"/healthz":
                return self._healthz()
            case b"/readyz":
                return self._readyz()
        return _Answer(404, b"not found\n")

    def _healthz(self) -> _Answer:
        lag_s = self._status.vitals.lag_s
        if lag_s > Bounds().lag_s:
            return _Answer(503, f"the loop was held up for {lag_s:.1f} s\n".encode())
        return _Answer(200, b"ok\n")

    def _readyz(self) -> _Answer:
        if self._status.alive:
            return _Answer(200, b"ok\n")
        return _Answer(503, ("\n".join(self._status.ailing or ("not judged yet",)) + "\n").encode())


async def _read_request(connection: h11.Connection, stream: trio.SocketStream) -> h11.Request | None:
    """The request, its body left unread; None when the peer has gone before its end."""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some(HEAD_BYTES))
        elif isinstance(event, h11.Request):
            return event
        else:
            return None


async def _drain(stream: trio.SocketStream) -> None:
    """Take what still comes, within bounds: closing before it is read would take our answer back."""
    left = 8 * HEAD_BYTES
    while left > 0 and (some := await stream.receive_some(HEAD_BYTES)):
        left -= len(some)


def _encode(connection: h11.Connection, answer: _Answer, *, body: bool) -> bytes:
    headers = [
        ("content-type", answer.content),
        ("content-length", str(len(answer.body))),
        *HEADERS,
        *answer.more,
    ]
    parts = [connection.send(h11.Response(status_code=answer.code, headers=headers))]
    if body:
        parts.append(connection.send(h11.Data(data=answer.body)))
    parts.append(connection.send(h11.EndOfMessage()))
    return b"".join(part for part in parts if part is not None)
