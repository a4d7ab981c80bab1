"""The service's answers: byte for byte the files of `seg predict`, of each kind of model and of file."""

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from serving import Served, serving
from tiny import picture, write
from typed import typed
from untrained import CONVOLUTION, untrained

from seg.data.sample import Prediction
from seg.predict.api import Predictor
from seg.serve.pool import Pool

KINDS = ["classes", "confidence", "overlay", "labelme", "geojson", "coco", "cvat", "probabilities"]
INSTANCES = ["ids", "overlay", "labelme", "geojson", "coco", "cvat"]


@pytest.fixture(autouse=True)
def _limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEG_MAX_PIXELS", "1000000")  # which the service sets itself, and the test takes back


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("serve")
    untrained(made / "best.ckpt", network=CONVOLUTION)
    for number in range(4):
        write(made / f"scans/{number}.png", picture(number, (40, 56)))
    return made


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    with serving(folder / "best.ckpt", samples=str(folder / "scans")) as found:
        yield found


def files_of(model: Path, image: Path, out: Path, kinds: list[str], *overrides: str) -> dict[str, bytes]:
    """What `seg predict` writes, by kind."""
    words = [str(model), str(image), "--out", str(out), f"predict.outputs=[{','.join(kinds)}]", "runtime.progress=none", *overrides]
    typed("predict", Path.cwd(), words)
    files = [path for path in out.rglob("*") if path.is_file()]
    return {(path.stem if path.parent == out else path.parent.name): path.read_bytes() for path in files}


def without_place(content: bytes) -> bytes:
    """A LabelMe file whose image lies beside it, as in an answer."""
    found = json.loads(content)
    return (json.dumps({**found, "imagePath": Path(found["imagePath"]).name}) + "\n").encode()


def test_answers_are_the_files_of_predict(folder: Path, served: Served, tmp_path: Path) -> None:
    image = folder / "scans/1.png"
    files = files_of(folder / "best.ckpt", image, tmp_path / "out", KINDS)
    files["labelme"] = without_place(files["labelme"])
    assert files.keys() == set(KINDS)
    for kind, content in files.items():
        status, headers, body = served.predict(image.read_bytes(), "1.png", f"?as={kind}")
        assert (status, body) == (200, content), kind
    assert headers["content-disposition"].startswith("attachment; filename*=UTF-8''1")
    for name, kind in (("rle", "coco"), ("polygons", "geojson"), ("png", "classes")):
        assert served.predict(image.read_bytes(), "1.png", f"?as={name}")[2] == files[kind]
    assert served.predict(image.read_bytes(), "1.png")[2] == files["coco"]


def test_a_request_sets_what_predict_sets(folder: Path, served: Served, tmp_path: Path) -> None:
    image = folder / "scans/2.png"
    keys = ["predict.polygons.tolerance=1.5", "predict.polygons.min_area=9"]
    files = files_of(folder / "best.ckpt", image, tmp_path / "out", ["geojson"], *keys)
    plain = files_of(folder / "best.ckpt", image, tmp_path / "plain", ["geojson"])
    assert served.predict(image.read_bytes(), "2.png", "?as=geojson&tolerance=1.5&min_area=9")[2] == files["geojson"] != plain["geojson"]
    assert served.predict(image.read_bytes(), "2.png", "?as=geojson")[2] == plain["geojson"]


def test_an_image_as_base64_is_the_same(folder: Path, served: Served) -> None:
    data = (folder / "scans/0.png").read_bytes()
    text = base64.b64encode(data).decode()
    expected = served.predict(data, "image")[2]
    assert served.fields(image=text)[2] == served.fields(image=f"data:image/png;base64,{text}")[2] == expected


