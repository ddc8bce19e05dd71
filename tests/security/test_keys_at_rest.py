"""Where secrets lie, who can read them, and what is sent of them."""

from __future__ import annotations

import ast
import gc
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from tests.scenarios.runs import ROOT, tetrio
from tests.scenarios.sandbox import Fault, Frame, Tampered, cut_market, played
from tests.scenarios.test_secrets import API_KEY, Place, Started
from tests.security.processes import bot
from tetrio import config, keys
from tetrio.app import write_status
from tetrio.cli import main
from tetrio.journal import FileSink
from tetrio.status import Status
from tetrio.wire.sign import Signer

PEM = Signer.generate(bytes(range(7, 39))).private_pem()
PASTED = {
    "account.api_key_file": "Q7vT" * 16,
    "account.private_key_file": PEM,
    "telegram.token_file": "8123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
}
"""What somebody may paste where the path of a file belongs."""

# --- what is sent of them --------------------------------------------------------------------------------------------


class Listening(Fault):
    """Nothing goes wrong; what the bot sends to the exchange is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Frame] = []

    def asked(self, line: Tampered, request: Frame) -> None:
        super().asked(line, request)
        self.requests.append(request)


def test_the_api_key_and_signatures_are_sent_with_the_logon_and_never_again(tmp_path: Path) -> None:
    fault = Listening()
    run = played(fault, cut_market(tmp_path))
    assert run.clean
    methods = {request["method"] for request in fault.requests}
    assert {"session.logon", "order.place"} <= methods
    with_secrets = {
        request["method"] for request in fault.requests if {"apiKey", "signature"} & request.get("params", {}).keys()
    }
    assert with_secrets == {"session.logon"}


def test_a_bot_has_no_way_to_use_a_shared_secret() -> None:
    """HMAC is the exchange's side of the house, for clients of other people's."""
    seen = set()
    for path in (ROOT / "tetrio").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.ImportFrom) else []
            if {"sign_hmac", "verify_hmac", "HmacSecret", "hmac"} & set(names):
                seen.add(path.relative_to(ROOT / "tetrio").as_posix())
    assert {path for path in seen if not path.startswith("sim/")} <= {"wire/sign.py", "host.py"}
    assert seen, "or the names above are wrong"


# --- what lies on disk -----------------------------------------------------------------------------------------------


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def test_what_a_bot_leaves_on_disk_is_its_owners_alone(place: Place, exchange: Callable[..., Started]) -> None:
    """Whatever the umask: journal, status file, socket, lock and latch tell what somebody holds, or obey."""
    _, urls = exchange("--key", f"{API_KEY}={place.path / 'key.pub.pem'}")
    before = set(place.path.rglob("*"))
    options = place.options(**urls)
    (socket,) = [each.partition("=")[2] for each in options if each.startswith("control.socket=")]
    with umask(0), bot(place.path / "said", *options) as running:
        running.wait_for('"kind":"want"')
        said = tetrio("pause", "--set", f"control.socket={socket}")
        assert said.returncode == 0, said.stderr
        assert stat.S_IMODE(Path(socket).stat().st_mode) == 0o600
    made = {
        path.relative_to(place.path).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in set(place.path.rglob("*")) - before
        if path.name != "said"
    }
    assert {name: oct(mode) for name, mode in made.items() if mode & 0o077} == {}
    kinds = sorted(name.partition("-")[0] + Path(name).suffix for name in made)
    assert kinds == ["journal", "state", "state.json", "state.lock", "status"], made


def test_a_file_that_was_there_keeps_the_mode_that_its_owner_gave_it(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.touch()
    path.chmod(0o640)
    FileSink(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_that_somebody_has_put_in_the_way_of_the_status_file_is_not_followed(tmp_path: Path) -> None:
    victim, status = tmp_path / "victim", Status()
    victim.write_text("precious")
    (tmp_path / ".status.new").symlink_to(victim)
    write_status(status, tmp_path / "status")
    assert victim.read_text() == "precious"
    assert "cannot be written" in status.detail
    (tmp_path / ".status.new").unlink()
    (tmp_path / ".status.new").touch(0o666)
    write_status(status, tmp_path / "status")
    assert stat.S_IMODE((tmp_path / "status").stat().st_mode) == 0o600
    assert json.loads((tmp_path / "status").read_text())["phase"] == "connecting"


# --- what stays in memory, and what becomes of memory ----------------------------------------------------------------


def test_what_was_read_keeps_the_key_to_sign_with_and_no_pem(tmp_path: Path) -> None:
    pair = keys.new_pair(tmp_path / "key.pem")
    api_key = tmp_path / "api-key"
    api_key.write_text("K" * 64)
    api_key.chmod(0o600)
    found = keys.read(str(api_key), str(pair.private_path))
    body = "".join(pair.private_path.read_text().splitlines()[1:-1])
    texts = [each for each in _reachable(found) if isinstance(each, str | bytes)]
    assert "K" * 64 in texts, "or this looks in the wrong place"
    assert not [each for each in texts if (body if isinstance(each, str) else body.encode()) in each]  # type: ignore[operator]


def _reachable(record: object) -> list[object]:
    """What a record holds, and what that holds; not the classes."""
    found, todo = dict[int, object](), [record]
    while todo:
        each = todo.pop()
        if id(each) not in found and not isinstance(each, type):
            found[id(each)] = each
            todo += [other for other in gc.get_referents(each) if not callable(other)]
    return list(found.values())


def test_no_command_leaves_a_core(tmp_path: Path) -> None:
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("cores are off here already, for good")
    program = (
        "import os, resource, signal\nfrom tetrio.cli import main\n"
        "most = resource.getrlimit(resource.RLIMIT_CORE)[1]\nresource.setrlimit(resource.RLIMIT_CORE, (most, most))\n"
        f"main(['keys', 'new', '--out', {str(tmp_path / 'key.pem')!r}])\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE)[0], flush=True)\nos.kill(os.getpid(), signal.SIGABRT)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "0"
    assert done.returncode == -signal.SIGABRT
    assert {path.name for path in tmp_path.iterdir()} == {"key.pem", "key.pub.pem"}


# --- what is put where it does not belong ----------------------------------------------------------------------------


@pytest.mark.parametrize("setting", PASTED)
@pytest.mark.parametrize("by", ["option", "variable", "file"])
@pytest.mark.parametrize("command", ["config check", "config show", "keys check", "doctor", "notify test", "serve"])
def test_a_secret_where_its_path_belongs_is_refused_and_not_shown(
    command: str,
    by: str,
    setting: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if command == "notify test" and not setting.startswith("telegram"):
        setting = "telegram.token_file"  # it reads its own section alone, so as to work when another is broken
    value, arguments = PASTED[setting], command.split()
    section, _, name = setting.partition(".")
    if by == "option":
        arguments += ["--set", f"{setting}={value}"]
    elif by == "variable":
        monkeypatch.setenv(f"TETRIO__{section}__{name}".upper(), value)
    else:
        (tmp_path / "bot.toml").write_text(f"[{section}]\n{name} = {json.dumps(value)}\n")
        arguments += ["--config", str(tmp_path / "bot.toml")]
    for more in ([], ["--debug"], ["--json"]):
        assert main([*arguments, *more]) == 4
        said = "".join(capsys.readouterr())
        assert "a path is wanted" in said
        for part in (value, *value.splitlines()[1:2]):
            assert part not in said


@pytest.mark.parametrize("option", ["--key", "--api-key"])
@pytest.mark.parametrize("value", PASTED.values())
def test_a_secret_instead_of_a_file_to_check_is_refused_and_not_shown(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "check", option, value]) == 2
    said = "".join(capsys.readouterr())
    assert "name the file" in said
    assert value[:40] not in said


def test_what_is_given_to_a_setting_that_is_not_known_is_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["config", "check", "--set", "account.passphrase=correct-horse-battery"]) == 4
    assert main(["config", "check", "--set", "acount.api_key=correct-horse-battery"]) == 4
    monkeypatch.setenv("TETRIO__ACCOUNT__API_KEY", "correct-horse-battery")
    assert main(["config", "check"]) == 4
    said = "".join(capsys.readouterr())
    assert "horse" not in said
    assert "unknown key api_key; did you mean api_key_file?" in said, "and the remedy is not cut out with it"


def test_a_path_that_is_long_or_has_a_key_in_its_name_is_a_path() -> None:
    for path in (
        "/run/credentials/tetrio.service/api-key",
        f"/var/lib/{'a1' * 32}/key.pem",
        "keys/api_key",
        "token",
        "key",
    ):
        for setting in PASTED:
            assert config.read(None, {}, [config.from_option(f"{setting}={path}")])


def test_no_setting_is_a_secret() -> None:
    """What is one is named by its path, so that a configuration can be shown, copied and kept."""
    words = ("key", "token", "secret", "pass")
    named = [
        f"{section}.{field.name}"
        for section, cls in config.SECTIONS.items()
        for field in attrs.fields(cls)
        if any(word in field.name for word in words)
    ]
    assert sorted(named) == sorted(PASTED)
