"""A trained model on images that nobody labelled: the same predictions as in the evaluation, as files and in Python."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
import tifffile
import torch
from conftest import MakeConfig
from models.test_contract import SMALLER
from PIL import Image
from pycocotools import mask as coco_mask
from typed import typed
from untrained import CLASSES, CONVOLUTION, untrained

import seg
from seg.core.errors import ConfigError, DataError, UsageError
from seg.data.sample import Prediction
from seg.data.store import read_info
from seg.models.build import build_model
from seg.models.checkpoint import Checkpoint, save
from seg.predict.api import Predictor
from seg.predict.write.writers import id_map
from seg.stages import evaluate
from seg.tiles.checkpoint import CheckpointNetwork

QUIET = ["runtime.progress=none"]


def save_untrained(prepared: Path, path: Path, make_config: MakeConfig, *overrides: str) -> Path:
    """The checkpoint of a network that nobody trained."""
    torch.manual_seed(0)
    config, info = make_config(*overrides), read_info(prepared)
    save(path, Checkpoint(build_model(config, info).state_dict(), config.model_dump(mode="json", by_alias=True), info, 1, {}))
    return path


@pytest.fixture(scope="module")
def semantic(prepared: Path, tmp_path_factory: pytest.TempPathFactory, make_config: MakeConfig) -> Path:
    return save_untrained(prepared, tmp_path_factory.mktemp("semantic") / "best.ckpt", make_config)


@pytest.fixture(scope="module")
def instance(prepared: Path, tmp_path_factory: pytest.TempPathFactory, make_config: MakeConfig) -> Path:
    return save_untrained(prepared, tmp_path_factory.mktemp("instance") / "best.ckpt", make_config, "task=instance")


def test_files_hold_what_the_evaluation_predicts(semantic: Path, prepared: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    settings = [f"paths.prepare={prepared}", f"paths.train={semantic.parent}", "evaluate.num_overlays=0", "evaluate.bootstrap.resamples=0"]
    evaluate.run(make_config(*settings, *QUIET, "runtime.workers=0"), tmp_path / "evaluated")
    wanted = "predict.outputs=[classes,overlay,confidence,probabilities]"
    typed("predict", Path.cwd(), [str(semantic), str(prepared / "test/images"), "--out", str(tmp_path / "out"), wanted, *QUIET])
    files = sorted((tmp_path / "evaluated/predictions").glob("*.png"))
    assert files
    colors = [c.color for c in read_info(prepared).classes]
    for file in files:
        truth = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        with Image.open(tmp_path / "out/classes" / file.name) as found:
            np.testing.assert_array_equal(np.asarray(found), truth)
            palette = found.getpalette("RGB")
            assert palette is not None
            assert [tuple(palette[3 * k : 3 * k + 3]) for k in range(len(colors))] == colors
        probabilities = np.load(tmp_path / f"out/probabilities/{file.stem}.npy", allow_pickle=False)
        assert probabilities.shape == (6, *truth.shape)
        np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)
        np.testing.assert_array_equal(probabilities.argmax(0), truth)
        confidence = cv2.imread(str(tmp_path / "out/confidence" / file.name), cv2.IMREAD_UNCHANGED)
        np.testing.assert_allclose(confidence / 65535, probabilities.max(0), atol=1e-5)
        assert cv2.imread(str(tmp_path / "out/overlay" / file.name)).shape == (*truth.shape, 3)
    assert not list(tmp_path.rglob("*.partial"))


def test_instances_are_files_that_agree(instance: Path, prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["predict.outputs=[coco,ids,overlay]", "predict.score_threshold=0.2", *QUIET]
    typed("predict", Path.cwd(), [str(instance), str(prepared / "test/images"), "--out", str(out), *options])
    coco = json.loads((out / "coco.json").read_text())
    assert [c["name"] for c in coco["categories"]] == ["disc", "rectangle", "triangle", "rod", "ring"]
    assert [a["id"] for a in coco["annotations"]] == list(range(1, len(coco["annotations"]) + 1))
    model = seg.load(instance, score_threshold=0.2)
    assert model.task == "instance"
    for image in coco["images"]:
        (file,) = (prepared / "test/images").glob(image["file_name"])
        said = model.predict(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB))
        own = [a for a in coco["annotations"] if a["image_id"] == image["id"]]
        assert len(own) == len(said.scores) > 0
        np.testing.assert_allclose([a["score"] for a in own], said.scores, atol=1e-4)
        kept = Prediction(masks=[a["segmentation"] for a in own if a["score"] >= 0.2])
        ids = cv2.imread(str(out / f"ids/{Path(image['file_name']).stem}.png"), cv2.IMREAD_UNCHANGED)
        assert ids.dtype == np.uint16 or not kept.masks
        np.testing.assert_array_equal(ids, id_map(kept, image["height"], image["width"]))


def test_polygons_are_read_again_as_what_was_predicted(semantic: Path, prepared: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    typed(
        "predict",
        Path.cwd(),
        [str(semantic), str(prepared / "test/images"), "--out", str(out), "predict.outputs=[classes,labelme,geojson]", *QUIET],
    )
    info = read_info(prepared)
    files = sorted((out / "labelme").glob("*.json"))
    assert files
    for file in files:
        with Image.open(out / f"classes/{file.stem}.png") as picture:
            classes = np.asarray(picture)
        content = json.loads(file.read_text())
        assert (file.parent / content["imagePath"]).resolve() == next((prepared / "test/images").glob(f"{file.stem}.*")).resolve()
        drawn = np.zeros(classes.shape, np.uint8)
        for feature in json.loads((out / f"geojson/{file.stem}.geojson").read_text())["features"]:
            index = [c.name for c in info.classes].index(feature["properties"]["class"])
            region = shapely.geometry.shape(feature["geometry"])
            ys, xs = np.mgrid[: classes.shape[0], : classes.shape[1]] + 0.5
            drawn[shapely.contains_xy(region, xs, ys)] = index
        np.testing.assert_array_equal(drawn, classes)
        assert {s["label"] for s in content["shapes"]} == {info.classes[k].name for k in np.unique(classes) if k}


def test_views_and_several_models_are_merged(semantic: Path, prepared: Path, tmp_path: Path, make_config: MakeConfig) -> None:
    torch.manual_seed(1)
    config, info = make_config("model=fcn8s", *SMALLER["fcn8s"], "seed=1"), read_info(prepared)
    other = tmp_path / "other.ckpt"
    save(other, Checkpoint(build_model(config, info).state_dict(), config.model_dump(mode="json", by_alias=True), info, 1, {}))
    image = cv2.cvtColor(cv2.imread(str(next((prepared / "test/images").iterdir()))), cv2.COLOR_BGR2RGB)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None]
    each = []
    for path in (semantic, other):
        network = seg.load(path, precision="32-true").network
        flipped = network.logits(batch.flip(-1)).softmax(1).flip(-1)
        each.append((network.logits(batch).softmax(1) + flipped) / 2)
    expected = torch.stack(each).mean(0)[0].numpy()
    command = [str(semantic), str(other), str(prepared / "test/images"), "--out", str(tmp_path / "out"), *QUIET]
    typed(
        "predict", Path.cwd(), [*command, "predict.outputs=[probabilities]", "predict.views=[identity,hflip]", "predict.precision=32-true"]
    )
    name = next((prepared / "test/images").iterdir()).stem
    np.testing.assert_allclose(np.load(tmp_path / f"out/probabilities/{name}.npy"), expected, atol=1e-4)
    with pytest.raises(ConfigError, match=r"hflp"):
        typed("predict", Path.cwd(), [*command, "predict.views=[hflp]"])


def test_large_images_are_seen_in_tiles_and_their_class_maps_streamed(semantic: Path, tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (100, 130, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "scan.tif", image, tile=(64, 64), photometric="rgb")
    options = ["predict.tile=64", "predict.tiling.overlap=0.5", "predict.precision=32-true", *QUIET]
    command = [str(semantic), str(tmp_path / "scan.tif"), "--out", str(tmp_path / "out"), *options]
    typed("predict", Path.cwd(), [*command, "predict.outputs=[classes]"])
    typed("predict", Path.cwd(), [*command, "predict.outputs=[tiff]"])
    with Image.open(tmp_path / "out/classes/scan.png") as picture:
        whole = np.asarray(picture)
    with tifffile.TiffFile(tmp_path / "out/classes/scan.tif") as file:
        assert file.pages[0].is_tiled
        streamed = file.asarray()
    np.testing.assert_array_equal(streamed, whole)
    model = seg.load(semantic, tile=64, precision="32-true")
    assert model.predict(image[:64, :64]).semantic is not None
    for words, message in (
        (["predict.outputs=[tiff,classes]"], "ask for it alone"),
        (["predict.outputs=[tiff]", "predict.tile=null"], "set predict.tile"),
        (["predict.tile=50"], "expected a multiple of the network's stride 16"),
    ):
        with pytest.raises(ConfigError, match=message):
            typed("predict", Path.cwd(), [*command, *words, "--force"])


def test_an_exported_file_predicts_as_its_checkpoint(prepared: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra export")
    trained = tmp_path / "best.ckpt"
    untrained(trained, network=CONVOLUTION)
    typed("export", Path.cwd(), [str(trained), f"out={tmp_path / 'net.onnx'}", f"images={prepared / 'test/images'}"])
    images = str(prepared / "test/images")
    typed("predict", Path.cwd(), [str(tmp_path / "net.onnx"), images, "--out", str(tmp_path / "a"), "predict.outputs=[classes]", *QUIET])
    options = ["predict.outputs=[classes]", "predict.precision=32-true", *QUIET]
    typed("predict", Path.cwd(), [str(trained), images, "--out", str(tmp_path / "b"), *options])
    assert len(list((tmp_path / "a/classes").iterdir())) == len(list((prepared / "test/images").iterdir()))
    for file in (tmp_path / "a/classes").iterdir():
        one, other = (cv2.imread(str(folder / file.name)) for folder in (file.parent, tmp_path / "b/classes"))
        assert (one != other).mean() < 1e-3
    assert [c.name for c in seg.load(tmp_path / "net.onnx").classes] == [c.name for c in CLASSES]


def test_of_instances_that_overlap_the_better_lies_on_top() -> None:
    masks = np.zeros((3, 4, 6), np.uint8)
    masks[0, :, :3], masks[1, 1:3, 1:5], masks[2, :, 4:] = 1, 1, 1
    rles = [{"size": [4, 6], "counts": coco_mask.encode(np.asfortranarray(m))["counts"].decode()} for m in masks]
    expected = np.zeros((4, 6), int)
    for number in (3, 2, 1):
        expected[masks[number - 1] > 0] = number
    np.testing.assert_array_equal(id_map(Prediction(masks=rles), 4, 6), expected)


def test_what_is_there_is_not_overwritten_unless_asked(
    semantic: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    shutil.copytree(prepared / "test/images", images)
    first, second = sorted(images.iterdir())[:2]
    command = [str(semantic), str(images), "--out", str(tmp_path / "out"), "predict.outputs=[classes]", *QUIET]
    typed("predict", Path.cwd(), command)
    one, two = (tmp_path / f"out/classes/{path.stem}.png" for path in (first, second))
    one.write_bytes(b"mine")
    two.unlink()
    message = f"^{one}: is there already; predict to another folder with --out, replace with --force, or leave out with --skip$"
    with pytest.raises(DataError, match=message):
        typed("predict", Path.cwd(), command)
    assert not two.exists()
    capsys.readouterr()
    typed("predict", Path.cwd(), [*command, "--skip"])
    assert "left out, as their outputs are there: 1 image" in capsys.readouterr().out
    assert (one.read_bytes(), two.exists()) == (b"mine", True)
    typed("predict", Path.cwd(), [*command, "--force"])
    assert one.read_bytes() != b"mine"


def test_a_bad_image_is_told_and_the_rest_goes_on(
    semantic: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    shutil.copytree(prepared / "test/images", images)
    (images / "0000_bad.png").write_bytes(b"no image")
    good = len(list(images.iterdir())) - 1
    with pytest.raises(DataError, match=f"^1 of {good + 1} images could not be predicted; what is wrong with each is said above$"):
        typed("predict", Path.cwd(), [str(semantic), str(images), "--out", str(tmp_path / "out"), *QUIET])
    told = capsys.readouterr()
    assert told.err.startswith(f"error: {images}/0000_bad.png: ")
    assert f"{good} images in {tmp_path / 'out'}: classes, overlay" in told.out
    assert len(list((tmp_path / "out/classes").iterdir())) == good


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["predict.outputs=[clases]"], ConfigError, "predict.outputs: clases: did you mean 'classes'"),
        (["predict.outputs=[ids]"], ConfigError, "predict.outputs: ids: .*outputs of task=semantic: classes, coco, confidence"),
        (["predict.outputs=[]"], ConfigError, "nothing would be written"),
        (["predict.outptus=[classes]"], ConfigError, "unknown key predict.outptus: did you mean 'predict.outputs'"),
        (["--oout=x"], UsageError, "unknown option --oout: did you mean '--out'"),
        (["--force", "--skip"], UsageError, "--force and --skip exclude each other"),
        (["nowhere.png"], UsageError, "nowhere.png: there is no such file"),
    ],
)
def test_slips_are_said_in_a_line(semantic: Path, prepared: Path, tmp_path: Path, words: list[str], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        typed("predict", Path.cwd(), [str(semantic), str(prepared / "test/images"), "--out", str(tmp_path / "out"), *words, *QUIET])
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_none(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"no.ckpt: cannot be read"):
        typed("predict", Path.cwd(), [str(tmp_path / "no.ckpt"), str(tmp_path / "a.png"), *QUIET])
    with pytest.raises(UsageError, match=r"expected a MODEL"):
        typed("predict", Path.cwd(), [str(tmp_path / "a.png"), *QUIET])


def test_in_python_and_outside_of_the_project(semantic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = seg.load(semantic, batch_size=2)
    assert isinstance(model, Predictor)
    assert [c.name for c in model.classes][:2] == ["background", "disc"]
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((40, 50), (40, 50), (40, 50), (33, 21))]
    found = model.predict(images)
    for image, one in zip(images, found, strict=True):
        assert one.semantic is not None
        assert one.semantic.shape == image.shape[:2]
        alone = model.predict(image).semantic
        assert alone is not None
        assert (alone != one.semantic).mean() < 0.001  # batches of other sizes may round otherwise
    assert model.predict([]) == []
    with pytest.raises(ValueError, match=r"^an image must be \(H, W, 3\) uint8, got \(40, 50\) uint8$"):
        model.predict(images[0][..., 0])
    with pytest.raises(ConfigError, match=r"unknown key predict.batch_sice"):
        seg.load(semantic, batch_sice=2)


def test_a_model_loads_in_another_programs_hydra_and_in_threads(semantic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of another Hydra project, whose application runs, four threads at once."""
    from concurrent.futures import ThreadPoolExecutor

    from hydra import compose, initialize_config_dir

    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/config.yaml").write_text("db: {name: mysql}\n")
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    alone = seg.load(semantic).predict(image).semantic
    with initialize_config_dir(str(tmp_path / "conf"), version_base="1.3"), ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: seg.load(semantic).predict(image).semantic, range(4)))
        assert compose("config").db.name == "mysql", "theirs is as it was"
    assert all(np.array_equal(one, alone) for one in found)
    typed("predict", tmp_path, [str(semantic), "a.png", *QUIET])
    assert (tmp_path / "outputs/predict/classes/a.png").is_file() or list(tmp_path.rglob("classes/a.png"))


