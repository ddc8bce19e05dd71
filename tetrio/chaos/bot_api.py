"""A Bot API server, as much of it as is used here: HTTP on loopback or on the simulated network, faults as verbs.

It keeps what was written to it, message by message with every edit, and hands out updates by long polling. Faults are
context managers: `with api.flooding(7):`, `async with api.down():`; an answer that is a lie is a fault like any other.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import parse_qs

import attrs
import h11
import trio

from tetrio.net.closing import hang_up

TOKEN = "123456789:CANARY-aaaaaaaaaaaaaaaaaaaaaaaaaaaaa"  # noqa: S105 - of nobody's bot
NAME = "tetrio_test_bot"
Body = dict[str, Any]


@attrs.frozen
class Reply:
    """What goes back: bytes under a status; `hangs` sends nothing, `cut_at` hangs up in the middle."""

    status: int = 200
    body: bytes = b""
    delay_s: float = 0.0
    hangs: bool = False
    cut_at: int | None = None


@attrs.frozen
class Call:
    """One request."""

    method: str
    fields: dict[str, str]
    at: float


@attrs.define
class Written:
    """One message, as the chat shows it."""

    chat: int
    number: int
    texts: list[str]
    """As sent, then as edited."""
    at: list[float]
    buttons: list[tuple[str, str]]
    quiet: bool

    @property
    def text(self) -> str:
        """As it reads now."""
        return self.texts[-1]


Fault = Callable[[Call], Reply | None]
"""What to answer instead; None lets the call through."""


def ok(result: object) -> Reply:
    """A success."""
    return Reply(body=json.dumps({"ok": True, "result": result}).encode())


def error(code: int, description: str, **parameters: object) -> Reply:
    """A refusal as the Bot API words it."""
    body: Body = {"ok": False, "error_code": code, "description": description}
    if parameters:
        body["parameters"] = parameters
    return Reply(status=code, body=json.dumps(body).encode())


class FakeBotApi:
    """The server; `serving` runs it."""

    def __init__(self, date_s: Callable[[], float], token: str = TOKEN) -> None:
        self.token, self._date_s = token, date_s
        self.port = 0
        self.calls: list[Call] = []
        self.written: list[Written] = []
        self.notes: list[str] = []
        self.closed_chats: set[int] = set()
        self._updates: list[Body] = []
        self._numbers, self._messages = itertools.count(5000), itertools.count(1)
        self._faults: list[Fault] = []
        self._news = trio.lowlevel.ParkingLot()
        self._wanted, self._listens, self._ended = trio.Event(), trio.Event(), trio.Event()
        self._wanted.set()
        self._listening = trio.CancelScope()

    @property
    def url(self) -> str:
        """What goes into `telegram.url`."""
        return f"http://127.0.0.1:{self.port}"

    # -- what a test looks at -------------------------------------------------------------------------------------
    def texts(self, chat: int | None = None) -> list[str]:
        """Messages as they read now, in the order of their first sending."""
        return [each.text for each in self.written if chat in (None, each.chat)]

    def called(self, method: str) -> list[Call]:
        """The calls of one method."""
        return [call for call in self.calls if call.method == method]

    async def wait_for(self, words: str, *, chat: int | None = None, within_s: float = 60.0) -> Written:
        """The newest message that reads `words` somewhere, as soon as there is one."""

        def found() -> list[Written]:
            return [each for each in self.written if words in each.text and chat in (None, each.chat)]

        await self.wait_until(lambda: bool(found()), within_s=within_s)
        return found()[-1]

    async def wait_until(self, holds: Callable[[], bool], *, within_s: float = 60.0) -> None:
        """Until something that was written, or said, makes it so."""
        with trio.fail_after(within_s):
            while not holds():
                await self._news.park()

    # -- people ---------------------------------------------------------------------------------------------------
    def say(self, chat: int, user: int, text: str, *, age_s: float = 0.0, more: Body | None = None) -> int:
        """Somebody writes; the update's number. `more` goes into the message as it is."""
        message = {
            "message_id": next(self._messages),
            "date": int(self._date_s() - age_s),
            "chat": self._chat(chat),
            "from": {"id": user, "is_bot": False, "first_name": "A"},
            "text": text,
        }
        return self.update({"message": message | (more or {})})

    def press(self, user: int, written: Written, label: str) -> int:
        """Somebody presses a button."""
        carries = next(each for name, each in written.buttons if name.startswith(label))
        message = {"message_id": written.number, "date": int(self._date_s()), "chat": self._chat(written.chat)}
        person = {"id": user, "is_bot": False, "first_name": "A"}
        query = {"id": f"p{next(self._messages)}", "from": person, "chat_instance": "1", "data": carries}
        return self.update({"callback_query": query | {"message": message}})

    def update(self, body: Body) -> int:
        """Any update at all; its number."""
        number = next(self._numbers)
        self._updates.append({"update_id": number, **body})
        self._stir()
        return number

    @staticmethod
    def _chat(chat: int) -> Body:
        return {"id": chat, "type": "private", "first_name": "A"} if chat > 0 else {
            "id": chat, "type": "group", "title": "G"
        }  # fmt: skip

    # -- faults ---------------------------------------------------------------------------------------------------
    @contextmanager
    def faulty(self, fault: Fault, *methods: str) -> Iterator[None]:
        """`fault` for these methods; for all when none is named."""

        def only(call: Call) -> Reply | None:
            return fault(call) if not methods or call.method in methods else None

        self._faults.append(only)
        self._stir()
        try:
            yield
        finally:
            self._faults.remove(only)

    def answering(self, reply: Reply, *methods: str) -> Any:
        """The same reply to everything."""
        return self.faulty(lambda _: reply, *methods)

    def slow(self, seconds: float, *methods: str) -> Any:
        """It does what it is asked, and says so late."""
        return self.faulty(lambda call: attrs.evolve(self._act(call), delay_s=seconds), *methods)

    def hanging(self, *methods: str) -> Any:
        """It takes requests and never answers."""
        return self.answering(Reply(hangs=True), *methods)

    def flooding(self, after: object, *methods: str) -> Any:
        """Everything is too much."""
        text = f"Too Many Requests: retry after {after}"
        return self.answering(error(429, text, retry_after=after), *methods)

    def broken(self, *methods: str) -> Any:
        """A proxy in front of it has lost it."""
        return self.answering(Reply(502, b"<html><body>502 Bad Gateway</body></html>"), *methods)

    def truncated(self, *methods: str) -> Any:
        """It acts, and its answer ends in the middle."""
        return self.faulty(lambda call: attrs.evolve(self._act(call), cut_at=9), *methods)

    def lying(self, result: object, *methods: str) -> Any:
        """It says ok, with something else than was promised."""
        return self.answering(ok(result), *methods)

    @asynccontextmanager
    async def down(self) -> AsyncIterator[None]:
        """Nothing listens, and every connection is gone."""
        self._wanted, self._listens = trio.Event(), trio.Event()
        self._listening.cancel()
        await self._ended.wait()
        try:
            yield
        finally:
            self._wanted.set()
            await self._listens.wait()

    # -- the server -----------------------------------------------------------------------------------------------
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled, on one port throughout."""
        while True:
            await self._wanted.wait()
            listeners = await trio.open_tcp_listeners(self.port, host="127.0.0.1")
            self.port = listeners[0].socket.getsockname()[1]
            self._ended, self._listening = trio.Event(), trio.CancelScope()
            self._listens.set()
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            with self._listening:
                await trio.serve_listeners(self.serve, listeners)
            self._ended.set()

    async def serve(self, stream: trio.abc.Stream) -> None:
        """One connection, until it is answered."""
        peer = h11.Connection(h11.SERVER)
        try:
            target, body = await _request(peer, stream)
            await self._answer(peer, stream, target.decode(), body)
        except (trio.BrokenResourceError, h11.RemoteProtocolError, EOFError):
            pass  # the client has hung up, as one does that has waited for too long
        finally:
            await hang_up(stream)

    async def _answer(self, peer: h11.Connection, stream: trio.abc.Stream, target: str, body: bytes) -> None:
        _, token, method = target.split("/", 2)
        fields = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        call = Call(method, fields, trio.current_time())
        self.calls.append(call)
        if token != f"bot{self.token}":
            reply = error(401, "Unauthorized")
        else:
            faults = (found for fault in reversed(self._faults) if (found := fault(call)) is not None)
            reply = next(faults, None) or (await self._poll(call) if method == "getUpdates" else self._act(call))
        if reply.hangs:
            await trio.sleep_forever()
        await trio.sleep(reply.delay_s)
        head = [("Content-Length", str(len(reply.body))), ("Connection", "close")]
        data = peer.send(h11.Response(status_code=reply.status, headers=head)) or b""
        await stream.send_all(data + reply.body[: reply.cut_at])

    async def _poll(self, call: Call) -> Reply:
        offset, most = int(call.fields.get("offset", 0)), int(call.fields.get("limit", 100))
        self._updates = [each for each in self._updates if each["update_id"] >= offset]
        with trio.move_on_after(int(call.fields.get("timeout", 0))):
            faults = len(self._faults)
            while not self._updates and len(self._faults) == faults:
                await self._news.park()
        return ok(self._updates[:most])

    def _act(self, call: Call) -> Reply:
        match call.method:
            case "getMe":
                return ok({"id": 1, "is_bot": True, "first_name": "t", "username": NAME})
            case "deleteWebhook":
                return ok(True)
            case "answerCallbackQuery":
                self.notes.append(call.fields["text"])
                return ok(True)
            case "sendMessage":
                return self._send(call)
            case "editMessageText":
                return self._edit(call)
            case "getUpdates":
                return ok([])
        return error(404, "Not Found")

    def _send(self, call: Call) -> Reply:
        chat, text = int(call.fields["chat_id"]), call.fields["text"]
        if chat in self.closed_chats:
            return error(400, "Bad Request: chat not found")
        if len(text.encode("utf-16-le")) > 2 * 4096:
            return error(400, "Bad Request: message is too long")
        rows = json.loads(call.fields.get("reply_markup", '{"inline_keyboard": []}'))["inline_keyboard"]
        buttons = [(each["text"], each["callback_data"]) for row in rows for each in row]
        quiet = call.fields.get("disable_notification") == "true"
        written = Written(chat, next(self._messages), [text], [trio.current_time()], buttons, quiet)
        self.written.append(written)
        self._stir()
        return ok(self._shown(written))

    def _edit(self, call: Call) -> Reply:
        number = int(call.fields["message_id"])
        written = next((each for each in self.written if each.number == number), None)
        if written is None:
            return error(400, "Bad Request: message to edit not found")
        if written.text == call.fields["text"]:
            return error(400, "Bad Request: message is not modified: specified new message content is the same")
        written.texts.append(call.fields["text"])
        written.at.append(trio.current_time())
        written.buttons.clear()
        self._stir()
        return ok(self._shown(written))

    def _shown(self, written: Written) -> Body:
        return {
            "message_id": written.number, "date": int(self._date_s()), "chat": self._chat(written.chat),
            "text": written.text,
        }  # fmt: skip

    def delete(self, written: Written) -> None:
        """Somebody deletes a message of the bot's."""
        self.written.remove(written)

    def _stir(self) -> None:
        self._news.unpark_all()


@asynccontextmanager
async def serving(date_s: Callable[[], float], token: str = TOKEN) -> AsyncIterator[FakeBotApi]:
    """A server for as long as the block lasts."""
    async with trio.open_nursery() as nursery:
        api = FakeBotApi(date_s, token)
        await nursery.start(api.run)
        yield api
        nursery.cancel_scope.cancel()


async def _request(peer: h11.Connection, stream: trio.abc.Stream) -> tuple[bytes, bytes]:
    target, body = b"", b""
    while True:
        event = peer.next_event()
        if event is h11.NEED_DATA:
            peer.receive_data(bytes(await stream.receive_some(65536)))
        elif isinstance(event, h11.Request):
            target = event.target
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return target, body
        else:
            raise EOFError
