"""Signatures: what is signed, by which key, and how keys are read. Ed25519; HMAC-SHA-256 for clients of our exchange.

Keys are PKCS#8 (private) and SubjectPublicKeyInfo (public) PEM, as `openssl genpkey -algorithm ed25519` and Binance
write them. Both are short DER structures (RFC 8410) and are read here by hand. Every wrong file gets an error of its
own with the remedy, because this is the first thing that goes wrong for a new operator; none shows key material.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from tetrio.errors import ConfigError, UnsafeError

_MAX_FILE = 65536  # bytes; a PKCS#8 Ed25519 key has 119
_ED25519 = "1.3.101.112"
_KINDS = {
    "1.3.101.110": "X25519 (key exchange)",
    "1.3.101.111": "X448 (key exchange)",
    "1.3.101.113": "Ed448",
    "1.2.840.113549.1.1.1": "RSA",
    "1.2.840.113549.1.1.10": "RSA-PSS",
    "1.2.840.113549.1.3.1": "Diffie-Hellman",
    "1.2.840.10045.2.1": "EC (elliptic curve, ECDSA)",
    "1.2.840.10040.4.1": "DSA",
}
_LABELS = {
    "RSA PRIVATE KEY": "RSA",
    "RSA PUBLIC KEY": "RSA",
    "DSA PRIVATE KEY": "DSA",
    "EC PRIVATE KEY": "EC (elliptic curve, ECDSA)",
    "EC PARAMETERS": "EC (elliptic curve, ECDSA)",
    "OPENSSH PRIVATE KEY": "OpenSSH",
}
_PKCS8_PREFIX: Final = bytes.fromhex("302e020100300506032b657004220420")
_SPKI_PREFIX: Final = bytes.fromhex("302a300506032b6570032100")
_SEQUENCE, _INTEGER, _OCTETS, _BITS, _OID = 0x30, 0x02, 0x04, 0x03, 0x06
_NEW_KEY = "make one with `tetrio keys new --out key.pem`"


def payload(params: Mapping[str, object]) -> str:
    """The text that is signed on the WebSocket API: `name=value` sorted by name, joined by `&`, not percent-encoded.

    `signature` is left out. A str stands as it is (so raw JSON tokens may be passed), anything else as its JSON text.
    TypeError on a float: it has no one text.
    """
    return "&".join(f"{name}={_token(params[name])}" for name in sorted(params) if name != "signature")


def _token(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        raise TypeError(f"{value} is a float: amounts are signed and sent as text")
    return msgspec.json.encode(value).decode()


class Signer:
    """An Ed25519 private key. Neither `repr` nor an error shows it."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key

    def __repr__(self) -> str:
        return f"<Signer of public key {base64.b64encode(bytes(self._key.verify_key)).decode()}>"

    @classmethod
    def from_pem_file(
        cls, path: str | Path, exposed: Callable[[Path], bool] = lambda path: bool(path.stat().st_mode & 0o077)
    ) -> Signer:
        """Read a PKCS#8 PEM file.

        exposed       whether others may touch the file: its mode, unless the caller knows better
        ConfigError   missing, a directory, unreadable, not PEM, malformed
        UnsafeError   readable by others, encrypted, a public key, another kind of key
        """
        return cls.from_pem(_read_private(Path(path), exposed), str(path))

    @classmethod
    def from_pem(cls, text: str, source: str = "the private key") -> Signer:
        """The same from text; `source` is how messages name it."""
        label, der = _pem(text, source)
        if label == "PUBLIC KEY":
            raise UnsafeError(f"{source} is a public key: name the private one (its twin, without .pub in its name)")
        if label != "PRIVATE KEY":
            raise ConfigError(f"{source} holds a {label}, not a private key: {_NEW_KEY}")
        return cls(SigningKey(_private_seed(der, source)))

    @classmethod
    def generate(cls, entropy: bytes) -> Signer:
        """The key that 32 bytes of entropy make (RFC 8032 calls them the private key)."""
        if len(entropy) != 32:
            raise ValueError(f"an Ed25519 seed has 32 bytes, not {len(entropy)}")
        return cls(SigningKey(entropy))

    def sign(self, text: str) -> str:
        """Base64 signature of the UTF-8 bytes of `text`."""
        return base64.b64encode(self._key.sign(text.encode()).signature).decode()

    def private_pem(self) -> str:
        """PKCS#8 PEM: what stays on this host."""
        return _to_pem("PRIVATE KEY", _PKCS8_PREFIX + bytes(self._key))

    def public_pem(self) -> str:
        """SubjectPublicKeyInfo PEM: what is pasted at Binance."""
        return _to_pem("PUBLIC KEY", _SPKI_PREFIX + bytes(self._key.verify_key))

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        return Verifier(self._key.verify_key)


