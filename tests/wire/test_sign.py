"""Signatures against the vectors of Binance's documentation; a wrong key file gets an error that says what to do."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.paths import SHARED
from tetrio.errors import ConfigError, TetrioError, UnsafeError
from tetrio.wire.sign import Signer, Verifier, payload, sign_hmac, verify_hmac

MESSAGES = SHARED / "binance" / "messages"
SEED = bytes(range(32))
DOCS_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
DOCS_SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
EXAMPLE_SECRET = "ExampleHmacSecretForSyntheticMessagesOnly00000000000000000000000"
FIX_KEY = "MC4CAQAwBQYDK2VwBCIEIIJEYWtGBrhACmb9Dvy+qa8WEf0lQOl1s4CLIAB9m89u"
HMAC_BTCUSDT = "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24"
HMAC_NOT_ASCII = "b33892ae8e687c939f4468c6268ddd4c40ac1af18ad19a064864c47bae0752cd"
OWN_KEY = "ExampleEd25519ApiKeyForSyntheticMessagesOnly00000000000000000000"


def pem(body: str, label: str = "PRIVATE KEY") -> str:
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"


def key_file(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "key.pem"
    path.write_text(text)
    path.chmod(mode)
    return path


# --- vectors ---


def test_the_fix_logon_of_the_documentation_is_signed_alike() -> None:
    text = "\x01".join(["A", "EXAMPLE", "SPOT", "1", "20240627-11:17:25.223"])
    assert Signer.from_pem(pem(FIX_KEY)).sign(text) == (
        "4MHXelVVcpkdwuLbl6n73HQUXUf1dse2PCgT1DYqW9w8AVZ1RACFGM+5UdlGPrQHrgtS3CvsRURC1oj73j8gCA=="
    )


def test_our_own_vector_is_signed_alike_and_verifies() -> None:
    text = payload({"timestamp": 1784626201000, "apiKey": OWN_KEY, "recvWindow": 2500, "signature": "left out"})
    assert text == f"apiKey={OWN_KEY}&recvWindow=2500&timestamp=1784626201000"
    signer = Signer.generate(SEED)
    signature = "+9Rz1bjgckea8lTnsma714eOwLVO8cayVlGUuEqVrlR5Op3BgnmItT1zFrveS1xOm5l9wyTLFa4UtJ/FOqseBQ=="
    assert signer.sign(text) == signature
    assert Verifier.from_pem(signer.public_pem()).verify(text, signature)
    assert signer.verifier.verify(text, signature)


@pytest.mark.parametrize(
    ("symbol", "side", "price", "quantity", "window", "signature"),
    [
        ("BTCUSDT", "SELL", "52000.00", "0.01000000", 100, HMAC_BTCUSDT),
        ("１２３４５６", "BUY", "0.10000000", "1.00000000", 5000, HMAC_NOT_ASCII),
    ],
)
def test_the_hmac_vectors_of_the_documentation_verify(
    symbol: str, side: str, price: str, quantity: str, window: int, signature: str
) -> None:
    text = payload(
        {
            "symbol": symbol,
            "side": side,
            "type": "LIMIT",
            "timeInForce": "GTC",
            "quantity": quantity,
            "price": price,
            "recvWindow": window,
            "timestamp": 1645423376532,
            "apiKey": DOCS_KEY,
        }
    )
    assert verify_hmac(DOCS_SECRET, text, signature)
    assert verify_hmac(DOCS_SECRET, text, signature.upper())
    assert sign_hmac(DOCS_SECRET, text) == signature
    assert not verify_hmac(DOCS_SECRET, text + "0", signature)
    assert not verify_hmac(DOCS_SECRET, text, "é")


def signed_examples() -> list[Path]:
    found = sorted(MESSAGES.glob("wsapi.*.request.json"))
    return [path for path in found if "signature" in json.loads(path.read_text()).get("params", {})]


@pytest.mark.parametrize("path", signed_examples(), ids=lambda path: path.name)
def test_every_signed_example_verifies(path: Path) -> None:
    params = json.loads(path.read_text())["params"]
    text = payload(params)
    if "Ed25519" in params["apiKey"]:
        assert Signer.generate(SEED).verifier.verify(text, params["signature"])
        assert Signer.generate(SEED).sign(text) == params["signature"]
    else:
        assert verify_hmac(EXAMPLE_SECRET, text, params["signature"])


def test_there_are_signed_examples() -> None:
    assert len(signed_examples()) > 40


# --- the canonical text ---


def test_names_are_sorted_by_code_point_and_nothing_is_encoded() -> None:
    params = {"b": "a b&c=é", "a": 5, "B": True, "c": ["X", "Y"], "d": None}
    assert payload(params) == 'B=true&a=5&b=a b&c=é&c=["X","Y"]&d=null'


def test_a_float_is_never_signed() -> None:
    with pytest.raises(TypeError, match=r"0\.1 is a float"):
        payload({"price": 0.1})


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.text(max_size=50), st.text(max_size=50))
def test_a_signature_verifies_for_its_text_and_key_only(seed: bytes, text: str, other: str) -> None:
    signer = Signer.generate(seed)
    signature = signer.sign(text)
    assert signer.verifier.verify(text, signature)
    assert signer.verifier.verify(other, signature) == (other == text)
    assert not Signer.generate(bytes(32)).verifier.verify(text, signature) or seed == bytes(32)


@pytest.mark.parametrize("signature", ["", "?", "AAAA", "é", "a" * 88, "aa" * 32, base64.b64encode(bytes(64)).decode()])
def test_a_malformed_signature_is_simply_wrong(signature: str) -> None:
    assert not Signer.generate(SEED).verifier.verify("text", signature)


# --- keys ---


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_a_key_survives_its_pem(seed: bytes) -> None:
    signer = Signer.generate(seed)
    again = Signer.from_pem(signer.private_pem())
    assert again.private_pem() == signer.private_pem()
    assert again.sign("x") == signer.sign("x")


def test_a_key_file_is_read(tmp_path: Path) -> None:
    path = key_file(tmp_path, "some remark\n" + Signer.generate(SEED).private_pem())
    assert Signer.from_pem_file(path).sign("x") == Signer.generate(SEED).sign("x")
    assert Signer.from_pem_file(str(path)).sign("x") == Signer.generate(SEED).sign("x")


def test_a_key_with_its_public_half_inside_is_read() -> None:
    """RFC 5958 version 1: some tools append the public key."""
    body = bytes.fromhex("020101300506032b6570") + b"\x04\x22\x04\x20" + SEED + b"\x81\x21\x00" + bytes(32)
    der = b"\x30" + bytes((len(body),)) + body
    assert Signer.from_pem(pem(base64.b64encode(der).decode())).sign("x") == Signer.generate(SEED).sign("x")


def test_openssl_and_we_read_each_other(tmp_path: Path) -> None:
    """Where the command exists; the file format is what matters to an operator."""
    path = tmp_path / "key.pem"
    try:
        subprocess.run(
            ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)], check=True, capture_output=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no openssl command with Ed25519 here")
    path.chmod(0o600)
    signer = Signer.from_pem_file(path)
    public = subprocess.run(
        ["openssl", "pkey", "-in", str(path), "-pubout"], check=True, capture_output=True, text=True
    ).stdout
    assert signer.public_pem() == public
    assert signer.private_pem() == path.read_text()
    assert Verifier.from_pem(public).verify("x", signer.sign("x"))


def test_no_secret_is_shown() -> None:
    signer = Signer.generate(SEED)
    assert SEED.hex() not in repr(signer)
    assert base64.b64encode(SEED).decode() not in f"{signer!r} {signer} {vars(signer)}"


def test_a_seed_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        Signer.generate(bytes(31))


def pkcs8(oid: str, key: bytes = b"\x04\x20" + SEED) -> str:
    algorithm = bytes.fromhex(oid)
    algorithm = b"\x30" + bytes((len(algorithm) + 2,)) + b"\x06" + bytes((len(algorithm),)) + algorithm
    body = b"\x02\x01\x00" + algorithm + b"\x04" + bytes((len(key),)) + key
    return pem(base64.b64encode(b"\x30" + bytes((len(body),)) + body).decode())


RSA, EC, ED448, X25519, ED25519 = "2a864886f70d010101", "2a8648ce3d0201", "2b6571", "2b656e", "2b6570"


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", ConfigError, "not PEM"),
        ("hello", ConfigError, "not PEM"),
        ("-----BEGIN PRIVATE KEY-----\nMC4C", ConfigError, "cut off: its END line"),
        (pem("not base64!"), ConfigError, "damaged.*not base64"),
        (pem("MC4CAQAwBQYD"), ConfigError, "damaged.*cut off"),
        (pem(""), ConfigError, "damaged.*cut off"),
        (pem("BAA="), ConfigError, "damaged"),
        (pem("x", "ENCRYPTED PRIVATE KEY"), UnsafeError, "is encrypted.*openssl pkey -in"),
        (pem("Proc-Type: 4,ENCRYPTED\nx", "RSA PRIVATE KEY"), UnsafeError, "is encrypted"),
        (Signer.generate(SEED).public_pem(), UnsafeError, "is a public key: name the private one"),
        (pem("x", "RSA PRIVATE KEY"), UnsafeError, "is an RSA key.*tetrio keys new"),
        (pem("x", "EC PRIVATE KEY"), UnsafeError, "is an EC .elliptic curve"),
        (pem("x", "OPENSSH PRIVATE KEY"), UnsafeError, "is an OpenSSH key"),
        (pem("AAAA", "CERTIFICATE"), ConfigError, "holds a CERTIFICATE"),
        (pkcs8(RSA), UnsafeError, "is an RSA key"),
        (pkcs8(EC), UnsafeError, "is an EC .elliptic curve, ECDSA. key"),
        (pkcs8(ED448), UnsafeError, "is an Ed448 key"),
        (pkcs8(X25519), UnsafeError, "is an X25519"),
        (pkcs8("2b6572"), UnsafeError, r"is a 1\.3\.101\.114 key"),
        (pkcs8(ED25519, b"\x04\x1f" + SEED[1:]), ConfigError, "32 bytes, this one 31"),
        (pkcs8(ED25519, b"\x04\x21\x00" + SEED), ConfigError, "32 bytes, this one 33"),
        (pkcs8(ED25519, b"\x03\x20" + SEED), ConfigError, "damaged"),
    ],
)  # fmt: skip
def test_a_wrong_key_is_refused_with_its_own_remedy(
    tmp_path: Path, text: str, error: type[TetrioError], words: str
) -> None:
    path = key_file(tmp_path, text)
    with pytest.raises(error, match=words) as caught:
        Signer.from_pem_file(path)
    assert type(caught.value) is error
    assert str(path) in str(caught.value)
    assert base64.b64encode(SEED[:9]).decode() not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601])
def test_a_key_that_others_can_reach_is_unsafe(tmp_path: Path, mode: int) -> None:
    path = key_file(tmp_path, Signer.generate(SEED).private_pem(), mode)
    with pytest.raises(UnsafeError, match=f"mode {mode:04o}.*`chmod 600 {path}`"):
        Signer.from_pem_file(path)


def test_a_missing_file_a_directory_and_other_things_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no private key file .*tetrio keys new"):
        Signer.from_pem_file(tmp_path / "absent.pem")
    with pytest.raises(ConfigError, match="is a directory"):
        Signer.from_pem_file(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read: Not a directory"):
        Signer.from_pem_file(key_file(tmp_path, "x") / "inside")
    with pytest.raises(ConfigError, match="not a regular file"):
        Signer.from_pem_file("/dev/null")
    big = tmp_path / "big.pem"
    big.write_bytes(b" " * 70_000)
    big.chmod(0o600)
    with pytest.raises(ConfigError, match="more than 65536 bytes"):
        Signer.from_pem_file(big)
    der = tmp_path / "key.der"
    der.write_bytes(base64.b64decode(FIX_KEY))
    der.chmod(0o600)
    with pytest.raises(ConfigError, match=r"is DER, not PEM.*openssl pkey -inform DER"):
        Signer.from_pem_file(der)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (Signer.generate(SEED).private_pem(), "is a private key"),
        (pem("AAAA", "CERTIFICATE"), "holds a CERTIFICATE"),
        (pem(base64.b64encode(bytes.fromhex("302a300506032b656e032100") + SEED).decode(), "PUBLIC KEY"), "X25519"),
        (
            pem(base64.b64encode(bytes.fromhex("3029300506032b6570032000") + SEED[1:]).decode(), "PUBLIC KEY"),
            "32 bytes",
        ),
        ("nothing", "not PEM"),
    ],
)
def test_a_wrong_public_key_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Verifier.from_pem(text)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.sampled_from(["PRIVATE KEY", "PUBLIC KEY"]))
def test_any_der_is_a_key_or_a_clear_error(der: bytes, label: str) -> None:
    text = pem(base64.b64encode(der).decode(), label)
    for read in (Signer.from_pem, Verifier.from_pem):
        with pytest.raises(TetrioError):
            read(text)
