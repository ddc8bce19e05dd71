"""Key files: making a pair, reading what a start needs, checking; the one place that touches secrets on disk.

The private key never leaves its file but as a `Signer`, the API key never but as a `Secret`; both files must be closed
to other users, and nobody else may be able to put another file in their place. What the key looks like inside is
`tetrio.wire.sign`'s.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import attrs

from tetrio.errors import ConfigError, UnsafeError
from tetrio.log import Secret, conceal
from tetrio.net import entropy
from tetrio.wire.sign import Signer, Verifier

SEED_BYTES = 32
SHOWN = 4  # characters of an API key that a check shows, of a long one only
LONG = 16
USUAL = 64  # characters of Binance's API keys
SHORTEST_ADMIN_TOKEN = 16  # characters


@attrs.frozen
class Pair:
    """A new key pair on disk."""

    private_path: Path
    public_path: Path
    public_pem: str


@attrs.frozen
class Keys:
    """What a session logs on with."""

    api_key: Secret
    signer: Signer


def new_pair(out: Path) -> Pair:
    """Make an Ed25519 pair: `out` (PKCS#8, mode 0600) and its public half beside it; nothing is ever overwritten.

    ConfigError when one of the two exists already, or the directory cannot be written.
    """
    public_path = public_path_of(out)
    signer = Signer.generate(entropy.token_bytes(SEED_BYTES))
    _create(out, signer.private_pem(), 0o600)
    try:
        _create(public_path, signer.public_pem(), 0o644)
    except ConfigError:
        out.unlink()
        raise
    return Pair(out, public_path, signer.public_pem())


def public_path_of(private: Path) -> Path:
    """`key.pem` → `key.pub.pem`."""
    return private.with_name(private.name.removesuffix(".pem") + ".pub.pem")


def instructions(pair: Pair) -> str:
    """What to do with a new pair, for a person."""
    return f"""\
{pair.private_path}      the private key: keep it, show it to nobody
{pair.public_path}  the public key, to be pasted:

{pair.public_pem.strip()}

Where to paste it (allow spot trading, never withdrawals; restrict it to this host's address):
  live     binance.com, API Management, Create API, Self-generated
  demo     demo.binance.com, API Management, Self-generated
  testnet  testnet.binance.vision, Register Public Key (Ed25519)
  here     tetrio exchange --key ANYNAME={pair.public_path}
Then write the API key that the exchange shows into a file of its own (chmod 600), and under [account]:
  api_key_file = "PATH OF THAT FILE"
  private_key_file = "{pair.private_path}\""""


def read(api_key_file: str, private_key_file: str) -> Keys:
    """The keys that [account] names; ConfigError when one is missing or malformed, UnsafeError when it is exposed."""
    return Keys(_placed(Path(api_key_file), read_api_key), _placed(Path(private_key_file), _read_signer))


def _read_signer(path: Path) -> Signer:
    signer = Signer.from_pem_file(path, others_may_touch)
    conceal(signer.private_pem())
    return signer


def read_api_key(path: Path) -> Secret:
    """The API key in the file, without the white space around it.

    ConfigError: no such file, unreadable, empty, more than one word. UnsafeError: not a regular file, or others may
    read it.
    """
    return _read_word(path, "API key", "the API key that the exchange showed")


def read_token(path: Path) -> Secret:
    """The token of a Telegram bot, as `read_api_key` reads an API key, and nobody else may have put it there."""
    check_place(path)
    return _read_word(path, "Telegram token", "the token that @BotFather showed")


def read_admin_token(path: Path) -> Secret:
    """The token of an exchange's admin port, in the same way; ConfigError also for one that could be guessed."""
    check_place(path)
    token = _read_word(path, "admin token", "a long random word")
    if len(token.reveal()) < SHORTEST_ADMIN_TOKEN:
        raise ConfigError(f"the admin token in {path} is shorter than {SHORTEST_ADMIN_TOKEN} characters")
    return token


def _read_word(path: Path, what: str, wanted: str) -> Secret:
    try:
        with os.fdopen(
            os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb"
        ) as file:  # a FIFO must not block
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(4096) if stat.S_ISREG(mode) else b""
    except FileNotFoundError:
        raise ConfigError(f"there is no {what} file {path}: write {wanted} into it, and chmod 600 {path}") from None
    except OSError as error:
        raise ConfigError(f"the {what} file {path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise UnsafeError(f"the {what} file {path} is not a regular file")
    if others_may_touch(path):
        raise UnsafeError(f"the {what} file {path} is open to other users (mode {mode & 0o777:04o}): chmod 600 {path}")
    if b"-----BEGIN" in content:
        raise ConfigError(f"the {what} file {path} holds a PEM: it wants {wanted}")
    words = content.decode("ascii", errors="replace").split()
    if len(words) != 1 or not words[0].isprintable() or "\N{REPLACEMENT CHARACTER}" in words[0]:
        raise ConfigError(f"the {what} file {path} must hold the {what} and nothing else")
    return Secret(words[0])


# --- who else could touch it -----------------------------------------------------------------------------------------

_ACL = "system.posix_acl_access"
_ACL_USER, _ACL_OWNER, _ACL_MASK = 0x02, 0x01, 0x10


def others_may_touch(path: Path) -> bool:
    """Whether anybody but the file's owner, root and this user may read, change or run the file.

    The group bits of a file with an access control list are the list's mask, so there the list itself is asked: where
    the file system knows such lists, systemd makes a credential root's, mode 0440, with one entry for the service.
    """
    mode = path.stat().st_mode
    if not mode & 0o077:
        return False
    try:
        acl = os.getxattr(path, _ACL)
    except OSError:  # it has none, or cannot have one: the mode is all there is
        return True
    if acl[:4] != b"\x02\0\0\0":  # the only version there has been
        return True
    allowed = [(tag, who) for tag, rights, who in struct.iter_unpack("<HHI", acl[4:]) if rights and tag != _ACL_MASK]
    return any(
        tag != _ACL_OWNER and (tag, who) not in ((_ACL_USER, 0), (_ACL_USER, os.geteuid())) for tag, who in allowed
    )


T = TypeVar("T")


def _placed(path: Path, reader: Callable[[Path], T]) -> T:
    """What `reader` makes of the file, once nobody else can have put it there; errors of both."""
    check_place(path)
    return reader(path)


def check_place(path: Path) -> None:
    """UnsafeError when somebody else owns the file, or could turn the link that leads to it elsewhere.

    A file that is not there is nobody's: whoever reads it says so.
    """
    at = path
    for _ in range(40):  # as many links as the kernel follows
        try:
            entry = at.lstat()
            if not stat.S_ISLNK(entry.st_mode):
                break
            _check_link(path, at, entry)
            at = at.parent / at.readlink()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                return
            raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    else:
        raise ConfigError(f"{path} is a link that leads nowhere: name the file itself")
    if entry.st_uid not in (os.geteuid(), 0):
        raise UnsafeError(f"{path} belongs to another user (uid {entry.st_uid}): make a file of your own, chmod 600")


def _check_link(path: Path, link: Path, entry: os.stat_result) -> None:
    directory = link.parent.stat()
    if directory.st_mode & 0o022 or directory.st_uid not in (os.geteuid(), 0) or entry.st_uid not in (os.geteuid(), 0):
        raise UnsafeError(
            f"{path} is a link in a directory that other users may write ({link.parent}): name the file itself, or "
            f"chmod go-w {link.parent}"
        )


# --- checking --------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Checked:
    """What was found of one file, without a word of what is secret in it."""

    what: str
    """"private key", "public key", "API key"."""
    path: str
    text: str
    """What it is, or what is wrong with it and what to do."""
    code: int = 0
    """The exit code that it asks for: 0 fine, 4 missing or malformed, 6 unsafe."""
    fingerprint: str = ""
    """Of the public half, where it is a key pair's."""

    @property
    def ok(self) -> bool:
        """Nothing is wrong with it."""
        return not self.code


def check_private(path: Path) -> tuple[list[Checked], Signer | None]:
    """The private key file, and the public half beside it; the key itself when it may be used."""
    try:
        signer = _placed(path, _read_signer)
    except (ConfigError, UnsafeError) as error:
        return [Checked(what="private key", path=str(path), text=str(error), code=error.exit_code)], None
    text = f"Ed25519, mode {_mode(path)}, {_owner(path)}"
    own = Checked(what="private key", path=str(path), text=text, fingerprint=fingerprint(signer.public_pem()))
    return [own, _check_public(public_path_of(path), signer)], signer


def _check_public(path: Path, signer: Signer) -> Checked:
    """Whether the file beside the private key is its public half, so that the right one was pasted."""
    try:
        text = path.read_text("ascii")
        beside = Verifier.from_pem(text, str(path))
    except FileNotFoundError:
        made = "make it with `openssl pkey -in PRIVATE -pubout`"
        return Checked(what="public key", path=str(path), text=f"not here, and not needed here; {made}")
    except ConfigError as error:
        return Checked(what="public key", path=str(path), text=str(error), code=error.exit_code)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not a PEM file"
        return Checked(
            what="public key", path=str(path), text=f"{path} cannot be read: {why}", code=ConfigError.exit_code
        )
    if not beside.verify("tetrio", signer.sign("tetrio")):
        remedy = "paste the public half of the key that is used (`openssl pkey -in PRIVATE -pubout`)"
        return Checked(
            what="public key",
            path=str(path),
            text=f"{path} belongs to another private key: {remedy}",
            code=ConfigError.exit_code,
            fingerprint=fingerprint(text),
        )
    text = "the private key's other half"
    return Checked(what="public key", path=str(path), text=text, fingerprint=fingerprint(signer.public_pem()))


def check_api_key(path: Path) -> tuple[Checked, Secret | None]:
    """The API key file; the key itself when it may be used."""
    try:
        secret = _placed(path, read_api_key)
    except (ConfigError, UnsafeError) as error:
        return Checked(what="API key", path=str(path), text=str(error), code=error.exit_code), None
    text = f"{glimpse(secret)}, mode {_mode(path)}, {_owner(path)}"
    return Checked(what="API key", path=str(path), text=text), secret


def glimpse(api_key: Secret) -> str:
    """As much of an API key as tells it from another: its length, and the first characters of a long one."""
    length = len(api_key.reveal())
    shown = f"{api_key.reveal()[:SHOWN]}…, " if length >= LONG else ""
    return f"{shown}{length} characters" + ("" if length == USUAL else f" (Binance's have {USUAL})")


def fingerprint(public_pem: str) -> str:
    """SHA-256 of the public key: what `openssl pkey -pubin -outform DER | sha256sum` says of its PEM."""
    body = "".join(line for line in public_pem.split("\n") if line and not line.startswith("-"))
    return f"SHA256:{hashlib.sha256(base64.b64decode(body)).hexdigest()}"


def _mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


def _owner(path: Path) -> str:
    return "owned by root" if path.stat().st_uid == 0 != os.geteuid() else "yours"


def _create(path: Path, text: str, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise ConfigError(f"{path} exists already and is not overwritten: choose another --out") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        os.fchmod(descriptor, mode)  # whatever the umask is
        file.write(text)
