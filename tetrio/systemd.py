"""systemd's side: what a service of Type=notify tells its manager, and the text of the units.

The protocol is a datagram of NAME=VALUE lines to $NOTIFY_SOCKET (sd_notify(3)). `due` is the whole policy, a pure
function of what was told, what `Status` shows and the time; `serve_systemd` runs it about once a second.

    READY=1              when the first sync is complete, not before; until then EXTEND_TIMEOUT_USEC, as long as the
                         loop turns: the bot itself gives up connecting
    WATCHDOG=1           only while `status.alive`
    WATCHDOG_USEC=       see below
    STATUS=              one line for `systemctl status`, when it changed; no secret
    RELOADING=1, READY=1 around a reload (`Notifier.reloading`, `Notifier.reloaded`)
    STOPPING=1           and EXTEND_TIMEOUT_USEC, for STOPPING_MOST_S at the most

A bot that has lost its exchange is not alive, so no WATCHDOG=1 is sent. Yet a new process would meet the same exchange,
and a few restarts in a row would use up StartLimitBurst while the exchange is being maintained. Therefore, when the
phase leaves "ready", the watchdog is given AWAY_S from the last sign of life (WATCHDOG_USEC, which also restarts its
timer); when the phase is "ready" again it gets its own time back. What is wedged while "ready", or with a loop that
does not turn, gets nothing: its pings stop and systemd restarts it. The time away is counted from the last sign of life
and not from the last loss of a link: a bot that goes back and forth without ever being alive is restarted too.

Nothing here waits, raises, or touches trading: a datagram that cannot be sent at once is tried again a second later.
The environment is handed in; what is told to a person, and whether a reload happened, is for others to say.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs
import trio

from tetrio.errors import ConfigError
from tetrio.log import one_line, redact
from tetrio.net.clock import machine_s
from tetrio.status import Status

BEAT_S = 1.0
"""Between two looks at the status; a third of the watchdog's time when that is less."""
AWAY_S = 900.0
"""For how long a bot without an exchange is left to try, from its last sign of life."""
EXTENSION_S = 30.0
"""How much time each EXTEND_TIMEOUT_USEC asks for; far more than a beat, so that a few may be lost."""
STOPPING_MOST_S = 20.0
"""No more is asked for after this long a stop: the goodbye is bounded by 15 s."""
STATUS_MOST = 240
"""Characters of STATUS=; a terminal's two lines."""


class Notifier:
    """The way to the service manager; without a socket, every method does nothing and says so."""

    def __init__(self, address: str = "") -> None:
        """`address` as in $NOTIFY_SOCKET: a path, or "@" and an abstract name; anything else is no socket."""
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.present = address[:1] in ("/", "@") and len(address) > 1
        self.ready = False
        """Whether READY=1 has been told."""
        self.lost = 0
        """Datagrams that could not be sent."""
        self.why_lost = ""
        """What the last one of them met."""

    def send(self, lines: Sequence[str]) -> bool:
        """One datagram; whether it went out. Never waits, never raises."""
        if not self.present or not lines:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.setblocking(False)
                out.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except (OSError, ValueError) as error:  # ValueError: a NUL within a path
            self.lost, self.why_lost = self.lost + 1, str(error)
            return False
        self.ready |= "READY=1" in lines
        return True

    def reloading(self) -> bool:
        """RELOADING=1, with the time that systemd wants beside it; nothing before READY=1: there is a start to end."""
        # the manager compares this with its own CLOCK_MONOTONIC, so it is not trio's clock
        return self.ready and self.send(("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"))

    def reloaded(self) -> bool:
        """READY=1: the reload is through, well or not; nothing before the first READY=1."""
        return self.ready and self.send(("READY=1",))


def watchdog_usec(environ: Mapping[str, str], pid: int) -> int:
    """$WATCHDOG_USEC where $WATCHDOG_PID names `pid` or nobody; 0: no watchdog is set."""
    usec, owner = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not (usec.isascii() and usec.isdigit()) or (owner and owner != str(pid)):
        return 0
    return int(usec)


# --- what to tell ----------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Told:
    """What systemd has been told so far; times in seconds of the machine."""

    ready: bool = False
    stopping_at: float | None = None
    extended: bool = False
    """Whether the watchdog's time is what is left of AWAY_S."""
    alive_at: float = 0.0
    """The last time that WATCHDOG=1 was told, or READY=1."""
    status: str = ""


def due(told: Told, status: Status, now: float, *, stopping: bool, usec: int) -> tuple[list[str], Told]:
    """The lines to send now, and what will have been told when they are sent.

    now       s, any clock that counts the machine's seconds
    stopping  whether a stop has been asked for
    usec      the watchdog's time as systemd set it, 0 for none
    """
    lines: list[str] = []
    if stopping or status.phase == "stopping":
        told = _stop(told, now, lines)
    elif not told.ready and status.phase != "ready":
        lines.append(f"EXTEND_TIMEOUT_USEC={_usec(EXTENSION_S)}")
    else:
        if not told.ready:
            lines.append("READY=1")
            told = attrs.evolve(told, ready=True, alive_at=now)
        if usec:
            told = _watch(told, status, now, usec, lines)
    text = describe(status)
    if text != told.status:
        lines.append(f"STATUS={text}")
    return lines, attrs.evolve(told, status=text)


