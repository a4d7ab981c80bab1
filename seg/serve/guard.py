"""What every request passes first: the token, limits of size and time, and a count of the answers. As an ASGI application
(https://asgi.readthedocs.io) around another."""

import asyncio
import hmac
from contextlib import suppress
from time import perf_counter
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from seg.serve.metrics import ANSWERS, SECONDS
from seg.serve.settings import Serve

OPEN = ("/", "/docs", "/openapi.json", "/health")  # what needs no token: it tells nothing of the model
LINGER = 1.0  # seconds for which the rest of a refused upload is read and thrown away, so that its sender reads the answer
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob:; connect-src 'self'"
HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"), (b"content-security-policy", POLICY.encode())]


class Guard:
    """Answers 401 without the token, 413 for a body over `max_bytes`, 408 for one that takes longer than `timeout`, and 503 where the
    answer does. A body that was not read to its end closes the connection."""

    def __init__(self, app: Any, settings: Serve) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        await _Request(self.settings, scope, receive, send).answer(self.app)


class _Request:
    def __init__(self, settings: Serve, scope: Any, receive: Any, send: Any) -> None:
        self.settings, self.scope, self.wire, self.out = settings, scope, receive, send
        self.headers = dict(scope["headers"])
        self.length = int(self.headers.get(b"content-length", b"0"))  # h11 has refused what is no number
        self.unread = self.length > 0 or b"transfer-encoding" in self.headers
        self.read, self.started = 0, False

    async def answer(self, app: Any) -> None:
        start, limit = perf_counter(), self.settings.timeout
        try:
            async with asyncio.timeout(limit):
                if self.scope["path"] in OPEN or self._has_token():
                    await app(self.scope, self.receive, self.send)
                else:
                    await self._refuse(401, "give the token, as in Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})
        except TimeoutError:
            if self.started:
                raise  # what is said already cannot be taken back; uvicorn closes the connection
            late = (408, f"the request took longer than {limit:g} s to arrive") if self.unread else (503, f"took longer than {limit:g} s")
            await self._refuse(*late)
        finally:
            SECONDS.observe(perf_counter() - start)

    def _has_token(self) -> bool:
        token = self.settings.token
        given = self.headers.get(b"authorization", b"")
        return token is None or hmac.compare_digest(given, f"Bearer {token}".encode())

    async def _refuse(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        await JSONResponse({"detail": detail}, status, headers)(self.scope, self.receive, self.send)

    async def receive(self) -> Any:
        most = self.settings.max_bytes
        if self.length > most or self.read > most:
            raise HTTPException(413, f"the request has more than {most:,} bytes")
        message = await self.wire()
        if message["type"] == "http.request":
            self.read += len(message.get("body", b""))
            self.unread = message.get("more_body", False)
        return message if self.read <= most else await self.receive()

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            ANSWERS.labels(str(message["status"])).inc()
            message["headers"] = [*message.get("headers", ()), *HEADERS]
            if self.unread:
                await self._drop_rest()
                message["headers"].append((b"connection", b"close"))
        await self.out(message)

    async def _drop_rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while (message := await self.wire())["type"] == "http.request" and message.get("more_body"):
                    pass


class Protocol(H11Protocol):
    """Closes a connection on which no request has begun in time: a client may send its headers one byte a minute."""

    FIRST = 15.0  # seconds

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.loop.call_later(self.FIRST, lambda: self.cycle or transport.close())
