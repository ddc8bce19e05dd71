"""Each line of the units that keeps what was taken over from the rest of the machine."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.scenarios.runs import ROOT
from tetrio.config import CREDENTIALS

UNITS = ("tetrio.service", "tetrio-alert@.service")
HARDENING = (
    "LimitCORE=0", "DynamicUser=yes", "UMask=0077", "NoNewPrivileges=yes", "PrivateTmp=yes", "PrivateDevices=yes",
    "PrivateUsers=yes", "PrivateMounts=yes", "ProtectSystem=strict", "ProtectHome=yes", "ProtectProc=invisible",
    "ProcSubset=pid", "ProtectClock=yes", "ProtectHostname=yes", "ProtectKernelLogs=yes", "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes", "ProtectControlGroups=yes", "RestrictNamespaces=yes", "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes", "LockPersonality=yes", "MemoryDenyWriteExecute=yes", "RemoveIPC=yes",
    "CapabilityBoundingSet=", "AmbientCapabilities=", "SystemCallArchitectures=native", "SystemCallErrorNumber=EPERM",
    "DevicePolicy=closed", "KeyringMode=private", "TasksMax=32",
)  # fmt: skip
SERVICE = (
    "Type=notify", "NotifyAccess=main", "WatchdogSec=30", "WatchdogSignal=SIGABRT", "TimeoutStopSec=20",
    "TimeoutAbortSec=5", "KillMode=mixed", "Restart=on-failure", "RestartSec=5", "OOMPolicy=stop", "MemoryHigh=200M",
    "MemoryMax=300M", "MemorySwapMax=0", "StateDirectory=tetrio", "StartLimitBurst=8",
    "OnFailure=tetrio-alert@%n.service", "Wants=network-online.target",
)  # fmt: skip
WITH_SPACES = (
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources @obsolete @debug @mount @cpu-emulation @reboot @swap @raw-io @module",
)


def directives(name: str) -> list[str]:
    """The unit's lines, continuation lines joined, without comments and section names."""
    text = (ROOT / "ops" / name).read_text("utf-8").replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.strip() and line[0] not in "#;["]


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("line", [*HARDENING, *WITH_SPACES])
def test_a_unit_gives_up_what_it_does_not_need(name: str, line: str) -> None:
    key = line.partition("=")[0]
    given = [each for each in directives(name) if each.startswith(f"{key}=")]
    assert line in given
    assert len(given) == sum(each.startswith(f"{key}=") for each in (*HARDENING, *WITH_SPACES)), "a later one would win"


@pytest.mark.parametrize("line", SERVICE)
def test_the_service_is_watched_bounded_and_ended_as_it_should(line: str) -> None:
    assert line in directives("tetrio.service")


@pytest.mark.parametrize("name", UNITS)
def test_no_secret_reaches_a_unit_but_as_a_credential(name: str) -> None:
    lines = directives(name)
    keys = {line.partition("=")[0] for line in lines}
    assert not keys & {"Environment", "EnvironmentFile", "PassEnvironment", "StandardInputText", "StandardInputData"}
    passed = {line.partition("=")[2].partition(":")[0] for line in lines if line.startswith("LoadCredential=")}
    known = {file for _, _, file in CREDENTIALS}
    assert passed == (known if name == UNITS[0] else {"telegram"}), "and the one that only tells gets no key"
    for line in lines:
        if line.startswith("SetCredential="):
            assert re.fullmatch(r"SetCredential=[\w.-]+:\\n", line), "blank, for a file that is absent"


@pytest.mark.parametrize("name", UNITS)
def test_what_is_started_is_isolated_from_the_environment_and_names_nothing_secret(name: str) -> None:
    (started,) = [line.partition("=")[2] for line in directives(name) if line.startswith("ExecStart=")]
    words = shlex.split(started)
    assert words[0].startswith("/"), "no shell, no search along a PATH"
    assert "-I" in words[: words.index("-m")], "neither PYTHON* variables nor the user's site-packages"
    assert not {"uv", "pip", "sh", "bash"} & {word.rpartition("/")[2] for word in words}, "nothing is resolved at start"
    assert all(word.startswith(("/", "-")) or word in ("tetrio", "serve", "notify", "alert", "%i", "faulthandler")
               for word in words), started  # fmt: skip
