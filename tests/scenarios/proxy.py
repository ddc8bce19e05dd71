"""A network between a bot and its exchange, in a process of its own: it can be told to misbehave, or be killed.

    python -m tests.scenarios.proxy 41001=127.0.0.1:39001 41002=127.0.0.1:39002

Each argument is a port of its own and where what comes there goes. It says `{"ready": true}` and then obeys words, one
a line of standard input:

    delay S      what goes either way is S seconds late, in order
    cut          every connection ends, each way, after what is under way
    reset        every connection is reset
    half-open    every connection there is goes dead without a word, and stays so; new ones live
    no-requests  what comes for the exchange is lost, on every connection there is; it stays open and stays so
    no-replies   what the exchange says is lost, on every connection there is; what it is asked arrives
    dribble      what goes either way goes a few bytes at a time
    deaf         connections are taken and never answered
    refuse       nothing is listened to
    heal         everything is as it should be, but for connections that are dead already
"""

from __future__ import annotations

import json
import socket
import struct
import sys
from collections.abc import Awaitable, Callable

import attrs
import trio

LINGER = struct.pack("ii", 1, 0)  # close by RST
CHUNK = 65536
DRIBBLE, DRIBBLE_S = 40, 0.002  # 20 kB/s


@attrs.define(eq=False)
class Pair:
    """One connection: the client's end and the exchange's."""

    client: trio.SocketStream
    exchange: trio.SocketStream
    lost: set[trio.SocketStream] = attrs.Factory(set)
    """What goes there is lost."""

    @property
    def dead(self) -> bool:
        """Nothing goes either way."""
        return len(self.lost) == 2

    def reset(self) -> None:
        for stream in (self.client, self.exchange):
            if stream.socket.fileno() < 0:
                continue  # its pumps have just closed it
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
            stream.socket.close()

    async def cut(self) -> None:
        await trio.aclose_forcefully(self.client)
        await trio.aclose_forcefully(self.exchange)


class Proxy:
    """The whole network."""

    def __init__(self, routes: dict[int, tuple[str, int]]) -> None:
        self._routes = routes
        self._pairs: set[Pair] = set()
        self._late_s = 0.0
        self._deaf = self._dribbles = False
        self._listening: list[trio.CancelScope] = []
        self._listen_again = trio.Event()

    async def run(self) -> None:
        """Until standard input ends."""
        async with trio.open_nursery() as nursery:
            for port, target in self._routes.items():
                await nursery.start(self._serve, port, target, nursery)
            print(json.dumps({"ready": True}), flush=True)
            await self._obey()
            nursery.cancel_scope.cancel()

    async def _serve(
        self,
        port: int,
        target: tuple[str, int],
        nursery: trio.Nursery,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        async def handle(client: trio.SocketStream) -> None:
            await self._carry(client, target)

        while True:
            with trio.CancelScope() as listening:
                self._listening.append(listening)
                listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                await trio.serve_listeners(handle, listeners, handler_nursery=nursery)
            await self._listen_again.wait()

    async def _carry(self, client: trio.SocketStream, target: tuple[str, int]) -> None:
        if self._deaf:
            await trio.sleep_forever()
        try:
            exchange = await trio.open_tcp_stream(*target)
        except OSError:
            await trio.aclose_forcefully(client)
            return
        pair = Pair(client, exchange)
        self._pairs.add(pair)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, pair, client, exchange, nursery.cancel_scope)
                nursery.start_soon(self._pump, pair, exchange, client, nursery.cancel_scope)
        finally:
            self._pairs.discard(pair)
            await pair.cut()

    async def _pump(
        self, pair: Pair, source: trio.SocketStream, sink: trio.SocketStream, over: trio.CancelScope
    ) -> None:
        try:
            while data := await source.receive_some(CHUNK):
                if self._late_s:
                    await trio.sleep(self._late_s)
                await self._pass_on(pair, sink, data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # ended by the other pump, by the peer, or by a word
        if pair.dead:
            await trio.sleep_forever()  # nobody hears of the end either
        over.cancel()

    async def _pass_on(self, pair: Pair, sink: trio.SocketStream, data: bytes) -> None:
        while data and sink not in pair.lost:
            size = DRIBBLE if self._dribbles else len(data)
            await sink.send_all(data[:size])
            data = data[size:]
            if data:
                await trio.sleep(DRIBBLE_S)

    # -- words ------------------------------------------------------------------------------------------------------
    async def _obey(self) -> None:
        words: dict[str, Callable[[list[str]], Awaitable[None]]] = {
            "delay": self._delay, "cut": self._cut, "reset": self._reset, "half-open": self._half_open,
            "no-requests": self._no_requests, "no-replies": self._no_replies, "dribble": self._dribble,
            "deaf": self._go_deaf, "refuse": self._refuse, "heal": self._heal,
        }  # fmt: skip
        stdin = trio.wrap_file(sys.stdin)
        async for line in stdin:
            word, *arguments = line.split()
            await words[word](arguments)
            print(json.dumps({"done": word}), flush=True)

    async def _delay(self, arguments: list[str]) -> None:
        self._late_s = float(arguments[0])

    async def _cut(self, _: list[str]) -> None:
        for pair in tuple(self._pairs):
            await pair.cut()

    async def _reset(self, _: list[str]) -> None:
        for pair in tuple(self._pairs):
            pair.reset()

    async def _half_open(self, _: list[str]) -> None:
        for pair in self._pairs:
            pair.lost |= {pair.client, pair.exchange}

    async def _no_requests(self, _: list[str]) -> None:
        for pair in self._pairs:
            pair.lost.add(pair.exchange)

    async def _no_replies(self, _: list[str]) -> None:
        for pair in self._pairs:
            pair.lost.add(pair.client)

    async def _dribble(self, _: list[str]) -> None:
        self._dribbles = True

    async def _go_deaf(self, _: list[str]) -> None:
        self._deaf = True

    async def _refuse(self, _: list[str]) -> None:
        while self._listening:
            self._listening.pop().cancel()
        await self._reset([])

    async def _heal(self, _: list[str]) -> None:
        self._late_s, self._deaf, self._dribbles = 0.0, False, False
        again, self._listen_again = self._listen_again, trio.Event()
        again.set()


def main(arguments: list[str]) -> None:
    """Take the routes, and run."""
    routes: dict[int, tuple[str, int]] = {}
    for argument in arguments:
        port, _, target = argument.partition("=")
        host, _, target_port = target.rpartition(":")
        routes[int(port)] = (host, int(target_port))
    trio.run(Proxy(routes).run)


if __name__ == "__main__":
    main(sys.argv[1:])
