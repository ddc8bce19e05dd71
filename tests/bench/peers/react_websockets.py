"""From tick to order with websockets, json and dictionaries: `react_websockets.py STREAM_URL WS_API_URL`."""

from __future__ import annotations

import asyncio
import json
import sys

from websockets.asyncio.client import ClientConnection, connect


async def drain(api: ClientConnection) -> None:
    async for _ in api:
        pass


async def run(stream: str, api: str) -> None:
    async with connect(api, compression=None) as orders, connect(stream, compression=None) as ticks:
        reading = asyncio.create_task(drain(orders))
        number = 0
        async for text in ticks:
            line = json.loads(text)
            if not line["stream"].endswith("@bookTicker"):
                continue
            number += 1
            params = {
                "symbol": "ETHFDUSD",
                "side": "SELL",
                "type": "LIMIT_MAKER",
                "price": line["data"]["a"],
                "quantity": "0.1",
                "newClientOrderId": f"tt-tick-{line['data']['u']}",
            }
            await orders.send(json.dumps({"id": number, "method": "order.place", "params": params}))
        await reading


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1], sys.argv[2]))