def test_a_model_takes_the_range_of_the_data_that_were_prepared(semantic: Path, tmp_path: Path) -> None:
    """Whatever range its settings compose to; and an override of it is refused, not passed over."""
    content = torch.load(semantic, weights_only=True)
    content["config"]["data"]["range"] = [0, 10]
    content["data"]["settings"]["range"] = [0, 4095]
    torch.save(content, tmp_path / "deep.ckpt")
    deep = np.random.default_rng(0).integers(0, 4096, (40, 50, 3), dtype=np.uint16)
    for folder, pixels in (("deep", deep), ("plain", np.rint(deep / 4095 * 255).astype(np.uint8))):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", pixels, photometric="rgb")
        model = tmp_path / "deep.ckpt" if folder == "deep" else semantic
        typed("predict", tmp_path, [str(model), str(tmp_path / folder), "--out", str(tmp_path / f"{folder}-out"), *QUIET])
    given, wanted = (cv2.imread(str(tmp_path / f"{folder}-out/classes/a.png"), -1) for folder in ("deep", "plain"))
    assert given is not None
    assert (given != wanted).mean() < 0.01, "rounding alone"
    with pytest.raises(ConfigError, match=r"data.range=image: seg predict reads predict"):
        typed("predict", tmp_path, [str(semantic), str(tmp_path / "deep"), "data.range=image", "--out", str(tmp_path / "x"), *QUIET])