def test_instances_and_tiles_are_those_of_predict(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "objects.ckpt"
    untrained(model, "task=instance", "model=mask_rcnn_small")
    image, keys = write(tmp_path / "0.png", picture(0, (72, 100))), ("predict.tile=64", "predict.score_threshold=0.1")
    files = files_of(model, image, tmp_path / "out", INSTANCES, *keys)
    files["labelme"] = without_place(files["labelme"])
    with serving(model, overrides=keys) as served:
        for kind, content in files.items():
            assert served.predict(image.read_bytes(), "0.png", f"?as={kind}")[2] == content, kind
        assert served.predict(image.read_bytes(), "0.png", "?as=png")[2] == files["ids"]
        assert served.predict(image.read_bytes(), "0.png", "?as=classes")[0] == 422


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_exported_files_are_served_alike(folder: Path, tmp_path: Path, form: str) -> None:
    model = typed(
        "export", Path.cwd(), [str(folder / "best.ckpt"), f"format={form}", f"out={tmp_path}/m{'.onnx' if form == 'onnx' else '.xml'}"]
    ).path
    image = folder / "scans/1.png"
    files = files_of(model, image, tmp_path / "out", ["classes", "coco"])
    with serving(model) as served:
        assert {kind: served.predict(image.read_bytes(), "1.png", f"?as={kind}")[2] for kind in files} == files


class Slow(Predictor):
    """Each batch waits until it may go on, and is kept."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__(predictor.network, predictor.settings)
        self.go, self.batches = threading.Semaphore(0), list[int]()

    def stream(self, images, probabilities=False):  # type: ignore[no-untyped-def]
        self.go.acquire()
        found = list(images)
        self.batches.append(len(found))
        if len(found) > 1 and any(image.max() == 0 for image in found):
            raise RuntimeError("one of them is black")
        yield from super().stream(found, probabilities)


def gathered(pool: Pool, images: list[np.ndarray], slow: Slow) -> list[Prediction]:
    """Predictions of requests of which the first is being predicted while the others come."""
    import asyncio

    async def ask() -> list[Prediction]:
        tasks = [asyncio.ensure_future(pool.predict(images[0], False))]
        await asyncio.sleep(0.05)
        while pool.queue:
            await asyncio.sleep(0.05)
        tasks += [asyncio.ensure_future(pool.predict(image, False)) for image in images[1:]]
        await asyncio.sleep(0.05)
        for _ in range(20):
            slow.go.release()
        return [(await task)[0] for task in tasks]

    return asyncio.run(ask())


def test_images_of_one_size_that_wait_are_one_batch(folder: Path) -> None:
    with serving(folder / "best.ckpt") as served:
        slow = Slow(served.service.predictor)
    sizes = [(40, 56)] * 3 + [(24, 32)] + [(40, 56)] * 2
    images = [picture(number, size) for number, size in enumerate(sizes)]
    seen: list[int] = []
    found = gathered(Pool(slow, 8, seen.append), images, slow)
    assert slow.batches == seen == [1, 4, 1]
    for image, prediction in zip(images, found, strict=True):
        assert prediction.semantic is not None
        np.testing.assert_array_equal(prediction.semantic, served.service.predictor.predict(image).semantic)


def test_a_batch_is_no_larger_than_it_may_be(folder: Path) -> None:
    with serving(folder / "best.ckpt") as served:
        slow = Slow(served.service.predictor)
        assert served.service.pool.size == 1, "on a CPU"
    gathered(Pool(slow, 3, lambda _: None), [picture(number, (40, 56)) for number in range(6)], slow)
    assert slow.batches == [1, 3, 2]
    with serving(folder / "best.ckpt", batch=5) as served:
        assert served.service.pool.size == 5


def test_a_batch_that_fails_is_predicted_one_by_one(folder: Path) -> None:
    with serving(folder / "best.ckpt") as served:
        slow = Slow(served.service.predictor)
    images = [picture(0, (40, 56)), picture(1, (40, 56)), np.zeros((40, 56, 3), np.uint8)]
    assert len(gathered(Pool(slow, 8, lambda _: None), images, slow)) == 3
    assert slow.batches == [1, 2, 1, 1]


def test_the_pages_load_nothing_from_elsewhere(served: Served, folder: Path) -> None:
    for path in ("/", "/docs"):
        status, headers, body = served.ask("GET", path)
        assert status == 200
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert b"http://" not in body.replace(b"http://HOST", b"")
        assert b"https://" not in body
    assert b"POST /predict" in body
    assert json.loads(served.ask("GET", "/openapi.json")[2])["paths"].keys() >= {"/predict", "/health", "/metrics", "/model"}
    model = json.loads(served.ask("GET", "/model")[2])
    assert model["samples"] == [f"{number}.png" for number in range(4)]
    assert [c["name"] for c in model["classes"]] == ["background", "cell", "edge"]
    assert served.ask("GET", "/samples/2")[2] == (folder / "scans/2.png").read_bytes()
    assert served.ask("GET", "/samples/4")[0] == 404


def test_metrics_count_answers(served: Served, folder: Path) -> None:
    def count() -> float:
        lines = served.ask("GET", "/metrics")[2].decode().splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith('seg_answers_total{status="422"}'))

    before = count()
    assert served.predict(b"no image")[0] == 422
    assert count() == before + 1
    assert json.loads(served.ask("GET", "/health")[2]) == {"status": "ok"}
