"""What a stranger may send: each is answered with a clear 4xx, in time, and keeps nobody else waiting."""

import asyncio
import io
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from serving import Served, form, serving
from starlette.exceptions import HTTPException
from tiny import encoded, picture
from untrained import CONVOLUTION, untrained

from seg.data.decoders import declared_size
from seg.serve import fetch
from seg.serve.answers import safe_name
from seg.serve.guard import Protocol

TOKEN = "a secret of 24 characters"
IMAGE = encoded(picture(0, (24, 32)), ".png")


@pytest.fixture(autouse=True)
def _limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEG_MAX_PIXELS", "1")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "best.ckpt"
    untrained(path, network=CONVOLUTION)
    return path


@pytest.fixture
def served(model: Path) -> Iterator[Served]:
    with serving(model, max_bytes=100_000, max_pixels=10_000, timeout=2.0) as found:
        yield found
        assert found.predict(IMAGE)[0] == 200, "and the next one has its answer"


def detail(answer: tuple[int, dict[str, str], bytes]) -> str:
    """The line of an answer that refuses."""
    status, _, body = answer
    assert 400 <= status < 500, body
    said: str = json.loads(body)["detail"]
    assert "Traceback" not in said
    assert "\n" not in said
    return said


def png(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that declares so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("body", "kind", "status", "said"),
    [
        (b"x", "text/plain", 415, "expected multipart/form-data"),
        (b"{", "application/json", 400, "not JSON"),
        (b"[" * 90_000, "application/json", 400, "not JSON"),
        (b"[]", "application/json", 422, "give one of"),
        (b'{"image": 3}', "application/json", 422, "give one of"),
        (b'{"image": "a", "url": "b"}', "application/json", 422, "give one of"),
        (b'{"image": "?!"}', "application/json", 422, "not base64"),
        (b'{"image": "aGVsbG8="}', "application/json", 422, "is no PNG"),
        (b"x", "multipart/form-data", 400, "boundary"),
        (b"nothing of the kind", "multipart/form-data; boundary=x", 400, ""),
        (form(b"")[0], "multipart/form-data; boundary=x", 422, "is no PNG"),
        (form(IMAGE[:60])[0], "multipart/form-data; boundary=x", 422, "a.png: is cut off"),
        (form(IMAGE, field="other")[0], "multipart/form-data; boundary=x", 422, "give one of"),
        (b"file=../../etc/passwd", "application/x-www-form-urlencoded", 422, "give one of"),
    ],
    ids=["text", "half JSON", "deep JSON", "a list", "a number", "two at once", "no base64", "no image", "no boundary", "no parts",
         "empty", "cut", "another field", "a path"],
)  # fmt: skip
def test_a_body_that_is_no_request(served: Served, body: bytes, kind: str, status: int, said: str) -> None:
    answer = served.ask("POST", "/predict", body, {"Content-Type": kind})
    assert answer[0] == status
    assert said in detail(answer)


def test_settings_of_a_request_that_are_none(served: Served) -> None:
    for query, said in (
        ("?score_threshold=2", "score_threshold=2: "),
        ("?tolerance=-1", "tolerance=-1: "),
        ("?min_area=x", "min_area=x: "),
        ("?as=nothing", "as=nothing: expected one of coco"),
    ):
        assert said in detail(served.predict(IMAGE, query=query))


def test_a_body_over_the_limit_is_refused(served: Served) -> None:
    assert "more than 100,000 bytes" in detail(served.predict(bytes(150_000)))
    with served.raw(
        "POST /predict HTTP/1.1\nHost: a\nContent-Type: multipart/form-data; boundary=x\nContent-Length: 9000000\n\n"
    ) as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")


def test_an_upload_without_end_is_cut_off(served: Served) -> None:
    """Chunks without a Content-Length, as fast as they go; meanwhile others have their answers."""
    head = "POST /predict HTTP/1.1\nHost: a\nContent-Type: multipart/form-data; boundary=x\nTransfer-Encoding: chunked\n\n"
    with served.raw(head) as connection:
        ended, start = threading.Event(), form(b"")[0][:-9]
        connection.sendall(b"%x\r\n%s\r\n" % (len(start), start))

        def upload() -> None:
            try:
                while not ended.is_set():
                    connection.sendall(b"4000\r\n" + bytes(0x4000) + b"\r\n")
            except OSError:
                ended.set()

        thread = threading.Thread(target=upload)
        thread.start()
        try:
            assert served.predict(IMAGE)[0] == 200
            assert connection.recv(1000).startswith(b"HTTP/1.1 413")
            assert ended.wait(10), "the connection is closed"
        finally:
            ended.set()
            connection.close()
            thread.join(10)


