from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from tetrio import keys
from tetrio.cli import main
from tetrio.errors import ConfigError, UnsafeError
from tetrio.wire.sign import Signer, Verifier


def written(path: Path, content: str, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_a_new_pair_signs_and_verifies(tmp_path: Path) -> None:
    pair = keys.new_pair(tmp_path / "key.pem")
    assert pair.public_path == tmp_path / "key.pub.pem"
    signature = Signer.from_pem_file(pair.private_path).sign("timestamp=1")
    assert Verifier.from_pem(pair.public_path.read_text()).verify("timestamp=1", signature)
    assert pair.private_path.read_text().startswith("-----BEGIN PRIVATE KEY-----")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_the_private_key_is_its_owners_only_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        pair = keys.new_pair(tmp_path / "key.pem")
    finally:
        os.umask(before)
    assert stat.S_IMODE(pair.private_path.stat().st_mode) == 0o600
    assert stat.S_IMODE(pair.public_path.stat().st_mode) == 0o644


def test_no_key_is_ever_overwritten(tmp_path: Path) -> None:
    pair = keys.new_pair(tmp_path / "key.pem")
    first = pair.private_path.read_text()
    with pytest.raises(ConfigError, match="exists already"):
        keys.new_pair(tmp_path / "key.pem")
    assert pair.private_path.read_text() == first


def test_a_public_key_in_the_way_leaves_no_private_one_behind(tmp_path: Path) -> None:
    written(tmp_path / "key.pub.pem", "someone's")
    with pytest.raises(ConfigError, match=r"key\.pub\.pem exists already"):
        keys.new_pair(tmp_path / "key.pem")
    assert not (tmp_path / "key.pem").exists()
    assert (tmp_path / "key.pub.pem").read_text() == "someone's"


def test_two_pairs_differ(tmp_path: Path) -> None:
    assert keys.new_pair(tmp_path / "a.pem").public_pem != keys.new_pair(tmp_path / "b.pem").public_pem


def test_the_command_says_what_to_paste_and_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new", "--out", str(tmp_path / "key.pem")]) == 0
    out = capsys.readouterr().out
    assert (tmp_path / "key.pub.pem").read_text().strip() in out
    assert "testnet.binance.vision" in out
    private = (tmp_path / "key.pem").read_text().splitlines()[1]
    assert private not in out

    assert main(["keys", "new", "--out", str(tmp_path / "other.pem"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["public_key"] == (tmp_path / "other.pub.pem").read_text()
    assert main(["keys", "new", "--out", str(tmp_path / "other.pem")]) == 4


def test_both_keys_are_read_as_the_configuration_names_them(tmp_path: Path) -> None:
    pair = keys.new_pair(tmp_path / "key.pem")
    api_key = written(tmp_path / "api-key", "  VmPUZE6mv9SD5VNHk4\n")
    both = keys.read(str(api_key), str(pair.private_path))
    assert both.api_key.reveal() == "VmPUZE6mv9SD5VNHk4"
    assert "VmPUZE6mv9SD5VNHk4" not in repr(both)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_an_api_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(UnsafeError, match="chmod 600"):
        keys.read_api_key(written(tmp_path / "api-key", "key", mode))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "nothing else"),
        ("two words", "nothing else"),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "nothing else"),
        ("-----BEGIN PRIVATE KEY-----\n", "PEM"),
        ("-----BEGINPRIVATEKEY-----", "PEM"),
    ],
)
def test_a_file_that_holds_no_api_key_is_refused(tmp_path: Path, content: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        keys.read_api_key(written(tmp_path / "api-key", content))


def test_an_api_key_that_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no API key file .*chmod 600"):
        keys.read_api_key(tmp_path / "missing")
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(UnsafeError, match="not a regular file"):
        keys.read_api_key(tmp_path / "fifo")
