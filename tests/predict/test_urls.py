"""Images and outputs that lie elsewhere, named by URLs: the same bytes as from a disk; mistakes are said in a line."""

import gc
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from fsspec.implementations.memory import MemoryFile
from s3 import environment, put
from tiny import picture, tree, write
from typed import typed
from untrained import untrained

from seg.core.errors import DataError, UnreadableError, UsageError
from seg.core.outputs import whole_file
from seg.core.urls import is_elsewhere, listed, place_of
from seg.predict.inputs import inputs_of

upath = pytest.importorskip("upath", reason="universal-pathlib is not installed: pip install '.[url]'")
bucket = pytest.fixture(environment, scope="module")
PLAIN = ["predict.accelerator=cpu", "predict.batch_size=2", "runtime.progress=none", "runtime.threads=1"]
KINDS = "predict.outputs=[classes,labelme,coco,cvat]"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Six in two folders, one that is none, and files that are no images."""
    for number in range(6):
        write(tmp_path / f"images/{'ab'[number % 2]}/{number}.png", picture(number, (32, 40)))
    (tmp_path / "images/a/7.png").write_bytes(b"no image")
    (tmp_path / "images/.hidden.png").write_bytes(b"")
    (tmp_path / "images/read.me").write_bytes(b"")
    return tmp_path / "images"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing."""


def got(url: str) -> dict[str, bytes]:
    place = place_of(url)
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in listed(place)}


def predicted(folder: Path, *words: str) -> None:
    with pytest.raises(DataError, match=r"^1 of .* could not be predicted"):
        typed("predict", folder, [str(folder / "best.ckpt"), *words, *PLAIN])