def _stop(told: Told, now: float, lines: list[str]) -> Told:
    if told.stopping_at is None:
        lines.append("STOPPING=1")
        told = attrs.evolve(told, stopping_at=now)
    assert told.stopping_at is not None, "it was just set"
    left = STOPPING_MOST_S - (now - told.stopping_at)
    if left > 0:
        lines.append(f"EXTEND_TIMEOUT_USEC={_usec(min(left, EXTENSION_S))}")
    return told


def _watch(told: Told, status: Status, now: float, usec: int, lines: list[str]) -> Told:
    left_s = AWAY_S - (now - told.alive_at)
    if status.phase != "ready":
        if not told.extended and left_s > usec / 1e6:
            lines.append(f"WATCHDOG_USEC={_usec(left_s)}")
            told = attrs.evolve(told, extended=True)
        return told
    if told.extended and (status.alive or left_s > 0):  # else the time is up, and the timer must not begin anew
        lines.append(f"WATCHDOG_USEC={usec}")
        told = attrs.evolve(told, extended=False)
    if status.alive:
        lines.append("WATCHDOG=1")
        told = attrs.evolve(told, alive_at=now)
    return told


def describe(status: Status) -> str:
    """One line for a person: regime, price and what rests; or what ails."""
    if status.phase != "ready":
        text = f"{status.phase}: {status.detail}" if status.detail else status.phase
    elif not status.alive and status.ailing:
        text = f"not alive: {'; '.join(status.ailing)}"
    else:
        words = [word for word in ("paused", "halted", "flattening") if getattr(status, word)]
        market = f"{status.symbol} {status.regime or 'FLAT'} at {status.bid or '?'} / {status.ask or '?'}"
        text = ", ".join([*words, market, _resting(status)])
    text = one_line(redact(text))
    return text if len(text) <= STATUS_MOST else f"{text[: STATUS_MOST - 1]}…"


def _resting(status: Status) -> str:
    order = status.order
    if order is None:
        return "nothing rests"
    return f"{order.side} {order.qty} at {order.price} rests, {order.filled} filled"


def _usec(seconds: float) -> int:
    return round(seconds * 1e6)


# --- the task --------------------------------------------------------------------------------------------------------


