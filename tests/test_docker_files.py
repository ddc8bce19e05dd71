"""What the container's files promise, read without an engine; `make docker-test` tries it in containers.

The Compose file is read by the lines and indents that it is written in: no YAML library is among what the tests need.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import attrs
import pytest

from tetrio.config import CREDENTIALS, load

ROOT = Path(__file__).resolve().parent.parent
SECRET = re.compile(r"(?i)(token|secret|passw|api_?key|private_?key|credential)")
UID = 10001


@attrs.frozen
class Instruction:
    """One instruction of the Dockerfile, continuation lines joined."""

    word: str
    rest: str

    def array(self) -> list[str]:
        """The exec form after the options; an error when it is the shell's form."""
        found: list[str] = json.loads(self.rest[self.rest.index("[") :])
        return found


def stages() -> list[list[Instruction]]:
    """The Dockerfile, cut at FROM; what stands before the first is the first list."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "ops" / "Dockerfile").read_text("utf-8")).replace("\\\n", " ")
    cut: list[list[Instruction]] = [[]]
    for line in filter(str.strip, text.splitlines()):
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            cut.append([])
        cut[-1].append(Instruction(word, rest))
    return cut


@pytest.fixture(scope="module")
def final() -> dict[str, Instruction]:
    """The last stage; of each instruction the last one counts."""
    return {each.word: each for each in stages()[-1]}


def variables(stage: list[Instruction]) -> dict[str, str]:
    given = " ".join(each.rest for each in stage if each.word in ("ENV", "ARG"))
    return dict(re.findall(r"(\w+)=(\S+)", given))


def compose() -> dict[str, list[str]]:
    """The Compose file: each key's path, such as `services.live.tmpfs`, to its value or its list's items."""
    found: dict[str, list[str]] = {}
    path: list[tuple[int, str]] = []
    for line in (ROOT / "ops" / "compose.yaml").read_text("utf-8").splitlines():
        text, indent = line.strip(), len(line) - len(line.lstrip())
        if not text or text.startswith("#"):
            continue
        if text.startswith("- "):
            found[".".join(name for _, name in path)].append(text.removeprefix("- "))
            continue
        while path and path[-1][0] >= indent:
            path.pop()
        name, colon, value = text.partition(":")
        assert colon, f"neither a key nor an item: {line}"
        path.append((indent, name))
        found[".".join(each for _, each in path)] = [value.strip()] if value.strip() else []
    return found


# --- the image -------------------------------------------------------------------------------------------------------


def test_the_base_is_an_argument_that_can_be_pinned_by_its_digest() -> None:
    before, builder = stages()[:2]
    assert [each.rest for each in before] == ["BASE=debian:bookworm-slim"]
    assert builder[0].rest == "${BASE} AS builder"
    assert "--build-arg BASE=debian:bookworm-slim@sha256:" in (ROOT / "ops" / "Dockerfile").read_text("utf-8")


def test_the_last_stage_begins_from_nothing_and_runs_no_shell() -> None:
    last = stages()[-1]
    assert last[0].rest == "scratch"
    assert [each.rest[0] for each in last if each.word == "RUN"] == ["["]


@pytest.mark.fault("F102")
def test_everything_that_is_started_is_in_exec_form(final: dict[str, Instruction]) -> None:
    python = "/opt/tetrio/bin/python"
    assert final["ENTRYPOINT"].array() == [python, "-m", "tetrio"]
    assert final["CMD"].array() == ["serve"]
    assert final["HEALTHCHECK"].array() == [python, "-m", "tetrio", "health"]
    assert final["STOPSIGNAL"].rest == "SIGTERM"


def test_the_user_is_a_number_and_not_root(final: dict[str, Instruction]) -> None:
    assert re.fullmatch(r"(\d+):(\d+)", final["USER"].rest)
    assert final["USER"].rest == f"{UID}:{UID}"


def test_no_variable_holds_a_secret() -> None:
    for stage in stages():
        for name, value in variables(stage).items():
            if SECRET.search(name):
                assert value.startswith("/"), f"{name} is not the path of something"


def test_what_is_looked_for_by_variables_is_where_the_image_has_room_for_it(final: dict[str, Instruction]) -> None:
    given = variables(stages()[-1])
    assert final["VOLUME"].array() == [given["STATE_DIRECTORY"]]
    mounts = [mount.partition(":")[0] for mount in compose()["x-tetrio.tmpfs"]]
    assert str(Path(given["RUNTIME_DIRECTORY"]).parent) in mounts


def test_dependencies_come_by_their_hashes_and_tetrio_without_any() -> None:
    installs = [each.rest for each in stages()[1] if "install" in each.rest and "pip" in each.rest]
    installs = [each for each in installs if "apt-get" not in each]
    assert len(installs) == 2
    assert "--require-hashes -r requirements.lock" in installs[0]
    assert "--only-binary=:all:" in installs[0]
    assert "--no-index --no-deps" in installs[1]


def test_the_builder_is_sent_what_it_copies_and_no_keys() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*", "everything is left out but what is named"
    sent = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        name
        for stage in stages()
        for each in stage
        if each.word == "COPY" and not each.rest.startswith("--from")
        for name in each.rest.split()[:-1]
    }
    assert sent == copied
    assert all((ROOT / name).exists() for name in copied)
    again = rules[1 + len(sent) :]
    assert {"**/*.pem", "**/*.api-key"} <= set(again), "left out even inside what is sent, so they come last"


# --- the Compose file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("user", [f'"{UID}:{UID}"']), ("read_only", ["true"]), ("cap_drop", ["ALL"]), ("init", ["true"]),
        ("security_opt", ["no-new-privileges:true"]), ("pids_limit", ["64"]), ("mem_limit", ["300m"]),
        ("memswap_limit", ["300m"]), ("ulimits.core", ["0"]), ("stop_grace_period", ["25s"]),
        ("restart", ["on-failure:8"]), ("logging.options.max-size", ["10m"]), ("logging.options.max-file", ['"5"']),
    ],
)  # fmt: skip
def test_both_services_are_bounded(key: str, value: list[str]) -> None:
    found = compose()
    assert found[f"x-tetrio.{key}"] == value
    for service in ("tetrio", "live"):
        assert found[f"services.{service}.<<"] == ["*tetrio"]
        assert f"services.{service}.{key.partition('.')[0]}" not in found, "overridden"


def test_the_writable_places_are_a_small_tmpfs_and_the_volume_of_the_state() -> None:
    found = compose()
    assert found["x-tetrio.tmpfs"] == ["/tmp:mode=1777,size=16m,noexec,nosuid,nodev"]
    writable = {
        mount.split(":")[1]
        for service in ("tetrio", "live")
        for mount in found[f"services.{service}.volumes"]
        if not mount.endswith(":ro")
    }
    assert writable == {variables(stages()[-1])["STATE_DIRECTORY"]}


def test_nothing_is_published_and_nothing_is_privileged() -> None:
    keys = {part for key in compose() for part in key.split(".")}
    assert not keys & {"ports", "expose", "privileged", "cap_add", "devices", "env_file", "pid", "ipc"}


def test_what_runs_by_default_needs_no_key_and_live_has_to_be_asked_for() -> None:
    found = compose()
    assert json.loads(found["services.tetrio.command"][0]) == ["serve"]
    assert load().embedded
    assert not any(key.startswith(("services.tetrio.secrets", "services.tetrio.profiles")) for key in found)
    assert json.loads(found["services.live.profiles"][0]) == ["live"]


def test_secrets_are_files_at_the_places_that_tetrio_is_told() -> None:
    found = compose()
    names = {name for _, _, name in CREDENTIALS}
    targets = set((ROOT / "ops" / "compose.yaml").read_text("utf-8").split("target: ")[1:])
    assert {target.split()[0] for target in targets} == names, "the third one stands in a comment"
    directory = variables(stages()[-1])["CREDENTIALS_DIRECTORY"]
    environment = {
        key.rpartition(".")[2]: value[0] for key, value in found.items() if key.startswith("services.live.environment.")
    }
    assert environment == {
        f"TETRIO__{section}__{name}".upper(): f"{directory}/{file}" for section, name, file in CREDENTIALS[:2]
    }
    for key, value in found.items():
        if re.fullmatch(r"secrets\.[\w-]+\.file", key):
            assert value[0].startswith("./keys/")


def test_the_script_that_tries_it_can_be_run() -> None:
    assert os.access(ROOT / "ops" / "docker-test", os.X_OK)
