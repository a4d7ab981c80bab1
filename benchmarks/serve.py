"""The service under load: wrong answers, lost requests, memory, times of answers, and throughput beside the same network in a loop.

    python benchmarks/serve.py artifacts/train/best.ckpt data/prepared/test/images --requests 2000

Clients ask `seg serve` on the loopback address, each for one image after another over one connection. One request in ten is broken: no
image, a cut image, a bomb, a wrong field, or a body that is too long. An answer is wrong where it is not byte for byte what the same
code gives without the service; with --batch, scores may differ by 1e-5. A broken request is wrong where its answer
is not 4xx. A request is lost where no answer comes.

"network": the same predictor in a loop in this process, one decoded image after another. "loop": the same with decoding and writing of
the answer. Clients and server share the cores that this process may use. A ratio is that of good answers a second; by processor time it is
that of what the loop and the server use for an image, without the clients, and other programs change it little. At the end the server
is killed and started again: the time to the first answer.
"""

import argparse
import json
import os
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import zlib
from http.client import HTTPConnection
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import Any, NamedTuple

import psutil

ROOT = Path(__file__).resolve().parents[1]
BROKEN = 10  # one request in so many
FOLDER = tempfile.TemporaryDirectory()
WARM = 100  # requests before memory is read for the first time


class Rate(NamedTuple):
    """images: a second. processor: seconds of it for an image."""

    images: float
    processor: float

    def __str__(self) -> str:
        return f"{self.images:.1f} images/s, {1000 * self.processor:.1f} ms of processor time an image"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path, help="a folder of images")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batch", type=int, help="as serve.batch; default: auto")
    parser.add_argument("--side", type=int, help="enlarge the images to so many pixels in height and width")
    parser.add_argument("--answer", default="rle", help="the kind of answer: rle, labelme, png, ...")
    given = parser.parse_args()
    files = sorted(path for path in given.images.iterdir() if path.is_file())[:200]
    if given.side:
        files = [enlarged(path, given.side) for path in files[:50]]
    expected, rates = loops(given, files)
    print(f"network in a loop: {rates[0]}; with decoding and writing: {rates[1]}", flush=True)
    server, port, _ = start(given)
    try:
        load(given, files, expected, rates, server, port)
        server.send_signal(signal.SIGKILL)
        server.wait()
        begin = perf_counter()
        server, port, listening = start(given)
        status, _ = ask(HTTPConnection("127.0.0.1", port), *request(files[0], given.answer))
        assert status == 200
        print(f"killed and started again: listens after {listening:.1f} s, first answer after {perf_counter() - begin:.1f} s")
    finally:
        server.terminate()
        server.wait()


def enlarged(path: Path, side: int) -> Path:
    """A copy of an image, in a folder that is removed at the end."""
    import cv2

    place = Path(FOLDER.name) / f"{path.stem}.png"
    cv2.imwrite(str(place), cv2.resize(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), (side, side), interpolation=cv2.INTER_CUBIC))
    return place


def loops(given: argparse.Namespace, files: list[Path]) -> tuple[list[bytes], tuple[Rate, Rate]]:
    """What each image's answer is, and images a second of the network alone, and with decoding and writing."""
    import seg
    from seg.serve.answers import answer, named, pixels_of

    predictor = seg.load(given.model)
    facts, settings = predictor.network.facts, predictor.settings
    output = named(given.answer, facts)

    def whole(path: Path) -> bytes:
        image = pixels_of(path.read_bytes(), path.name, facts)
        return answer(output, path.name, image, next(predictor.stream([image])), settings, facts).content

    images = [pixels_of(path.read_bytes(), path.name, facts) for path in files]
    for image in images[:10]:
        predictor.predict(image)
    begin, used = perf_counter(), process_time()
    for image in images:
        predictor.predict(image)
    alone = Rate(len(images) / (perf_counter() - begin), (process_time() - used) / len(images))
    for number in range(0, len(images), 8):
        predictor.predict(images[number : number + 8])  # the first round is for what is prepared when it is first needed
    used = process_time()
    for number in range(0, len(images), 8):
        predictor.predict(images[number : number + 8])
    print(f"batches of 8: {(process_time() - used) / len(images) / alone.processor:.2f} of the processor time of images one by one")
    begin, used = perf_counter(), process_time()
    expected = [whole(path) for path in files]
    return expected, (alone, Rate(len(files) / (perf_counter() - begin), (process_time() - used) / len(files)))