async def serve_systemd(
    notifier: Notifier,
    status: Status,
    stopping: Callable[[], bool],
    watchdog: int,
    *,
    tell: Callable[[str], None] = lambda text: None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Tell systemd, each beat, what `due` says, until cancelled; returns at once where there is no socket.

    stopping   whether a stop has been asked for
    watchdog   `watchdog_usec` of the environment
    tell       says to a person, once, that the socket cannot be reached; must neither wait nor raise
    """
    task_status.started()
    if not notifier.present:
        return
    told, complained = Told(), False
    try:
        while True:
            told, sent = _beat(notifier, told, status, stopping=stopping(), usec=watchdog)
            if not sent and not complained:
                tell(f"systemd cannot be told anything: {notifier.why_lost}")
                complained = True
            await trio.sleep(machine_s(min(BEAT_S, watchdog / 3e6) if watchdog else BEAT_S))
    finally:
        if told.stopping_at is None:  # the stop was over before the next beat
            _beat(notifier, told, status, stopping=True, usec=0)


def _beat(notifier: Notifier, told: Told, status: Status, *, stopping: bool, usec: int) -> tuple[Told, bool]:
    """What has been told afterwards, and whether all of it went out."""
    lines, after = due(told, status, trio.current_time() / machine_s(1), stopping=stopping, usec=usec)
    if not lines or notifier.send(lines):
        return after, True
    return told, False


# --- the units -------------------------------------------------------------------------------------------------------

SERVICE, ALERT = "tetrio.service", "tetrio-alert@.service"
PYTHON, CONFIG, KEPT = "/opt/tetrio/venv/bin/python", "/etc/tetrio/tetrio.toml", "/etc/tetrio"
"""The defaults: the interpreter, the configuration, and the directory from which the credentials come."""
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - named because the unit has its own
"""What a process of the unit does not see (ProtectHome, PrivateTmp)."""

_HARDENING = """\
LimitCORE=0
DynamicUser=yes
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
PrivateMounts=yes
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
CapabilityBoundingSet=
AmbientCapabilities=
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @obsolete @debug @mount @cpu-emulation @reboot @swap @raw-io @module
SystemCallErrorNumber=EPERM
DevicePolicy=closed
KeyringMode=private
"""


def unit(*, python: str = PYTHON, config: str = CONFIG, kept: str = KEPT) -> str:
    """The text of the service.

    python   absolute path of the interpreter that has tetrio
    config   absolute path of the TOML file; any user may read it, it holds no secret
    kept     absolute path of the directory with api-key, ed25519.pem and telegram, which root alone may read
    """
    return f"""\
# Made by `tetrio systemd install`; change it by `systemctl edit tetrio`.

[Unit]
Description=tetrio, a Binance Spot bot
Wants=network-online.target
After=network-online.target time-sync.target
# What crashes at once is given up after eight tries, and told. What fails slowly (no exchange within 30 s of the
# start, a missed watchdog) never comes to eight in three minutes, and is tried for as long as it takes.
StartLimitIntervalSec=180
StartLimitBurst=8
OnFailure=tetrio-alert@%n.service

[Service]
Type=notify
NotifyAccess=main
ExecStart={_word(python)} -X faulthandler -I -m tetrio serve --config {_word(config)}

# Credentials: files of root's, copied for the service alone. One that is absent is blank, which counts as none.
{_credentials(kept, "api-key", "ed25519.pem", "telegram")}
# A reload does not refresh them, so it copies them into the service's own directory, as the service's user (whatever
# that user may have put there, root does not follow), and then sends the signal. The pause lets RELOADING=1 arrive
# before the script ends, so that the reload lasts until the keys are in use.
ExecReload=+/bin/sh -ec ' \\
    umask 077; to="%t/tetrio/credentials"; owner="$$(stat -L -c %%u %t/tetrio)"; \\
    as="setpriv --reuid=$$owner --regid=$$owner --clear-groups --no-new-privs"; \\
    $$as rm -rf "$$to"; $$as mkdir "$$to"; \\
    for name in api-key ed25519.pem telegram; do \\
        from={_shell(kept)}/"$$name"; \\
        if [ -e "$$from" ]; then $$as tee "$$to/$$name" <"$$from" >/dev/null; fi; \\
    done; \\
    kill -HUP "$$MAINPID"; sleep 1'

# Starting and stopping; the bot asks for more time while it is at work. A missed watchdog leaves a traceback.
TimeoutStartSec=90
TimeoutStopSec=20
TimeoutAbortSec=5
WatchdogSec=30
WatchdogSignal=SIGABRT
KillMode=mixed
Restart=on-failure
RestartSec=5
# usage, configuration, refused as unsafe: another start would end the same way
RestartPreventExitStatus=2 4 6

StateDirectory=tetrio
StateDirectoryMode=0700
RuntimeDirectory=tetrio
RuntimeDirectoryMode=0700

OOMPolicy=stop
MemoryHigh=200M
MemoryMax=300M
MemorySwapMax=0
TasksMax=32
{_HARDENING}
[Install]
WantedBy=multi-user.target
"""


def alert_unit(*, python: str = PYTHON, config: str = CONFIG, kept: str = KEPT) -> str:
    """The text of the unit that tells the operator of a unit that has failed for good: its instance is that unit."""
    return f"""\
# Made by `tetrio systemd install`: OnFailure= of {SERVICE} starts it.

[Unit]
Description=Tell the operator that %i has failed
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
ExecStart={_word(python)} -I -m tetrio notify alert --config {_word(config)} %i
{_credentials(kept, "telegram")}
TimeoutStartSec=60
MemoryMax=200M
TasksMax=32
{_HARDENING}"""


def _credentials(kept: str, *names: str) -> str:
    """LoadCredential= with a blank text to fall back on: without it, a missing file is a failed start."""
    return "\n".join(f"LoadCredential={name}:{_plain(kept)}/{name}\nSetCredential={name}:\\n" for name in names)


def _plain(path: str) -> str:
    return path.replace("%", "%%")


def _word(path: str) -> str:
    """One word of a command line in a unit."""
    text = _plain(path).replace("$", "$$")
    if not any(c in " \t'\"\\;" for c in text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _shell(path: str) -> str:
    """One word of the reload's script, which stands in single quotes itself."""
    return f'"{_plain(path)}"'


# --- putting them where systemd finds them ---------------------------------------------------------------------------


def install(directory: Path, units: Mapping[str, str], *, force: bool = False) -> dict[Path, bool]:
    """Write the units into `directory`; path to whether it was written (False: it was the same already).

    ConfigError when one differs from what is there and not `force` (then none is written), or it cannot be written.
    """
    texts = {directory / name: text for name, text in units.items()}
    try:
        there = {path: path.read_text("utf-8") if path.exists() else None for path in texts}
        differing = [str(path) for path, text in texts.items() if there[path] not in (None, text)]
        if differing and not force:
            raise ConfigError(f"{' and '.join(differing)} would change: look with --print, then overwrite with --force")
        for path, text in texts.items():
            if there[path] != text:
                path.write_text(text, "utf-8")
                path.chmod(0o644)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the units cannot be written to {directory}: {error}") from error
    return {path: there[path] != text for path, text in texts.items()}


def unfit(*paths: str) -> list[str]:
    """Why the unit could not run with these paths, each a phrase; empty when it can."""
    found = []
    for path in paths:
        parents = [root for root in HIDDEN if Path(path).is_relative_to(root)]
        if not Path(path).is_absolute():
            found.append(f"{path} is not an absolute path")
        elif parents:
            found.append(f"{path} is under {parents[0]}, which the hardened service cannot see")
        elif any(not c.isprintable() or c in "'\"`$\\" for c in path):
            found.append(f"{path} has a character that units and shells read in their own way")
    return found
