"""A service of this process, on a free port of the loopback address."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import uvicorn

from seg.configure.read import read_group
from seg.predict.api import settings_of
from seg.serve.app import application, service_of
from seg.serve.guard import Protocol
from seg.serve.service import Service
from seg.serve.settings import ServeSettings

ROOT = Path(__file__).parents[1]


@dataclass
class Served:
    port: int
    service: Service

    def ask(self, way: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by their names in small letters, and body of an answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(way, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def predict(self, data: bytes, name: str = "a.png", query: str = "", **headers: str) -> tuple[int, dict[str, str], bytes]:
        body, kind = form(data, name)
        return self.ask("POST", f"/predict{query}", body, {"Content-Type": kind, **headers})

    def fields(self, **fields: Any) -> tuple[int, dict[str, str], bytes]:
        return self.ask("POST", "/predict", json.dumps(fields), {"Content-Type": "application/json"})

    def raw(self, head: str) -> socket.socket:
        """A connection on which the start of a request was sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        connection.sendall(head.replace("\n", "\r\n").encode())
        return connection


def form(data: bytes, name: str = "a.png", field: str = "file") -> tuple[bytes, str]:
    """A multipart body of one file, and its type."""
    head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + data + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"


@contextmanager
def serving(*models: Path, overrides: tuple[str, ...] = (), protocol: Any = Protocol, **changed: Any) -> Iterator[Served]:
    """changed: keys of the section `serve`. overrides: of predict."""
    settings = ServeSettings.of(read_group(ROOT, "serve", [], "serve")).serve.model_copy(update=changed)
    service = service_of(models, settings_of(["runtime.progress=none", *overrides], ROOT), settings, Path("nowhere"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(application(service), http=protocol, lifespan="off", log_level="critical", server_header=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield Served(listening.getsockname()[1], service)
        finally:
            server.should_exit = True
            thread.join(20)