def test_an_image_too_large_for_the_memory_is_told_and_the_others_go_on(
    semantic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, side in (("a", 40), ("b", 41), ("c", 40), ("d", 40)):
        Image.fromarray(np.full((side, side, 3), 90, np.uint8)).save(tmp_path / f"{name}.png")
    network = CheckpointNetwork.predict

    def small(self: CheckpointNetwork, images: torch.Tensor) -> list[Prediction]:
        if images.shape[-1] == 41 or len(images) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return network(self, images)

    monkeypatch.setattr(CheckpointNetwork, "predict", small)
    with pytest.raises(DataError, match="1 of 4 images could not be predicted"):
        typed("predict", tmp_path, [str(semantic), str(tmp_path), "--out", str(tmp_path / "out"), *QUIET])
    assert sorted(p.name for p in (tmp_path / "out/classes").iterdir()) == ["a.png", "c.png", "d.png"]
    assert "b.png: the memory does not suffice for this image; set predict.tile" in capsys.readouterr().err


LITTLE_MEMORY = """
import resource, sys
import numpy as np
import seg
from seg.cli import main
from seg.stages import predict
seg.load(sys.argv[2]).predict(np.zeros((40, 40, 3), np.uint8))
used = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20), used + (400 << 20)))
main()
"""


@pytest.mark.slow
def test_a_process_that_may_not_have_more_memory_goes_on_with_other_images(semantic: Path, tmp_path: Path) -> None:
    """As under `ulimit -v`: 400 MB beside what the libraries take, and an image of 243 MB."""
    (tmp_path / "in").mkdir()
    for name, side in (("a", 40), ("b", 9000), ("c", 40)):
        Image.fromarray(np.full((side, side, 3), 90, np.uint8)).save(tmp_path / f"in/{name}.png")
    words = ["predict", str(semantic), str(tmp_path / "in"), "--out", str(tmp_path / "out"), *QUIET]
    done = subprocess.run([sys.executable, "-c", LITTLE_MEMORY, *words], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert "b.png: the memory does not suffice for this image" in done.stderr
    assert "1 of 3 images could not be predicted" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in (tmp_path / "out/classes").iterdir()) == ["a.png", "c.png"]


def test_outputs_never_replace_what_is_predicted(semantic: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "in/a.png")
    before = (tmp_path / "in/a.png").read_bytes()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match=r"--out .*file: is a file; name a folder"):
        typed("predict", tmp_path, [str(semantic), str(tmp_path / "in"), "--out", str(tmp_path / "file"), *QUIET])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/classes").symlink_to(tmp_path / "in")
    with pytest.raises(DataError, match=r"one of the images to predict, which it would replace"):
        typed("predict", tmp_path, [str(semantic), str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--force", *QUIET])
    assert (tmp_path / "in/a.png").read_bytes() == before
