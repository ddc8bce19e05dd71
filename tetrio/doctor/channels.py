"""The row about Telegram: whether its token is known and each chat can be reached. Nothing is written to anyone."""

from __future__ import annotations

from pathlib import Path

import msgspec
import trio

from tetrio import keys
from tetrio.doctor.rows import CONFIGURATION, Row, fail, ok, skip, warn
from tetrio.errors import TetrioError
from tetrio.faces import TelegramParams
from tetrio.log import Secret
from tetrio.net.clock import machine_s
from tetrio.net.dial import reason
from tetrio.net.http import httpx
from tetrio.venue import check_url

NAME = "telegram"
ANSWER_S = 5.0
ROW_S = 15.0
UNKNOWN_TOKEN = (401, 404)


class _Answer(msgspec.Struct):
    ok: bool
    description: str = ""
    error_code: int = 0
    result: dict[str, object] = {}


_decoder = msgspec.json.Decoder(_Answer)


async def telegram(params: TelegramParams) -> Row:
    """getMe, and getChat of each chat."""
    if not params.token_file:
        return skip(NAME, "not configured ([telegram] token_file)")
    try:
        check_url(params.url, ("https", "http"))
        token = keys.read_token(Path(params.token_file))
    except ValueError as error:
        return fail(NAME, f"[telegram] url = {params.url}: {error}", code=CONFIGURATION)
    except TetrioError as error:
        return fail(NAME, str(error), code=error.exit_code)
    try:
        with trio.fail_after(machine_s(ROW_S)):
            async with httpx.AsyncClient(timeout=machine_s(ANSWER_S), trust_env=False) as client:
                return await _look(client, params, token)
    except trio.TooSlowError:
        return fail(NAME, f"no answer within {ROW_S:g} s", "trading goes on without; look at this machine's network")
    except httpx.HTTPError as error:
        # its text may hold the URL, and the URL holds the token
        why = reason(error).replace(token.reveal(), "***")
        return fail(NAME, f"{httpx.URL(params.url).host}: {why}", "trading goes on without; look at the network")
    except msgspec.DecodeError:
        return fail(NAME, "an answer that is not the Bot API's", "check [telegram] url")


async def _look(client: httpx.AsyncClient, params: TelegramParams, token: Secret) -> Row:
    me = await _ask(client, params, token, "getMe")
    if not me.ok:
        if me.error_code in UNKNOWN_TOKEN:
            return fail(NAME, "the token is not known there", "get one from @BotFather into token_file", CONFIGURATION)
        return fail(NAME, f"getMe: {me.error_code} {me.description}", "try again later")
    name = f"@{me.result.get('username', '?')}"
    if not params.chats:
        return warn(NAME, f"{name} would tell nobody", "list the chats in [telegram] chats")
    shut = []
    for chat in params.chats:
        found = await _ask(client, params, token, "getChat", chat_id=str(chat))
        if not found.ok:
            shut.append(f"chat {chat}: {found.description}")
    if shut:
        return warn(NAME, f"{name}, but {'; '.join(shut)}", "write to the bot from there first, or correct the id")
    if not params.users:
        return warn(NAME, f"{name} tells {len(params.chats)}, obeys nobody", "list who may command in [telegram] users")
    return ok(NAME, f"{name}, {len(params.chats)} chat{'s' * (len(params.chats) > 1)} reachable")


async def _ask(client: httpx.AsyncClient, params: TelegramParams, token: Secret, method: str, **query: str) -> _Answer:
    answer = await client.get(f"{params.url.rstrip('/')}/bot{token.reveal()}/{method}", params=query)
    return _decoder.decode(answer.content)
