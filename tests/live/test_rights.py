"""Asking what a key may do, of exchanges that answer in every way."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.live.rig import KEY as ACCOUNT_KEY
from tests.live.rig import World, lived
from tetrio.errors import LinkBarred, LinkLost, TetrioError, UnsafeError, leaves
from tetrio.live.rest import open_rest
from tetrio.live.rights import Rights
from tetrio.net.simnet import with_simnet
from tetrio.sim.face.auth import KeyRights
from tetrio.wire.sign import Signer

SIGNER = Signer.generate(bytes(32))
KEY = "canary" * 10
FULL = (
    '{"ipRestrict":true,"createTime":1698645219000,"enableReading":true,"enableWithdrawals":false,'
    '"enableInternalTransfer":false,"enableMargin":false,"enableFutures":false,"permitsUniversalTransfer":true,'
    '"enableVanillaOptions":false,"enableSpotAndMarginTrading":true,"somethingNew":[1]}'
)


async def asked(status: str, body: str) -> Rights | None:
    """What `Rest.rights` makes of one answer."""

    found: Rights | None = None
    failure: TetrioError | None = None

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            request = b""
            while b"\r\n\r\n" not in request:
                request += await stream.receive_some()
            headers = dict(line.split(b": ", 1) for line in request.split(b"\r\n")[1:-2])
            assert {name.lower(): value for name, value in headers.items()}[b"x-mbx-apikey"] == KEY.encode()
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            await stream.send_all((head + body).encode())

    async with with_simnet(), trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        port = listeners[0].socket.getsockname()[1]
        async with open_rest(f"http://127.0.0.1:{port}", time.time_ns) as rest:
            try:
                found = await rest.rights(KEY, SIGNER)
            except TetrioError as error:
                failure = error  # raised below, out of the nursery's group
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return found


async def test_rights_are_read_and_what_is_new_is_passed_over(autojump_clock: MockClock) -> None:
    rights = await asked("200 OK", FULL)
    assert rights is not None
    assert (rights.withdraw, rights.universal_transfer, rights.spot, rights.ip_restricted) == (False, True, True, True)
    assert rights.spot_until_ms is None
    assert await asked("200 OK", "{}") == Rights()


@pytest.mark.parametrize("body", ["", "<html>not here</html>", '{"code":-1000,"msg":"no"}'])
async def test_a_venue_without_a_wallet_service_cannot_tell(autojump_clock: MockClock, body: str) -> None:
    assert await asked("404 Not Found", body) is None


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (
            "401 Unauthorized",
            '{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}',
            UnsafeError,
            "-2015",
        ),
        ("400 Bad Request", '{"code":-1022,"msg":"Signature for this request is not valid."}', UnsafeError, "-1022"),
        ("403 Forbidden", '{"code":-1002,"msg":"You are not authorized."}', UnsafeError, "-1002"),
        ("403 Forbidden", "<html>", LinkBarred, "refuses this address"),
        ("451 Unavailable", "{}", LinkBarred, "refuses this address"),
        ("400 Bad Request", '{"code":-1021,"msg":"Timestamp for this request is outside"}', LinkLost, "-1021"),
        ("503 Service Unavailable", '{"code":-1008,"msg":"Server is currently overloaded"}', LinkLost, "-1008"),
        ("502 Bad Gateway", "<html>", LinkLost, "HTTP 502 without an error"),
        ("429 Too Many Requests", "{}", LinkLost, "too many requests"),
        ("200 OK", "nonsense", LinkLost, "not what was expected"),
        ("200 OK", '{"enableWithdrawals":"maybe"}', LinkLost, "not what was expected"),
    ],
)
async def test_every_other_answer_is_an_error_without_the_key(
    autojump_clock: MockClock, status: str, body: str, kind: type[TetrioError], said: str
) -> None:
    with pytest.raises(kind) as caught:
        await asked(status, body)
    assert said in str(caught.value)
    assert "canary" not in str(caught.value)
    assert "signature=" not in str(caught.value)


@pytest.mark.fault("F127")
@pytest.mark.parametrize("seed", range(40))
def test_a_key_that_may_withdraw_ends_the_process_whatever_else_happens_in_that_moment(
    tmp_path: Path, seed: int
) -> None:
    worlds: list[World] = []

    async def scenario(world: World) -> None:
        worlds.append(world)
        # by steps of 50 ms, so that the answer comes in the very moment in which the session sends its next request
        world.arm("delay:ws_api:50ms:out", f"delay:rest:{50 * (1 + seed % 4)}ms:out")
        await world.until_ready()

    rights = {ACCOUNT_KEY: KeyRights(withdraw=True)}
    with pytest.raises(BaseExceptionGroup) as failed:
        lived(tmp_path, scenario, seed=seed, check_rights=True, rights=rights)
    assert [type(error) for error in leaves(failed.value)] == [UnsafeError]
    (world,) = worlds
    assert world.bot.status.epoch == 1
    assert not world.told("order")