class Verifier:
    """An Ed25519 public key."""

    def __init__(self, key: VerifyKey) -> None:
        self._key = key

    def __repr__(self) -> str:
        return f"<Verifier {base64.b64encode(bytes(self._key)).decode()}>"

    @classmethod
    def from_pem(cls, text: str, source: str = "the public key") -> Verifier:
        """Read a SubjectPublicKeyInfo PEM; ConfigError on anything else."""
        label, der = _pem(text, source)
        if "PRIVATE" in label:
            raise ConfigError(f"{source} is a private key: the exchange needs the public one (key.pub.pem)")
        if label != "PUBLIC KEY":
            raise ConfigError(f"{source} holds a {label}, not a public key: {_NEW_KEY}")
        (_, algorithm), (bits_tag, bits) = _elements(_unwrap(der, _SEQUENCE, source), source, 2)
        kind = _algorithm(algorithm, source)
        if kind != _ED25519:
            raise ConfigError(f"{source} is {_article(kind)} public key, not Ed25519: {_NEW_KEY}")
        if bits_tag != _BITS or len(bits) != 33 or bits[0]:
            raise ConfigError(f"{source} is damaged: an Ed25519 public key has 32 bytes")
        return cls(VerifyKey(bits[1:]))

    def verify(self, text: str, signature: str) -> bool:
        """Whether `signature` (base64) is of the UTF-8 bytes of `text`; False for a malformed one."""
        try:
            self._key.verify(text.encode(), base64.b64decode(signature, validate=True))
        except (BadSignatureError, ValueError):  # ValueError: not base64, not 64 bytes, a lone surrogate in the text
            return False
        return True


def sign_hmac(secret: str, text: str) -> str:
    """HMAC-SHA-256 of `text` in lower-case hex."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def verify_hmac(secret: str, text: str, signature: str) -> bool:
    """Whether `signature` (hex, any letter case) is the HMAC-SHA-256 of `text`."""
    return hmac.compare_digest(sign_hmac(secret, text).encode(), signature.lower().encode())


def _read_private(path: Path, exposed: Callable[[Path], bool]) -> str:
    """The text of a file that is not `exposed`."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise ConfigError(f"{path} is not a regular file: a key is read from a file")
        with path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
    except FileNotFoundError:
        raise ConfigError(f"there is no private key file {path}: name the right one, or {_NEW_KEY}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a directory: name the private key file in it") from None
    except PermissionError:
        raise ConfigError(f"{path} cannot be read by this user: give the file to it with `chown`") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None
    if exposed(path) and b"PUBLIC KEY-----" not in content:  # that may be read, and is refused as what it is
        raise UnsafeError(
            f"{path} can be read by others (mode {stat.S_IMODE(mode):04o}): run `chmod 600 {path}`, "
            "and make a new key if they may have read it"
        )
    if len(content) > _MAX_FILE:
        raise ConfigError(f"{path} is not a private key: it has more than {_MAX_FILE} bytes")
    if content[:1] == b"\x30":
        raise ConfigError(f"{path} is DER, not PEM: convert it with `openssl pkey -inform DER -in {path} -out key.pem`")
    return content.decode("ascii", "replace")


