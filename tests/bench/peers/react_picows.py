"""From tick to order with picows and msgspec: `react_picows.py STREAM_URL WS_API_URL`."""

from __future__ import annotations

import asyncio
import sys

import msgspec
import picows


class Book(msgspec.Struct, gc=False):
    u: int
    b: str
    a: str


class Line(msgspec.Struct, gc=False):
    stream: str
    data: msgspec.Raw


class Request(msgspec.Struct):
    id: int
    method: str
    params: dict[str, str]


class Api(picows.WSListener):  # type: ignore[misc]  # its types are not here
    """Answers are let go by."""


class Ticks(picows.WSListener):  # type: ignore[misc]  # its types are not here
    """Each bookTicker makes an order at once."""

    def __init__(self, api: picows.WSTransport) -> None:
        self._api, self._number = api, 0
        self._line, self._book = msgspec.json.Decoder(Line).decode, msgspec.json.Decoder(Book).decode
        self._encode = msgspec.json.Encoder().encode

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type is not picows.WSMsgType.TEXT:
            return
        line = self._line(frame.get_payload_as_memoryview())
        if not line.stream.endswith("@bookTicker"):
            return
        book = self._book(line.data)
        self._number += 1
        params = {
            "symbol": "ETHFDUSD",
            "side": "SELL",
            "type": "LIMIT_MAKER",
            "price": book.a,
            "quantity": "0.1",
            "newClientOrderId": f"tt-tick-{book.u}",
        }
        self._api.send(picows.WSMsgType.TEXT, self._encode(Request(self._number, "order.place", params)))


async def run(stream: str, api: str) -> None:
    orders, _ = await picows.ws_connect(Api, api)
    ticks, _ = await picows.ws_connect(lambda: Ticks(orders), stream)
    await ticks.wait_disconnected()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2]))