@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_outputs_are_those_of_the_disk(
    engine: str, bucket: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """LabelMe's files name the image alone where it lies elsewhere."""
    monkeypatch.chdir(tmp_path)
    untrained(tmp_path / "best.ckpt")
    predicted(tmp_path, str(images), "--out", "here", KINDS)
    here, out = tree(tmp_path / "here"), f"{bucket}/{engine}/out"
    put(images, f"{bucket}/{engine}/images")
    words = [f"{bucket}/{engine}/images", "--out", out, KINDS, f"runtime.engine={engine}"]
    predicted(tmp_path, *words)
    assert f"{bucket}/{engine}/images/a/7.png: " in capsys.readouterr().err
    found = got(out)
    labelme = {name for name in here if name.startswith("labelme")}
    assert {name: data for name, data in found.items() if name not in labelme} == {n: d for n, d in here.items() if n not in labelme}
    assert found.keys() == here.keys()
    assert b'"imagePath": "4.png"' in found["labelme/a/4.json"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["best.ckpt", "here", "images"], "no copy is left here"

    with pytest.raises(DataError, match=rf"^{out}/coco\.json: is there already; "):
        typed("predict", tmp_path, [str(tmp_path / "best.ckpt"), *words, *PLAIN])
    (place_of(out) / "classes/b/3.png").unlink()
    predicted(tmp_path, words[0], "--out", out, "predict.outputs=[classes]", "--skip")
    assert "left out, as their outputs are there: 5 images" in capsys.readouterr().out
    assert got(out)["classes/b/3.png"] == here["classes/b/3.png"]


def test_a_pattern_and_a_file(bucket: str, images: Path, tmp_path: Path) -> None:
    untrained(tmp_path / "best.ckpt")
    put(images, f"{bucket}/some/images")
    words = [str(tmp_path / "best.ckpt"), f"{bucket}/some/images/*/[3-5].png", f"{bucket}/some/images/a/0.png", *PLAIN]
    typed("predict", tmp_path, [*words, "--out", str(tmp_path / "out"), "predict.outputs=[classes]"])
    assert sorted(tree(tmp_path / "out")) == ["classes/0.png", "classes/a/4.png", "classes/b/3.png", "classes/b/5.png"]


def test_the_next_images_to_label(bucket: str, images: Path, tmp_path: Path) -> None:
    (images / "a/7.png").unlink()
    untrained(tmp_path / "best.ckpt")
    put(images, f"{bucket}/unlabelled")
    for name, place in (("here", str(images)), ("there", f"{bucket}/unlabelled")):
        typed("next", tmp_path, [str(tmp_path / "best.ckpt"), place, "--out", str(tmp_path / name), "--count", "2", *PLAIN])
    here, there = ((tmp_path / name / "next.csv").read_text() for name in ("here", "there"))
    assert there == here.replace(str(images), f"{bucket}/unlabelled")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nope://x/y.png"], r"^nope://x/y\.png: Unsupported filesystem: 'nope'; pip install universal-pathlib, and s3fs, "),
        (["gs://x/y.png"], r"^gs://x/y\.png: Please install gcsfs.*; pip install "),
        (["s3://no-such-bucket/x"], r"^s3://no-such-bucket/x: no bucket 'no-such-bucket' can be reached; "),
        (["s3://shared/empty"], r"^s3://shared/empty: holds no images \("),
        (["s3://shared/empty/*.png"], r"^s3://shared/empty/\*\.png: matches no images \("),
        (["s3://shared/film.mp4"], r"^s3://shared/film\.mp4: holds no images .*; videos are read from a disk$"),
        (
            ["s3://shared/x.tif", "predict.outputs=[tiff]", "predict.tile=32"],
            r"^predict\.outputs=\[tiff\]: reads and writes parts of ",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_mistakes_are_said(words: list[str], said: str, bucket: str, tmp_path: Path) -> None:
    untrained(tmp_path / "best.ckpt")
    with pytest.raises((UsageError, DataError), match=said):
        typed("predict", tmp_path, [str(tmp_path / "best.ckpt"), *words, "--out", str(tmp_path / "out"), *PLAIN])
    assert not (tmp_path / "out").exists()


def test_a_server_of_the_web(images: Path, tmp_path: Path) -> None:
    """Whose image is asked for by its address; one that is away is told, and the rest goes on."""
    untrained(tmp_path / "best.ckpt")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(images))) as web:
        Thread(target=web.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{web.server_port}"
        predicted(tmp_path, f"{address}/a/0.png", f"{address}/away.png", str(images / "a/2.png"), "--out", str(tmp_path / "out"))
        web.shutdown()
    predicted(tmp_path, f"{address}/a/0.png", str(images / "a/2.png"), "--out", str(tmp_path / "later"))
    assert [len(list((tmp_path / name / "classes").iterdir())) for name in ("out", "later")] == [2, 1]


def test_names_that_lead_elsewhere_are_passed_over() -> None:
    """A bucket may hold any key; names become those of files below the outputs."""
    system = place_of("memory://hostile").fs  # type: ignore[attr-defined]
    for name in ("a/b.png", ".hidden/c.png", "x/../../../evil.png"):
        system.store[f"/hostile/{name}"] = MemoryFile(system, f"/hostile/{name}", b"")
    assert [one.name for one in inputs_of(["memory://hostile"], Path("out"))] == ["a/b"]


def test_a_mistake_in_the_place_of_outputs_is_said(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^s3://no-such-bucket/out: no bucket 'no-such-bucket' can be reached; "):
        typed("predict", tmp_path, ["best.ckpt", "image.png", "--out", "s3://no-such-bucket/out"])


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "upath", None)
    with pytest.raises(UsageError, match=r"^s3://x/y: .*; pip install universal-pathlib, and s3fs"):
        place_of("s3://x/y")


PARTS = bytes(60 << 20)  # more than are sent at once


@pytest.mark.parametrize("data", [b"half", PARTS])
def test_a_file_that_was_not_written_to_its_end_does_not_appear(data: bytes, bucket: str) -> None:
    place = place_of(f"{bucket}/half/file.bin")

    def fail() -> None:
        with whole_file(place) as file:
            file.write(data)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    gc.collect()
    assert not place.exists()
    assert is_elsewhere(place)
    assert place_of("file:///a/b") == Path("/a/b")


def test_a_network_that_breaks_while_a_file_is_sent_is_said(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.exceptions import EndpointConnectionError
    from s3fs.core import S3File

    def broken(*_: object, **__: object) -> None:
        raise EndpointConnectionError(endpoint_url="there")

    place = place_of(f"{bucket}/half/large.bin")
    for sent in ("_upload_chunk", "_abort_mpu"):  # the parts that are there cannot be taken back either
        monkeypatch.setattr(S3File, sent, broken)
    with pytest.raises(UnreadableError, match=r"half/large.bin: cannot be reached \(.*there"), whole_file(place) as file:
        file.write(PARTS)
    assert not place.exists()