def _pem(text: str, source: str) -> tuple[str, bytes]:
    """Label and content of the PEM block in `text`; refuses what is encrypted or of a kind that its label tells."""
    _, begin, after = text.partition("-----BEGIN ")
    label, dashes, rest = after.partition("-----")
    body, end, _ = rest.partition(f"-----END {label}-----")
    if not begin or not dashes:
        raise ConfigError(f"{source} is not PEM (no BEGIN line): {_NEW_KEY}")
    if not end:
        raise ConfigError(f"{source} is cut off: its END line is missing")
    if label == "ENCRYPTED PRIVATE KEY" or "Proc-Type:" in body:
        raise UnsafeError(
            f"{source} is encrypted, and nobody is there to type its passphrase: decrypt it with "
            f"`openssl pkey -in {source} -out key.pem` and `chmod 600 key.pem`"
        )
    if label in _LABELS:
        raise UnsafeError(f"{source} is {_article(_LABELS[label])} key, and Binance logs on by Ed25519: {_NEW_KEY}")
    try:
        return label, base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error:
        raise ConfigError(f"{source} is damaged: what stands between BEGIN and END is not base64") from None


def _private_seed(der: bytes, source: str) -> bytes:
    """The 32 bytes inside a PKCS#8 structure (RFC 5958: version, algorithm, key, and what may follow)."""
    (version_tag, _), (_, algorithm), (key_tag, key) = _elements(_unwrap(der, _SEQUENCE, source), source, 3)
    kind = _algorithm(algorithm, source)
    if kind != _ED25519:
        raise UnsafeError(f"{source} is {_article(kind)} key, and Binance logs on by Ed25519: {_NEW_KEY}")
    if version_tag != _INTEGER or key_tag != _OCTETS:
        raise ConfigError(f"{source} is damaged: not a PKCS#8 private key")
    seed = _unwrap(key, _OCTETS, source)
    if len(seed) != 32:
        raise ConfigError(f"{source} is damaged: an Ed25519 private key has 32 bytes, this one {len(seed)}")
    return seed


def _algorithm(content: bytes, source: str) -> str:
    """What an AlgorithmIdentifier says: the dotted OID for Ed25519, a name for the other kinds we know."""
    tag, oid = _elements(content, source, 1)[0]
    if tag != _OID:
        raise ConfigError(f"{source} is damaged: it names no algorithm")
    dotted = _dotted(oid)
    return _KINDS.get(dotted, dotted)


def _dotted(oid: bytes) -> str:
    arcs, arc = [], 0
    for byte in oid:
        arc = arc << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2) if arcs else 0
    return ".".join(map(str, [first, arcs[0] - 40 * first, *arcs[1:]])) if arcs else "unknown"


def _unwrap(der: bytes, tag: int, source: str) -> bytes:
    """The content of the one element that `der` is."""
    found, content = _elements(der, source, 1)[0]
    if found != tag:
        raise ConfigError(f"{source} is damaged: not the DER structure of a key")
    return content


def _elements(content: bytes, source: str, count: int) -> list[tuple[int, bytes]]:
    """The first `count` DER elements of `content` as (tag, content); more may follow."""
    found: list[tuple[int, bytes]] = []
    position = 0
    while len(found) < count:
        header = content[position : position + 2]
        start = position + 2
        length = header[1] if len(header) == 2 else 0
        if length & 0x80:  # long form: the low bits say how many bytes hold the length
            start += length & 0x7F
            length = int.from_bytes(content[position + 2 : start], "big")
        if len(header) < 2 or start + length > len(content):
            raise ConfigError(f"{source} is damaged: its DER structure is cut off")
        found.append((header[0], content[start : start + length]))
        position = start + length
    return found


def _to_pem(label: str, der: bytes) -> str:
    return f"-----BEGIN {label}-----\n{base64.b64encode(der).decode()}\n-----END {label}-----\n"


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "AEIOUXR" else f"a {kind}"
