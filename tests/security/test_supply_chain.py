"""What is installed is what was locked, runs nothing by itself, and fetches nothing while it runs."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from tests.scenarios.runs import ROOT

LOCKS = ("requirements.lock", "requirements-dev.lock")
CLIENTS_LOCK = "requirements-clients.lock"  # other people's clients, in an environment of their own
DIRECT = {
    "anyio", "attrs", "cattrs", "cryptography", "h11", "httpx", "hypercorn", "msgspec", "prometheus-client", "pynacl",
    "python-telegram-bot", "rich", "starlette", "trio", "trio-websocket", "wsproto",
}  # fmt: skip
"""What is needed directly. One more is a decision: somebody else's code beside the keys."""
REQUIREMENT = re.compile(r"(?m)^([a-z0-9][a-z0-9-]*)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n(?:    #.*\n)*")
PTH = {
    "_editable_impl_tetrio.pth": re.compile(rf"{re.escape(str(ROOT))}\n?"),
    # setuptools', which comes with venv before Python 3.12 and with pip-tools
    "distutils-precedence.pth": re.compile(
        r"import os; var = 'SETUPTOOLS_USE_DISTUTILS'; enabled = os\.environ\.get\(var, 'local'\) == 'local'; "
        r"enabled and __import__\('_distutils_hack'\)\.add_shim\(\);\s*"
    ),
}
"""The files that the interpreter reads at each start, and what may stand in them."""


def locked(name: str) -> dict[str, str]:
    """Name to version."""
    return {found[1]: found[2] for found in REQUIREMENT.finditer((ROOT / name).read_text("utf-8"))}


@pytest.mark.parametrize("name", [*LOCKS, CLIENTS_LOCK])
def test_a_lock_is_names_versions_and_hashes_and_nothing_else(name: str) -> None:
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / name).read_text("utf-8"))
    left = REQUIREMENT.sub("", text).strip()
    notes = "# The following packages are considered to be unsafe in a requirements file:"
    assert left in ("", notes), f"no address, no option, no requirement without a hash: {left[:200]}"
    assert "://" not in text
    assert len(locked(name)) > 20


def test_the_tests_run_on_what_the_bot_runs_on() -> None:
    bot, tests = (locked(name) for name in LOCKS)
    assert {name: (bot[name], tests[name]) for name in bot.keys() & tests.keys() if bot[name] != tests[name]} == {}


def test_what_is_installed_is_what_was_locked() -> None:
    wanted = locked(LOCKS[1]) | locked(LOCKS[0])
    installed = {_plain(each.metadata["Name"]): each.version for each in metadata.distributions(path=[str(_site())])}
    assert {name: installed.get(name) for name in locked(LOCKS[0])} == locked(LOCKS[0])
    brought = {"pip", "setuptools", "wheel", "tetrio"}  # by venv, by pip-tools, by this checkout
    assert {name for name in installed if name not in wanted} <= brought


def test_what_is_needed_directly_is_a_short_list() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = {re.split(r"[<>=!~ \[]", text)[0] for text in project["dependencies"]}
    assert named == DIRECT
    assert named <= locked(LOCKS[0]).keys()


@pytest.mark.parametrize("path", ["Makefile", "ops/Dockerfile", "ops/systemd-test", "ops/docker-test"])
def test_whatever_installs_does_so_by_hashes_and_from_wheels(path: str) -> None:
    text = (ROOT / path).read_text("utf-8").replace("\\\n", " ")
    installs = [
        line for line in text.splitlines()
        if re.search(r"(\bpip\b|\$\(PIP\)|\bPIP\b).*\binstall\b", line) and "apt-get" not in line
        and not line.lstrip().startswith(("#", "echo"))
    ]  # fmt: skip
    assert installs or path.endswith("-test"), "or the expression above is wrong"
    for line in installs:
        if re.search(r"-r \S*requirements", line):
            assert "--require-hashes" in line, line
            wheels = "--only-binary=:all:" in line or "--no-index --find-links /wheels" in line
            assert wheels, "no build script of somebody else's is run"
        else:
            assert "--no-deps" in line, f"only tetrio itself comes without a hash: {line}"


def test_files_that_the_interpreter_runs_at_each_start_are_those_that_are_known() -> None:
    found = sorted(_site().glob("*.pth"))
    assert [each.name for each in found if each.name not in PTH] == []
    for each in found:
        assert PTH[each.name].fullmatch(each.read_text("utf-8")), f"{each.name} is not what it was"
    for name in ("sitecustomize", "usercustomize"):
        assert not list(_site().glob(f"{name}*")), name


def test_a_line_that_runs_code_is_not_among_what_is_allowed() -> None:
    for name, pattern in PTH.items():
        assert not pattern.fullmatch("import os, sys; exec(open('/tmp/x').read())"), name
    assert not PTH["_editable_impl_tetrio.pth"].fullmatch(f"{ROOT}\nimport os\n")


GUARD = """
import importlib, pkgutil, sys

BANNED = ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo",
          "socket.gethostbyname",
          "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "urllib.Request")
def guard(event, arguments):
    if event == "subprocess.Popen" and arguments[:2] == ("/sbin/ldconfig", ["/sbin/ldconfig", "-p"]):
        return  # trio asks where libpthread is
    if event in BANNED:
        print("banned:", event, arguments, flush=True)
        raise SystemExit(3)
sys.addaudithook(guard)
import tetrio
names = [each.name for each in pkgutil.walk_packages(tetrio.__path__, "tetrio.") if not each.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
print(len(names), "modules")
"""


def test_importing_reaches_no_network_and_starts_no_program() -> None:
    done = subprocess.run([sys.executable, "-I", "-c", GUARD], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) > 100
    probe = GUARD.replace("import tetrio\n", "import socket; socket.socket().connect(('127.0.0.1', 9))\n")
    caught = subprocess.run(
        [sys.executable, "-I", "-c", probe], capture_output=True, text=True, check=False, timeout=60
    )
    assert caught.returncode == 3, "or the guard guards nothing"


FETCHES = {"urllib.request", "ftplib", "subprocess", "multiprocessing", "pip", "ensurepip", "venv", "requests", "runpy"}
ALLOWED = {
    ("cli/notify.py", "subprocess"),  # it asks systemctl what has become of a unit
    ("cli/chaos.py", "multiprocessing"),  # seeds on several cores: nothing that trades
}
REVIVES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "jsonpickle", "code", "codeop"}


def test_nothing_is_fetched_or_run_while_it_runs_and_no_text_becomes_code() -> None:
    for path in sorted((ROOT / "tetrio").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{each.name}" for each in node.names)]
            wrong = {name for name in names if name in FETCHES or name.partition(".")[0] in REVIVES}
            wrong -= {name for file, name in ALLOWED if path == ROOT / "tetrio" / file}
            assert not wrong, f"{path} imports {wrong}"
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                banned = ("eval", "exec", "compile", "__import__", "os.system", "os.popen", "importlib.import_module")
                assert called not in banned, f"{path}:{node.lineno} calls {called}"


def _site() -> Path:
    return Path(sysconfig.get_paths()["purelib"])


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