@pytest.mark.parametrize("path", ["/predict", "/health"])
def test_a_slow_upload_ends(served: Served, path: str) -> None:
    """A byte now and then, for ever; /health never reads it."""
    head = f"POST {path} HTTP/1.1\nHost: a\nContent-Type: multipart/form-data; boundary=x\nContent-Length: 9000\n\n"
    with served.raw(head + form(b"")[0][:-9].decode().replace("\r", "")) as connection:
        start = time.monotonic()
        stopped = threading.Event()

        def drip() -> None:
            while not stopped.wait(0.1):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert served.predict(IMAGE)[0] == 200
            assert connection.recv(1000)[:12] == (b"HTTP/1.1 408" if path == "/predict" else b"HTTP/1.1 405")
            while connection.recv(1000):
                pass
            assert time.monotonic() - start < 8
        finally:
            stopped.set()
            thread.join(5)


def test_a_header_that_never_ends_is_given_up(model: Path) -> None:
    class Impatient(Protocol):
        FIRST = 0.5

    with serving(model, protocol=Impatient) as served, served.raw("GET /health HTTP/1.1\n") as connection:
        assert connection.recv(1000) == b""


@pytest.mark.parametrize(
    "bomb",
    [
        png(30_000, 30_000),
        b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + b"\0\0\0,\0\0\0\0" + struct.pack("<HH", 60_000, 60_000) + b"\0\x02\x02L\x01\0;",
        b"RIFF\x22\0\0\0WEBPVP8L\x16\0\0\0/" + (0x3FFF | 0x3FFF << 14).to_bytes(4, "little") + bytes(20),
        b"RIFF\x22\0\0\0WEBPVP8 \x16\0\0\0\x10\0\0\x9d\x01\x2a\xff\x3f\xff\x3f" + bytes(20),
    ],
    ids=["png", "gif", "lossless webp", "webp"],
)
def test_image_bombs_are_refused_before_they_are_decoded(served: Served, bomb: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seg.data.decoders.cv2.imdecode", lambda *_: pytest.fail("it was decoded"))
    answer = served.predict(bomb)
    monkeypatch.undo()
    assert answer[0] == 413
    assert "than" in detail(answer)
    assert "pixels" in detail(answer)
    assert "SEG_MAX_PIXELS" not in detail(answer)


def test_arrays_have_no_more_pixels_either(served: Served) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros((110, 100, 3), np.uint8))
    assert "has 100x110 pixels, more than the 10,000" in detail(served.predict(file.getvalue(), "a.npy"))


@pytest.mark.parametrize("quality", [80, 101])
def test_the_size_of_a_webp_is_in_its_header(quality: int) -> None:
    """Lossy and lossless, as OpenCV writes them."""
    done, data = cv2.imencode(".webp", picture(0, (37, 53)), [cv2.IMWRITE_WEBP_QUALITY, quality])
    assert done
    assert declared_size(data.tobytes()) == (37, 53)


def test_without_the_token_nothing_is_told(model: Path) -> None:
    with serving(model, token=TOKEN) as served:
        for given in ({}, {"Authorization": "Bearer "}, {"Authorization": TOKEN}, {"Authorization": f"Bearer {TOKEN}x"}):
            answer = served.predict(IMAGE, **given)
            assert answer[0] == 401
            assert answer[1]["www-authenticate"] == "Bearer"
            assert "Bearer TOKEN" in detail(answer)
        assert [served.ask("GET", path)[0] for path in ("/metrics", "/model", "/samples/0", "/anything")] == [401] * 4
        assert [served.ask("GET", path)[0] for path in ("/", "/docs", "/openapi.json", "/health")] == [200] * 4
        assert served.predict(IMAGE, Authorization=f"Bearer {TOKEN}")[0] == 200


