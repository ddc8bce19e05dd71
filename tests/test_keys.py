from __future__ import annotations

import errno
import json
import os
import stat
import struct
from pathlib import Path
from typing import Any

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


@pytest.mark.fault("F126")
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


# --- systemd's credentials: root's files, mode 0440, with an access control list -------------------------------------

OWNER, USER, GROUP, NAMED_GROUP, MASK, OTHER, NOBODY = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0xFFFFFFFF


def with_access_list(path: Path, *entries: tuple[int, int, int]) -> Path:
    """The file with the list that setfacl would make: the owner may read, and who is named besides."""
    rows = sorted([(OWNER, 4, NOBODY), (MASK, 4, NOBODY), *entries])
    listed = b"".join(struct.pack("<HHI", *row) for row in rows)
    try:
        os.setxattr(path, "system.posix_acl_access", struct.pack("<I", 2) + listed)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            pytest.skip("this file system knows no access control lists")
        raise
    return path


def test_a_credential_that_its_list_gives_to_this_user_alone_is_accepted(tmp_path: Path) -> None:
    none = ((GROUP, 0, NOBODY), (OTHER, 0, NOBODY))
    api_key = with_access_list(written(tmp_path / "api-key", "k1"), (USER, 4, os.geteuid()), *none)
    private = with_access_list(keys.new_pair(tmp_path / "key.pem").private_path, (USER, 4, os.geteuid()), *none)
    assert stat.S_IMODE(api_key.stat().st_mode) == stat.S_IMODE(private.stat().st_mode) == 0o440
    assert keys.read(str(api_key), str(private)).api_key.reveal() == "k1"


@pytest.mark.parametrize(
    "entry", [(USER, 4, 4242), (NAMED_GROUP, 4, 4242), (GROUP, 4, NOBODY), (OTHER, 4, NOBODY)], ids=lambda e: hex(e[0])
)
def test_a_list_that_lets_anybody_else_in_is_refused(tmp_path: Path, entry: tuple[int, int, int]) -> None:
    rest = [(tag, 0, NOBODY) for tag in (GROUP, OTHER) if tag != entry[0]]
    api_key = with_access_list(written(tmp_path / "api-key", "k1"), entry, *rest)
    private = with_access_list(keys.new_pair(tmp_path / "key.pem").private_path, entry, *rest)
    with pytest.raises(UnsafeError, match="chmod 600"):
        keys.read_api_key(api_key)
    with pytest.raises(UnsafeError, match="chmod 600"):
        keys.read(str(written(tmp_path / "fine", "k1")), str(private))


# --- who else could touch them ---------------------------------------------------------------------------------------


def pair_and_api_key(directory: Path) -> tuple[Path, Path]:
    return keys.new_pair(directory / "key.pem").private_path, written(directory / "api-key", "K" * 64)


def test_a_link_that_others_could_turn_is_refused(tmp_path: Path) -> None:
    safe, shared = tmp_path / "safe", tmp_path / "shared"
    safe.mkdir(mode=0o700)
    shared.mkdir()
    shared.chmod(0o777)
    private, api_key = pair_and_api_key(safe)
    (shared / "link").symlink_to(private)
    with pytest.raises(UnsafeError, match=r"link in a directory that other users may write .*chmod go-w"):
        keys.read(str(api_key), str(shared / "link"))
    (safe / "second").symlink_to(shared / "link")  # a link of ours to theirs is theirs
    with pytest.raises(UnsafeError, match="other users may write"):
        keys.read(str(api_key), str(safe / "second"))
    with pytest.raises(UnsafeError, match="other users may write"):
        keys.read_token(shared / "link")
    shared.chmod(0o755)
    assert keys.read(str(api_key), str(safe / "second")).api_key.reveal() == "K" * 64


def test_a_link_in_a_directory_of_ours_is_fine_and_a_loop_is_not(tmp_path: Path) -> None:
    private, api_key = pair_and_api_key(tmp_path)
    (tmp_path / "link").symlink_to("key.pem")
    assert (
        keys.read(str(api_key), str(tmp_path / "link")).signer.public_pem()
        == private.with_suffix(".pub.pem").read_text()
    )
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ConfigError, match="leads nowhere"):
        keys.check_place(tmp_path / "a")
    keys.check_place(tmp_path / "not-there")


def test_a_file_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    private, _ = pair_and_api_key(tmp_path)
    if not private.stat().st_uid:
        os.chown(private, 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(UnsafeError, match="belongs to another user"):
        keys.check_place(private)


# --- keys check ------------------------------------------------------------------------------------------------------


def check(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code = main(["keys", "check", "--json", *map(str, arguments)])
    return code, json.loads(capsys.readouterr().out)


def test_good_key_files_are_described_without_what_is_in_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    private, api_key = pair_and_api_key(tmp_path)
    code, said = check(capsys, "--key", private, "--api-key", api_key)
    assert (code, said["ok"]) == (0, True)
    assert [each["what"] for each in said["files"]] == ["private key", "public key", "API key"]
    assert main(["keys", "check", "--key", str(private), "--api-key", str(api_key)]) == 0
    text = capsys.readouterr().out + json.dumps(said)
    assert "mode 0600, yours" in text
    assert "KKKK…, 64 characters" in text
    assert "KKKKK" not in text
    assert private.read_text().splitlines()[1] not in text


def test_the_fingerprint_is_what_openssl_and_sha256sum_say() -> None:
    pem = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
"""
    assert keys.fingerprint(pem) == "SHA256:a1e9156054e04fac899ae9f275132cdc07a5dbc4ea2c2ad3a1ffc6e0d253681f"


def test_the_public_half_of_another_key_is_noticed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    private, _ = pair_and_api_key(tmp_path)
    public = keys.public_path_of(private)
    public.write_text(Signer.generate(b"y" * 32).public_pem())
    code, said = check(capsys, "--key", private)
    assert code == 4
    assert "belongs to another private key" in said["files"][1]["found"]
    public.write_text("nothing")
    assert check(capsys, "--key", private)[0] == 4
    public.write_bytes(b"\xff")
    assert check(capsys, "--key", private)[0] == 4
    public.unlink()
    code, said = check(capsys, "--key", private)
    assert (code, said["files"][1]["ok"]) == (0, True)


@pytest.mark.parametrize(
    ("mode", "content", "code", "said"),
    [
        (0o640, None, 6, "chmod 600"),
        (0o600, "nothing", 4, "no BEGIN line"),
        (0o600, Signer.generate(b"z" * 32).public_pem(), 6, "is a public key"),
        (0o600, "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", 6, "RSA key"),
    ],
)
def test_bad_private_keys_have_their_exit_code_and_remedy(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, mode: int, content: str | None, code: int, said: str
) -> None:
    private, _ = pair_and_api_key(tmp_path)
    if content is not None:
        private.write_text(content)
    private.chmod(mode)
    found, told = check(capsys, "--key", private)
    assert (found, said in told["files"][0]["found"]) == (code, True), told


def test_the_configured_files_are_checked_and_unsafe_outweighs_missing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    private, _ = pair_and_api_key(tmp_path)
    private.chmod(0o644)
    given = ["--set", f"account.private_key_file={private}", "--set", f"account.api_key_file={tmp_path / 'missing'}"]
    code, said = check(capsys, *given)
    assert [each["ok"] for each in said["files"]] == [False, False]
    assert code == 6
    assert main(["keys", "check"]) == 4
    assert "no key file is configured" in capsys.readouterr().err
