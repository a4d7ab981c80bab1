"""Exported files, used with nothing but their own libraries, do what the checkpoint does."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from typed import typed
from untrained import CLASSES, CONVOLUTION, ROOT, untrained

from seg.core.errors import ConfigError, DataError
from seg.models.checkpoint import LoadedCheckpoint
from seg.predict.exported import ExportedNetwork, open_exported
from seg.tiles.checkpoint import CheckpointNetwork

pytestmark = pytest.mark.slow

FORMATS = ("onnx", "openvino")
NONE = "paths.prepare=none"  # images are drawn
SIZES = [(1, 37, 53), (3, 64, 32), (1, 1, 70), (2, 130, 97)]  # batch, height, width


def noise(batch: int, height: int, width: int, channels: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (batch, channels, height, width), dtype=np.uint8))


def reference(checkpoint: LoadedCheckpoint) -> CheckpointNetwork:
    return CheckpointNetwork(checkpoint, "cpu", "32-true")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exported")


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> LoadedCheckpoint:
    """Of a convolution that gives logits at half the size of what it sees, itself 0.7 of the image, padded to multiples of 8."""
    return untrained(folder / "best.ckpt", "model.scale=0.7", "model.stride=8", network=CONVOLUTION)


@pytest.fixture(scope="module")
def files(folder: Path, checkpoint: LoadedCheckpoint) -> dict[str, Path]:
    return {form: typed("export", ROOT, [str(folder / "best.ckpt"), f"format={form}", NONE]).path for form in FORMATS}


@pytest.fixture(scope="module")
def classes(folder: Path, checkpoint: LoadedCheckpoint) -> Path:
    """A file that gives classes."""
    return typed("export", ROOT, [str(folder / "best.ckpt"), "argmax=true", f"out={folder / 'classes.onnx'}", NONE]).path


def test_each_library_alone_gives_the_logits_of_any_size(files: dict[str, Path], checkpoint: LoadedCheckpoint) -> None:
    session = onnxruntime.InferenceSession(files["onnx"])
    compiled = openvino.Core().compile_model(files["openvino"], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for size in SIZES:
        images = noise(*size)
        wanted = reference(checkpoint).logits(images).numpy()
        assert wanted.shape == (size[0], 3, *size[1:])
        assert np.ptp(wanted) > 0.5
        for given in (session.run(None, {"images": images.numpy()})[0], compiled(images.numpy())["logits"]):
            assert given.dtype == np.float32
            np.testing.assert_allclose(given, wanted, atol=2e-5)


@pytest.mark.parametrize("form", FORMATS)
def test_the_network_of_a_file_is_like_that_of_the_checkpoint(files: dict[str, Path], checkpoint: LoadedCheckpoint, form: str) -> None:
    network, images = open_exported(files[form], "cpu"), noise(2, 37, 53)
    assert network.facts == reference(checkpoint).facts
    torch.testing.assert_close(network.logits(images), reference(checkpoint).logits(images), atol=2e-5, rtol=0)
    for given, wanted in zip(network.predict(images), reference(checkpoint).predict(images), strict=True):
        assert given.semantic is not None
        assert given.confidence is not None
        assert (given.semantic == wanted.semantic).all()
        assert np.abs(given.confidence.astype(int) - wanted.confidence.astype(int)).max() <= 2
    with pytest.raises(DataError, match="takes images of 3 channels, got 1"):
        network.logits(noise(1, 20, 20, channels=1))


def test_an_onnx_file_says_all_that_is_needed_to_use_it(files: dict[str, Path]) -> None:
    model = onnx.load(files["onnx"])
    text = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(text["classes"]) == [{"name": c.name, "color": list(c.color)} for c in CLASSES]
    assert (text["task"], text["gives"], text["channel_order"], text["stride"]) == ("semantic", "scores", "RGB", "8")
    assert (text["input_layout"], text["input_type"], text["input_range"]) == ("batch, channels, height, width", "uint8", "[0, 255]")
    assert json.loads(text["dynamic"]) == ["batch", "height", "width"]
    assert (text["data"], text["data_digest"], text["model"]) == ("by hand", "d" * 64, "unet_small")
    sides = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert sides == ["batch", 3, "height", "width"]
    stored = model.SerializeToString()
    assert str(ROOT).encode() not in stored
    assert b"site-packages" not in stored


def test_all_formats_say_the_same(files: dict[str, Path]) -> None:
    described = {str(open_exported(path, "cpu").description) for path in files.values()}
    assert len(described) == 1


def test_the_same_checkpoint_gives_the_same_bytes(files: dict[str, Path], folder: Path) -> None:
    out = folder / "again.onnx"
    typed("export", ROOT, [str(folder / "best.ckpt"), f"out={out}", NONE])
    assert out.read_bytes() == files["onnx"].read_bytes()


def test_classes_come_without_scores(classes: Path, checkpoint: LoadedCheckpoint) -> None:
    network, images = open_exported(classes, "cpu"), noise(2, 37, 53)
    given = onnxruntime.InferenceSession(classes).run(None, {"images": images.numpy()})[0]
    assert (given.dtype, given.shape) == (np.uint8, (2, 37, 53))
    assert (given == reference(checkpoint).logits(images).argmax(dim=1).numpy()).all()
    assert [p.confidence for p in network.predict(images)] == [None, None]
    assert (network.predict(images)[1].semantic == given[1]).all()
    with pytest.raises(ConfigError, match=r"classes\.onnx: gives classes without their scores; export the checkpoint again without argmax"):
        network.logits(images)


def test_a_file_of_one_size_takes_no_other(folder: Path, checkpoint: LoadedCheckpoint) -> None:
    made = typed("export", ROOT, [str(folder / "best.ckpt"), "size=40x48", f"out={folder / 'one.onnx'}", NONE])
    network = open_exported(made.path, "cpu")
    assert (network.description.size, network.description.minimum) == ((40, 48), (40, 48))
    assert json.loads(network.description.to_text()["dynamic"]) == ["batch"]
    images = noise(3, 40, 48)
    torch.testing.assert_close(network.logits(images), reference(checkpoint).logits(images), atol=2e-5, rtol=0)
    with pytest.raises(DataError, match=r"takes images of 40x48 pixels alone, got 48x40; export .* size=48x40, or without size"):
        network.predict(noise(1, 48, 40))


def test_images_smaller_than_a_file_takes_are_padded_by_their_edge(files: dict[str, Path]) -> None:
    network = open_exported(files["onnx"], "cpu")
    network.description = replace(network.description, minimum=(33, 20))
    small = noise(1, 5, 30)
    padded = torch.cat([small, small[:, :, -1:].expand(1, 3, 28, 30)], dim=2)
    assert torch.equal(network.logits(small), network.outputs(padded)[0][:, :, :5])


def test_five_channels_and_gray_images(folder: Path) -> None:
    for channels in (5, 1):
        path = folder / f"channels{channels}.ckpt"
        loaded = untrained(path, "model.stride=8", network=CONVOLUTION, channels=channels)
        network: ExportedNetwork = open_exported(typed("export", ROOT, [str(path), NONE]).path, "cpu")
        images = noise(1, 33, 21, channels)
        torch.testing.assert_close(network.logits(images), reference(loaded).logits(images), atol=2e-5, rtol=0)


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_a_file_holds_the_card_of_the_model(folder: Path, checkpoint: LoadedCheckpoint, form: str) -> None:
    (folder / "card.md").write_text("# A model\n\n| class | iou |\n| --- | --- |\n| cell & co | 0.5 |\n")
    out = folder / ("card.onnx" if form == "onnx" else "card.xml")
    words = [str(folder / "best.ckpt"), f"format={form}", f"out={out}", f"card={folder / 'card.md'}", NONE]
    path = typed("export", ROOT, words).path
    if form == "onnx":
        held = {entry.key: entry.value for entry in onnx.load(path).metadata_props}["model_card"]
    else:
        held = openvino.Core().read_model(path).get_rt_info(["seg", "model_card"]).astype(str)
    assert held == (folder / "card.md").read_text()
    assert open_exported(path, "cpu").facts.classes == tuple(CLASSES)
    with pytest.raises(DataError, match=r"none.md: cannot be read"):
        typed("export", ROOT, [*words[:3], "card=none.md", NONE])
