"""A tool server with WebSockets, of other hands: aiohttp's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ssl import SSLContext

from aiohttp import WSMsgType, web

LARGE_BYTES = 2 * 1024 * 1024


class Sockets:
    """Below /base, every path has one that says what it hears, in capitals where it is text. `close` is answered by
    code 4001, `drop` by nothing."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[web.Request] = []
        self.ended: list[int | None] = []
        """Close codes, as the server got them."""
        self.refuses = 0
        """With this status."""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.refuses:
            return web.json_response({"why": "not for you"}, status=self.refuses)
        socket = web.WebSocketResponse(protocols=("notes",), max_msg_size=2 * LARGE_BYTES)
        socket.headers["Set-Cookie"] = "a=b"
        await socket.prepare(request)
        async for heard in socket:
            if heard.type is WSMsgType.BINARY:
                await socket.send_bytes(heard.data)
            elif heard.data == "close":
                await socket.close(code=4001)
            elif heard.data == "drop" and request.transport is not None:
                request.transport.abort()
            else:
                await socket.send_str(heard.data.upper())
        self.ended.append(socket.close_code)
        return socket


@asynccontextmanager
async def sockets(tls: SSLContext | None = None) -> AsyncIterator[Sockets]:
    made = Sockets()
    app = web.Application()
    app.router.add_route("*", "/base/{rest:.*}", made.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    addresses = runner.addresses
    made.port = addresses[0][1]
    try:
        yield made
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)
