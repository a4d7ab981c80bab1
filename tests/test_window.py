"""A network with a window sees a large image in the same tiles wherever it is used: in training's validation, `evaluate` and `predict`."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from conftest import MakeConfig, MakeInfo
from pycocotools import mask as coco_mask
from stages.test_evaluate import FEW_OBJECTS
from tiny import augment
from watched import own_scratch, small

import seg
from seg.augment.policy import compile_policy
from seg.configure.config import Config
from seg.core.errors import ConfigError, DataError
from seg.data.sample import ClassInfo, Prediction, Sample
from seg.data.store import read_entries, read_info
from seg.loading.dataset import evaluation_batches
from seg.models.base import SegmentationModel
from seg.models.build import build_model
from seg.models.checkpoint import Checkpoint, load, restore, save
from seg.raw.record import Record
from seg.settings.task import ANSWERS
from seg.sources.shapes import Shapes
from seg.stages import evaluate, train
from seg.storing.write import write_info, write_record, write_split
from seg.tiles.checkpoint import CheckpointNetwork
from seg.tiles.tiled import BLEND, MIN_IOU, Tiled, in_window, window_tiling
from seg.training.step.limits import Limits, predict

TINY = ["model.network.encoder_name=tu-test_resnet"]
TASKS = {
    "semantic": ["model=attention_unet", *TINY],
    "instance": ["task=instance", *FEW_OBJECTS, "model.normalization=dataset"],
}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory, make_config: MakeConfig) -> Path:
    """A prepared data set whose images are 300 x 250 pixels, but one of test, which is 100 x 90."""
    folder = tmp_path_factory.mktemp("large")
    classes = [ClassInfo(c.name, tuple(c.color)) for c in make_config().data.classes]  # type: ignore[arg-type]
    source = Shapes(4, 300, 0, classes)
    stored: dict[str, Any] = {"train": [], "val": [], "test": []}
    for item, split, (height, width) in zip(source.items(), ("train", "val", "test", "test"), [(300, 250)] * 3 + [(100, 90)], strict=True):
        scene = source.read(item).sample
        kept = np.unique(scene.instances[:height, :width])[1:] - 1 if scene.instances.size else np.zeros(0, int)
        numbers = np.zeros(len(scene.categories) + 1, np.int32)
        numbers[kept + 1] = np.arange(1, len(kept) + 1)
        cut = (part[:height, :width].copy() for part in (scene.image, scene.semantic))
        sample = Sample(item.image_id, *cut, numbers[scene.instances[:height, :width]], scene.categories[kept], scene.crowd[kept])
        stored[split].append(write_record(folder / split, Record(sample), len(classes)))
    for split, records in stored.items():
        write_split(folder / split, records, classes, with_instances=True)
    write_info(folder, "large", classes, stored)
    return folder


def model_of(
    make_config: MakeConfig, prepared: Path, *overrides: str, network: dict[str, Any] | None = None
) -> tuple[Config, SegmentationModel]:
    torch.manual_seed(0)
    config = make_config(*overrides, "trainer.precision=32-true", "trainer.accelerator=cpu", network=network)
    return config, build_model(config, read_info(prepared)).eval().to(memory_format=torch.channels_last)


def checkpoint_of(folder: Path, config: Config, model: SegmentationModel, prepared: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = Checkpoint(model.state_dict(), config.model_dump(mode="json", by_alias=True), read_info(prepared), 1, {})
    save(folder / "best.ckpt", content)
    return folder / "best.ckpt"


def same(one: Prediction, other: Prediction) -> bool:
    """Whether two predictions are equal, bit by bit."""
    if one.semantic is not None and other.semantic is not None:
        assert one.confidence is not None
        assert other.confidence is not None
        return np.array_equal(one.semantic, other.semantic) and np.array_equal(one.confidence, other.confidence)
    arrays = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("scores", "categories", "boxes"))
    return arrays and [coco_mask.decode(m).tobytes() for m in one.masks] == [coco_mask.decode(m).tobytes() for m in other.masks]


def watched(model: SegmentationModel, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of all batches of images that the model takes from now on."""
    shapes: list[tuple[int, ...]] = []
    own = type(model).network_input

    def noted(self: SegmentationModel, images: torch.Tensor, *rest: Any) -> Any:
        shapes.append(tuple(images.shape))
        return own(self, images, *rest)

    monkeypatch.setattr(type(model), "network_input", noted)
    return shapes


