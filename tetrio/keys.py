"""Key files: making a pair, and reading what a start needs; the one place that touches secrets on disk.

The private key never leaves its file but as a `Signer`, the API key never but as a `Secret`; both files must be closed
to other users. What the key looks like inside is `tetrio.wire.sign`'s.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import attrs

from tetrio.errors import ConfigError, UnsafeError
from tetrio.log import Secret
from tetrio.net import entropy
from tetrio.wire.sign import Signer

SEED_BYTES = 32


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
    return Keys(read_api_key(Path(api_key_file)), Signer.from_pem_file(private_key_file))


def read_api_key(path: Path) -> Secret:
    """The API key in the file, without the white space around it.

    ConfigError: no such file, unreadable, empty, more than one word. UnsafeError: not a regular file, or others may
    read it.
    """
    try:
        with os.fdopen(
            os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb"
        ) as file:  # a FIFO must not block
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(4096) if stat.S_ISREG(mode) else b""
    except FileNotFoundError:
        raise ConfigError(
            f"there is no API key file {path}: write the API key that the exchange showed into it, and chmod 600 {path}"
        ) from None
    except OSError as error:
        raise ConfigError(f"the API key file {path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise UnsafeError(f"the API key file {path} is not a regular file")
    if mode & 0o077:
        raise UnsafeError(f"the API key file {path} is open to other users (mode {mode & 0o777:04o}): chmod 600 {path}")
    if b"-----BEGIN" in content:
        raise ConfigError(f"the API key file {path} holds a PEM: it wants the API key that the exchange showed")
    words = content.decode("ascii", errors="replace").split()
    if len(words) != 1 or not words[0].isprintable() or "\N{REPLACEMENT CHARACTER}" in words[0]:
        raise ConfigError(f"the API key file {path} must hold the API key and nothing else")
    return Secret(words[0])


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