def test_the_token_is_compared_in_constant_time(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr("seg.serve.guard.hmac.compare_digest", lambda *pair: bool(compared.append(pair)))
    with serving(model, token=TOKEN) as served:
        served.ask("GET", "/model", headers={"Authorization": "Bearer guess"})
    assert compared == [(b"Bearer guess", f"Bearer {TOKEN}".encode())]


def test_too_many_at_once_are_told_to_come_again(model: Path) -> None:
    with serving(model, waiting=1) as served:
        served.service.waiting = 1
        status, headers, _body = served.predict(IMAGE)
        assert (status, headers["retry-after"]) == (503, "1")
        served.service.waiting = 0
        assert served.predict(IMAGE)[0] == 200


def test_a_prediction_that_takes_too_long_is_given_up(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(model, timeout=0.3) as served:
        stream = served.service.predictor.stream
        served.service.predictor.stream = lambda *given: (time.sleep(1), stream(*given))[1]  # type: ignore[method-assign]
        assert served.predict(IMAGE)[0] == 503
        assert served.service.waiting == 0


def test_a_fault_of_ours_is_told_without_its_traceback(model: Path) -> None:
    with serving(model) as served:
        served.service.predictor.stream = lambda *_: 1 / 0  # type: ignore[method-assign]
        status, _, body = served.predict(IMAGE)
        assert (status, body) == (500, b"Internal Server Error")


def test_no_file_of_the_server_can_be_named(served: Served) -> None:
    for path in ("/samples/../../etc/passwd", "/samples/..%2f..%2fetc%2fpasswd", "/etc/passwd", "/assets/try.js", "/%2e%2e/"):
        assert served.ask("GET", path)[0] in (404, 422)
    for given in ("../../etc/passwd", "..\\..\\boot.ini", "a\0b.png", "x" * 500, "..", "", "%2e%2e%2f", "ä b.png"):
        name = safe_name(given)
        assert "/" not in name
        assert "\\" not in name
        assert name.strip(".")
        assert len(name.encode()) < 200
    answer = served.predict(IMAGE, "../../../tmp/evil.png", "?as=labelme")
    assert json.loads(answer[2])["imagePath"] == "evil.png"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "::1", "::", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
     "2001:0:1::1", "ff02::1"],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not fetch.is_public(address)


def test_addresses_that_are_public_unless_they_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    assert fetch.is_public("93.184.215.14")
    assert fetch.is_public("2606:4700::1111")
    monkeypatch.setattr(fetch.psutil, "net_if_addrs", lambda: {"eth0": [SimpleNamespace(address="93.184.215.14")]})
    assert not fetch.is_public("93.184.215.14")
    assert not fetch.is_public("::ffff:93.184.215.14")


def refused(url: str, hosts: list[str], addresses: list[str] | None = None, monkeypatch: pytest.MonkeyPatch | None = None) -> str:
    if monkeypatch and addresses:
        monkeypatch.setattr(fetch, "addresses_of", lambda *_: asyncio.sleep(0, addresses))
    with pytest.raises(HTTPException) as error:
        asyncio.run(fetch.Fetcher(hosts, 1000, 2).fetch(url))
    return f"{error.value.status_code} {error.value.detail}"


def test_hosts_that_are_not_in_the_list(served: Served) -> None:
    assert "serve.hosts" in detail(served.fields(url="http://example.org/a.png"))
    for url in ("http://evil.org/", "http://example.org.evil.org/", "http://example.org@evil.org/", "http://example.org:22/", "http:///a"):
        assert refused(url, ["example.org"]).startswith("403"), url
    for url in ("file:///etc/passwd", "ftp://example.org/", "nothing", "http://[::1", "http://example.org:99999/"):
        assert refused(url, ["example.org"]).startswith("400"), url


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["93.184.215.14", "10.0.0.1"], ["::ffff:192.168.0.1"]], ids=str)
def test_a_host_with_any_address_that_is_not_public(addresses: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch.httpx.AsyncClient, "stream", lambda *_, **__: pytest.fail("it was connected to"))
    assert refused("http://example.org/a.png", ["example.org"], addresses, monkeypatch).startswith("403 url: its host has an address")


class Other(BaseHTTPRequestHandler):
    """Another host: a file, a redirect, a file without end."""

    def do_GET(self) -> None:
        assert self.headers["Host"] == f"images.example.org:{self.server.server_port}"  # type: ignore[attr-defined]
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1/")
            self.end_headers()
            return
        self.send_response(200)
        self.end_headers()
        try:
            while self.path == "/endless":
                self.wfile.write(bytes(1000))
            while self.path == "/slow":
                self.wfile.write(b"x")
                time.sleep(0.1)
            self.wfile.write(IMAGE)
        except OSError:
            pass

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on the loopback address that stands for a public one: its name leads to it at the first look, and nowhere at the second."""
    looked: list[str] = []

    def once(host: str, port: int) -> object:
        looked.append(host)
        return asyncio.sleep(0, ["127.0.0.1"] if len(looked) == 1 else ["203.0.113.1"])

    monkeypatch.setattr(fetch, "addresses_of", once)
    monkeypatch.setattr(fetch, "is_public", lambda address: address == "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), Other) as server, closing(socket.socket()):
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"images.example.org:{server.server_port}"
        server.shutdown()


def test_a_file_of_an_allowed_host_is_predicted(model: Path, other: str) -> None:
    """The connection goes to the address that was looked at; the name is not resolved again."""
    with serving(model, hosts=[other]) as served:
        status, _, body = served.fields(url=f"http://{other}/scan.png?x=1")
        assert status == 200
        assert json.loads(body)["images"][0]["file_name"] == "scan.png"


@pytest.mark.parametrize(("path", "status"), [("moved", 422), ("endless", 413), ("slow", 408)])
def test_another_host_that_does_harm(model: Path, other: str, path: str, status: int) -> None:
    with serving(model, hosts=[other], max_bytes=100_000, timeout=2.0) as served:
        answer = served.fields(url=f"http://{other}/{path}")
        assert answer[0] == (503 if path == "slow" else status)
        assert served.predict(IMAGE)[0] == 200