def test_the_tiles_of_a_window_are_those_that_predict_is_set_to(make_config: MakeConfig) -> None:
    settings = make_config().predict
    given, tiling = settings.tiling, window_tiling(64)
    assert (given.overlap, given.sigma, given.margin, given.padding) == (tiling.overlap, tiling.sigma, tiling.margin, tiling.padding)
    assert (settings.merge, given.min_iou) == (BLEND, MIN_IOU)


@pytest.mark.parametrize("task", TASKS)
def test_validation_evaluation_and_prediction_see_the_same_tiles(
    task: str, large: Path, make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image of 300 x 250 pixels in tiles of 128, and one of 100 x 90 whole; no more than two tiles are seen at once."""
    paths = [f"paths.prepare={large}", f"paths.train={tmp_path}", "runtime.workers=0", "runtime.progress=none"]
    few = ["evaluate.num_overlays=1", "evaluate.bootstrap.resamples=0", "evaluate.batch_size=2", "predict.batch_size=2"]
    config, model = model_of(make_config, large, *TASKS[task], *paths, *few, "model.window=128")
    path = checkpoint_of(tmp_path, config, model, large)
    shapes = watched(model, monkeypatch)
    evaluate.run(config, tmp_path / "out")
    assert {shape[2:] for shape in shapes} == {(128, 128), (100, 90)}, "also where attention is drawn"
    assert max(shape[0] for shape in shapes) == 2
    predictor, typed = seg.load(path, batch_size=2), seg.load(path, batch_size=2, tile=128)
    assert isinstance(predictor.network, Tiled)
    entries = read_entries(large / "test")
    found = evaluate.read_predictions(tmp_path / "out/predictions", entries, ANSWERS[task])
    for entry in entries:
        image = cv2.cvtColor(cv2.imread(str(large / "test/images" / entry.file)), cv2.COLOR_BGR2RGB)
        images = torch.from_numpy(image).permute(2, 0, 1)[None]
        validated = predict(model, images, Limits(2, lambda *_: 0), CPU)[0]
        assert same(validated, predictor.predict(image))
        assert same(validated, typed.predict(image))
        stored = found.read(entry)
        if stored.semantic is not None:
            np.testing.assert_array_equal(stored.semantic, validated.semantic)
        else:
            assert len(stored.scores) == len(validated.scores) > 0
        if max(image.shape) <= 128:
            assert same(validated, model.predict(images)[0]), "as a network without a window"
        elif task == "semantic":
            assert validated.semantic is not None
            assert (validated.semantic != model.predict(images)[0].semantic).any(), "tiles are not the whole"


def test_a_smaller_tile_that_is_typed_wins(large: Path, make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, model = model_of(make_config, large, "model.window=128")
    path = checkpoint_of(tmp_path, config, model, large)
    shapes = watched(model, monkeypatch)
    seg.load(path, tile=64).predict(np.zeros((100, 70, 3), np.uint8))
    assert {shape[2:] for shape in shapes} == {(64, 64)}


def test_memory_that_runs_out_in_a_tile_halves_what_is_seen_at_once(large: Path, make_config: MakeConfig, capsys: Any) -> None:
    _, model = model_of(make_config, large, "model.window=64")
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 150, 100), np.uint8))
    wanted = predict(model, images, Limits(8, lambda *_: 0), CPU)
    own = model.full_logits

    def short(given: torch.Tensor) -> torch.Tensor:
        if len(given) > 2:
            raise torch.OutOfMemoryError("no memory for so many")
        return own(given)

    model.full_logits = short
    limits = Limits(8, lambda *_: 0)
    found = predict(model, images, limits, CPU)
    assert limits.evaluation == 1, "of six tiles first three, then one"
    assert capsys.readouterr().out.count("out of memory in validation") == 2
    for one, other in zip(wanted, found, strict=True):
        assert one.semantic is not None
        assert other.semantic is not None
        assert (one.semantic != other.semantic).mean() < 1e-3


def test_a_training_on_windows_validates_as_the_evaluation_does(
    prepared: Path, make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows of 32 x 32 pixels of images of 48 x 48; three steps an epoch."""
    own_scratch(tmp_path, monkeypatch)
    settings = ["model.stride=16", "model.window=32", "trainer.epoch_steps=3", "evaluate.split=val", "evaluate.num_overlays=0"]
    crop = ["+augment.crop.size=[32,32]", "+augment.crop.foreground=0.5", "evaluate.bootstrap.resamples=0"]
    cfg = small(make_config, prepared, tmp_path, *settings, *crop, network={"_target_": "torch.nn.Conv2d", "kernel_size": 9, "padding": 4})
    best = train.run(cfg, Path(cfg.paths.train))
    checkpoint = load(Path(cfg.paths.train) / "best.ckpt", cfg.targets.allow)
    assert isinstance(in_window(CheckpointNetwork(checkpoint), 1), Tiled)
    assert evaluate.run(cfg, tmp_path / "out") == pytest.approx(best, abs=1e-6)
    history = (Path(cfg.paths.train) / "history.csv").read_text().splitlines()
    assert len(history) == 1 + cfg.trainer.max_epochs


def test_larger_images_are_batches_of_their_own() -> None:
    sizes = [(20, 20), (20, 90), (20, 20), (20, 90), (64, 64), (64, 64), (65, 10)]
    batches = [[index for index, _ in batch] for batch in evaluation_batches(sizes, 2, window=64)]
    assert batches == [[0, 2], [1], [3], [4, 5], [6]]
    assert [len(batch) for batch in evaluation_batches(sizes, 2)] == [2, 2, 2, 1]


@pytest.mark.parametrize(("window", "stride"), [(50, 16), (16, 16), (48, 32)])
def test_a_window_that_does_not_go_with_the_stride_is_refused(
    window: int, stride: int, make_config: MakeConfig, make_info: MakeInfo
) -> None:
    with pytest.raises(ConfigError, match=rf"^model\.window={window}: expected a multiple of the network's stride {stride}, two times"):
        build_model(make_config(f"model.window={window}", f"model.stride={stride}"), make_info(6))


def test_a_checkpoint_of_an_earlier_version_sees_whole_images(large: Path, make_config: MakeConfig, tmp_path: Path) -> None:
    config, model = model_of(make_config, large)
    content = config.model_dump(mode="json", by_alias=True)
    del content["model"]["window"]
    for name, value in (("old", None), ("bad", 1 << 40)):
        save(
            tmp_path / name,
            Checkpoint(
                model.state_dict(), content | {"model": content["model"] | ({"window": value} if value else {})}, read_info(large), 1, {}
            ),
        )
    assert restore(load(tmp_path / "old", config.targets.allow)).window is None
    with pytest.raises(DataError, match=r"bad: its settings are damaged: model\.window"):
        load(tmp_path / "bad", config.targets.allow)


@pytest.mark.slow
def test_an_exported_file_has_the_window_of_its_checkpoint(large: Path, make_config: MakeConfig, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra export")
    from typed import typed

    config, model = model_of(
        make_config, large, "model.window=128", network={"_target_": "torch.nn.Conv2d", "kernel_size": 9, "padding": 4}
    )
    path = checkpoint_of(tmp_path, config, model, large)
    image = cv2.imread(str(next((large / "train/images").iterdir())))[:200, :150]
    for number, (options, window) in enumerate([([], 128), (["size=128x128"], 128), (["size=96x96"], None), (["argmax=true"], None)]):
        out = tmp_path / f"{number}.onnx"
        typed("export", Path.cwd(), [str(path), f"out={out}", "check.images=1", *options])
        network = seg.load(out).network
        assert network.facts.window == window
        if window:
            wanted, found = seg.load(path).predict(image).semantic, seg.load(out).predict(image).semantic
            assert wanted is not None
            assert found is not None
            assert (wanted != found).mean() < 1e-3


def test_models_of_several_windows_need_a_tile_for_all(large: Path, make_config: MakeConfig, tmp_path: Path) -> None:
    paths = [checkpoint_of(tmp_path / name, *model_of(make_config, large, f"model.window={name}"), large) for name in ("64", "null")]
    with pytest.raises(
        ConfigError, match=r"learned to see windows of several sizes \(.*best\.ckpt: 64, .*: whole images\); set predict\.tile"
    ):
        seg.load(*paths)
    assert isinstance(seg.load(*paths, tile=64).network, Tiled)
    assert seg.load(paths[0], outputs=["tiff"]).network.facts.window == 64


def test_the_sizes_that_a_network_is_tried_at_are_its_tiles(large: Path, make_config: MakeConfig, tmp_path: Path) -> None:
    from seg.training.loading.datamodule import SegmentationData
    from seg.training.module import check_network

    _, model = model_of(make_config, large, "model.window=64")
    policy = compile_policy(augment(crop={"size": [64, 64], "foreground": 0.5}), ["albumentations"])
    data = SegmentationData(large, None, policy, 2, 2, 0, 0, False, window=64)
    seen: list[tuple[int, ...]] = []
    own = model.network_input
    model.network_input = lambda images, *rest: seen.append(tuple(images.shape[2:])) or own(images, *rest)  # type: ignore
    check_network(model, data, 1)
    assert set(seen) == {(64, 64)}
    assert model.seen_at_once((64, 20)) == (64, 20)
