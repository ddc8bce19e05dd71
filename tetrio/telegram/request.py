"""HTTP for python-telegram-bot on trio: its `BaseRequest`, done by httpx, which runs on the loop that is there.

The token is put into the URL here, at the last moment, and comes from nowhere else: the library is given a stand-in, so
that nothing it keeps, logs or raises can hold the real one. For the same reason no error of httpx leaves this module,
not even as the context of another. An answer is bounded in size and in time, and read here: what is not the JSON that
the Bot API promises is an error, not a surprise further up.

It does not retry and knows nothing of what is asked.
"""

from __future__ import annotations

import json
import re
from typing import Any

import trio

from tetrio.log import Secret, one_line, redact
from tetrio.net.clock import machine_s
from tetrio.net.http import httpx
from tetrio.net.trust import client_context
from tetrio.telegram.ptb import BaseRequest, RequestData, TelegramError, Update

STAND_IN = "0:hidden"
"""What the library takes for the token."""
_TOKEN = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{1,100}")
ANSWER_S = 5.0
LARGEST = 1 << 19  # bytes: above a page of 25 updates; parsing it holds up the loop for a few ms


class Unanswered(TelegramError):
    """There is no answer that can be used; `sent`: the request may have been carried out all the same."""

    def __init__(self, why: str, *, sent: bool) -> None:
        super().__init__(why)
        self.sent = sent


class Refusal(TelegramError):
    """The Bot API said no."""

    def __init__(
        self, code: int, text: str, *, retry_after_s: float | None = None, moved_to: int | None = None
    ) -> None:
        super().__init__(text)
        self.code, self.text = code, text
        self.retry_after_s = retry_after_s
        """For how long it wants to be left alone, s; None when it did not say."""
        self.moved_to = moved_to
        """The chat's new id, when a group became a supergroup."""


class Request(BaseRequest):
    """One pool of connections to the Bot API at `url`; closed by `shutdown`."""

    __slots__ = ("_client", "_token", "_url")

    def __init__(self, url: str, token: Secret, connections: int) -> None:
        self._url, self._token = url.rstrip("/"), token
        self._client = httpx.AsyncClient(
            timeout=None,  # `do_request` bounds the whole of it; httpx would bound each read alone
            # a connection for each request: one that has idled may be dead without saying so, and then nobody knows
            # whether the message arrived
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=0),
            follow_redirects=False,
            trust_env=False,
            verify=client_context(),
        )

    @property
    def read_timeout(self) -> float:
        """Seconds for a whole request, where the caller does not say."""
        return ANSWER_S

    async def initialize(self) -> None:
        """Nothing: the client connects when it is used."""

    async def shutdown(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """The JSON object in `payload`; Unanswered when there is none, without its text, which may hold anything."""
        try:
            found = json.loads(payload)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Unanswered(f"an answer of {len(payload)} bytes is no JSON object", sent=True)
        return found

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: Any = BaseRequest.DEFAULT_NONE,
        write_timeout: Any = BaseRequest.DEFAULT_NONE,
        connect_timeout: Any = BaseRequest.DEFAULT_NONE,
        pool_timeout: Any = BaseRequest.DEFAULT_NONE,
    ) -> tuple[int, bytes]:
        """Ask, within `read_timeout` s in all; (200, a body whose "ok" is true). Refusal, or Unanswered."""
        if not _TOKEN.fullmatch(self._token.reveal()):
            raise Refusal(401, "it does not look like one")
        endpoint = url.rpartition("/")[2]
        within_s = float(read_timeout) if isinstance(read_timeout, int | float) else ANSWER_S
        code, payload = await self._ask(endpoint, request_data, within_s)
        if code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise Unanswered(f"{endpoint}: HTTP {code}", sent=False)
        answer = self.parse_json_payload(payload)
        if code != httpx.codes.OK or answer.get("ok") is not True:
            raise _refusal(code, answer)
        if "result" not in answer:
            raise Unanswered(f"{endpoint}: an answer without a result", sent=True)
        return code, _readable_updates(answer) if endpoint == "getUpdates" else payload

    async def _ask(self, endpoint: str, request_data: RequestData | None, within_s: float) -> tuple[int, bytes]:
        sent = False

        async def trace(event: str, _: object) -> None:
            nonlocal sent
            sent = sent or event.endswith("send_request_headers.started")

        why = ""
        fields = request_data.json_parameters if request_data else None
        try:
            with trio.move_on_after(machine_s(within_s)) as scope:
                async with self._client.stream(
                    "POST",
                    f"{self._url}/bot{self._token.reveal()}/{endpoint}",
                    data=fields,
                    extensions={"trace": trace},
                ) as answer:
                    return answer.status_code, await _body(answer, scope)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            why = _kind_of(error)
        raise Unanswered(f"{endpoint}: {why or f'no usable answer within {within_s:g} s'}", sent=sent)


def _kind_of(error: BaseException) -> str:
    """Its class, and the system's own words where it is the system's: its text may hold the URL, and so the token."""
    inner = error
    while isinstance(inner, BaseExceptionGroup) or (inner.__cause__ or inner.__context__) is not None:
        if isinstance(inner, BaseExceptionGroup):
            inner = inner.exceptions[0]
        else:
            inner = inner.__cause__ or inner.__context__ or inner
    words = inner.strerror if isinstance(inner, OSError) else None
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


async def _body(answer: httpx.Response, scope: trio.CancelScope) -> bytes:
    """The body, as long as it is not too large; then `scope` is cancelled.

    Breaking off by an error would leave the generators that httpx has stacked up to the garbage collector; being
    cancelled, they end from the inside out.
    """
    body = b""
    async for chunk in answer.aiter_bytes():
        if len(body) + len(chunk) > LARGEST:
            scope.cancel()
        else:
            body += chunk
    return body


def _refusal(code: int, answer: dict[str, Any]) -> Refusal:
    told = answer.get("error_code")
    if code == httpx.codes.OK and isinstance(told, int):  # "ok": false under a 200
        code = told
    given = answer.get("parameters")
    parameters = given if isinstance(given, dict) else {}
    after, moved = parameters.get("retry_after"), parameters.get("migrate_to_chat_id")
    return Refusal(
        code,
        one_line(redact(str(answer.get("description") or f"HTTP {code}")[:2000]))[:200],  # a proxy may quote the URL
        retry_after_s=float(after) if isinstance(after, int) and not isinstance(after, bool) and after > 0 else None,
        moved_to=moved if isinstance(moved, int) else None,
    )


def _readable_updates(answer: dict[str, Any]) -> bytes:
    """The answer; an update that the library cannot read is reduced to its number, so that it does not block others."""
    result = answer["result"]
    if not isinstance(result, list):
        raise Unanswered("getUpdates: the result is no list", sent=True)
    numbered = [each for each in result if isinstance(each, dict) and _is_number(each.get("update_id"))]
    if result and not numbered:
        raise Unanswered("getUpdates: updates without a number", sent=True)
    kept = [each if _is_readable(each) else {"update_id": each["update_id"]} for each in numbered]
    return json.dumps({"ok": True, "result": kept}).encode()


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _is_readable(update: dict[str, Any]) -> bool:
    try:
        Update.de_json(update, None)
    except Exception:  # the library checks nothing: a wrong shape raises whatever it happens to raise
        return False
    return True