def start(given: argparse.Namespace) -> tuple[subprocess.Popen[str], int, float]:
    """A server, its port, and the seconds until it said that it listens."""
    words = [sys.executable, "-m", "seg", "serve", str(given.model), "serve.port=0", f"serve.workers={given.workers}"]
    words += [f"serve.batch={given.batch}"] if given.batch else []
    begin = perf_counter()
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    assert server.stdout
    for line in server.stdout:
        if "at http://127.0.0.1:" in line:
            port = int(line.partition("127.0.0.1:")[2].partition(",")[0])
            return server, port, perf_counter() - begin
    raise SystemExit("the server did not start")


def form(data: bytes, name: str, field: str = "file") -> bytes:
    return f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode() + data + b"\r\n--x--\r\n"


def request(path: Path, kind: str) -> tuple[str, bytes]:
    return f"/predict?as={kind}", form(path.read_bytes(), path.name)


def broken(number: int, path: Path, kind: str) -> tuple[str, bytes]:
    """One of five kinds of requests that are to be refused."""
    data = path.read_bytes()
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + bytes(40) + b"\0\0\0\0IEND"
    bodies = [form(b"no image", "a.png"), form(data[: len(data) // 2], "cut.png"), form(bomb, "bomb.png"), form(data, "a.png", "other")]
    return f"/predict?as={kind}", ([*bodies, form(bytes(20100000), "long.png")])[number % 5]


def ask(connection: HTTPConnection, place: str, body: bytes) -> tuple[int, bytes]:
    connection.request("POST", place, body, {"Content-Type": "multipart/form-data; boundary=x"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def same(found: bytes, expected: bytes) -> bool:
    """Whether two answers are JSON of which only scores differ, by 1e-5 at most."""
    try:
        return near(json.loads(found), json.loads(expected))
    except ValueError:
        return False


def near(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(near(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(near, one, other))
    return abs(one - other) <= 1e-5 if isinstance(one, float) and isinstance(other, float) else bool(one == other)


def used_by(server: subprocess.Popen[str]) -> tuple[int, float]:
    """Bytes of memory, and seconds of processor time."""
    processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    times = [process.cpu_times() for process in processes]
    return sum(process.memory_info().rss for process in processes), sum(each.user + each.system for each in times)


def load(given: argparse.Namespace, files: list[Path], expected: list[bytes], rates: tuple[Rate, Rate], server: Any, port: int) -> None:
    times: list[float] = []
    counts = dict.fromkeys(("good", "refused", "wrong", "lost", "equal to the byte"), 0)
    lock, numbers = threading.Lock(), iter(range(given.requests))
    requests = [request(path, given.answer) for path in files]

    def client() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=120)
        while True:
            with lock:
                if (number := next(numbers, None)) is None:
                    return
            bad, place = number % BROKEN == BROKEN - 1, number % len(files)
            what = broken(number // BROKEN, files[place], given.answer) if bad else requests[place]
            begin = perf_counter()
            try:
                status, body = ask(connection, *what)
            except (TimeoutError, OSError) as error:
                connection.close()
                print(f"request {number}: {type(error).__name__}: {error}", flush=True)
                with lock:
                    counts["lost"] += 1
                continue
            took = perf_counter() - begin
            right = (
                400 <= status < 500 if bad else status == 200 and (body == expected[place] or (given.batch and same(body, expected[place])))
            )
            with lock:
                counts["wrong"] += not right
                counts["refused" if bad else "good"] += right
                if not bad:
                    times.append(took)
                    counts["equal to the byte"] += body == expected[place]

    for _ in range(2):  # the first for what is loaded when it is first needed
        for what in requests[: WARM // 2]:
            ask(HTTPConnection("127.0.0.1", port, timeout=120), *what)
    (before, processor), begin = used_by(server), perf_counter()
    threads = [threading.Thread(target=client) for _ in range(given.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = perf_counter() - begin
    sleep(1)
    after, processor_after = used_by(server)
    found = Rate(counts["good"] / seconds, (processor_after - processor) / max(1, counts["good"]))
    middle, high = statistics.median(times), statistics.quantiles(times, n=20)[-1]
    print(f"{given.requests} requests of {given.clients} clients in {seconds:.0f} s: {counts}")
    print(f"p50 {1000 * middle:.0f} ms, p95 {1000 * high:.0f} ms; memory {before / 1e6:.0f} MB, grown by {(after - before) / 1e6:.1f} MB")
    print(f"service: {found}")
    for name, rate in zip(("the network in a loop", "the loop with decoding and writing"), rates, strict=True):
        print(f"  of {name}: {found.images / rate.images:.2f}; by processor time {rate.processor / found.processor:.2f}")


if __name__ == "__main__":
    main()
