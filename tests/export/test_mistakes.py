"""A mistake gives one line, and leaves nothing behind; a file of torch.export is not read."""

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from typed import typed
from untrained import CONVOLUTION, ROOT, untrained

from seg.core.errors import ConfigError, DataError, DiskFullError, InputError, UsageError
from seg.export.graph import SemanticGraph
from seg.export.write import Exporter, capture, onnx_of_program
from seg.models.checkpoint import load
from seg.models.semantic import SemanticModel
from seg.predict.exported import OnnxNetwork, open_exported
from seg.stages import export
from seg.tiles.checkpoint import CheckpointNetwork

DRAWN = ["paths.prepare=none"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("checkpoint") / "best.ckpt"
    untrained(path, "model.stride=8", network=CONVOLUTION)
    return path.read_bytes()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, checkpoint: bytes) -> Path:
    """The checkpoint as an ONNX file. Tests only read it."""
    path = tmp_path_factory.mktemp("exported") / "best.ckpt"
    path.write_bytes(checkpoint)
    return Path(typed("export", ROOT, [str(path), *DRAWN]).path)


@pytest.fixture
def folder(tmp_path: Path, checkpoint: bytes) -> Path:
    (tmp_path / "best.ckpt").write_bytes(checkpoint)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "kind", "answer"),
    [
        ([], UsageError, "export: expected a CHECKPOINT: a checkpoint of training, such as"),
        (["a.ckpt", "b.ckpt"], UsageError, "export: expected one CHECKPOINT, got 2: a.ckpt b.ckpt; see seg export --help"),
        (
            ["--format", "onnx"],
            UsageError,
            "export: unknown option --format: settings are written without dashes, as in format=VALUE",
        ),
        (["best.ckpt", "formt=onnx"], ConfigError, "unknown key export.formt: did you mean 'export.format'?"),
        (["best.ckpt", "format=tflite"], ConfigError, "export.format='tflite': expected 'onnx', 'openvino' or 'auto'"),
        (["best.ckpt", "check.tolerance=two"], ConfigError, "export.check.tolerance='two': expected number"),
        (["best.ckpt", "size=360"], ConfigError, "size=360: expected HEIGHTxWIDTH in pixels, as in size=360x480"),
        (["best.ckpt", "out=best.pt"], ConfigError, "out=best.pt: a file of format=onnx ends in .onnx; set out=best.onnx"),
        (["lost.ckpt"], DataError, "lost.ckpt: cannot be read (No such file or directory)"),
        (["best.ckpt", "images=nowhere", *DRAWN], DataError, "images=nowhere: is no folder"),
        (["best.ckpt", "images=.", *DRAWN], DataError, "images=.: holds no image; expected files that end in .jpg"),
    ],
)
def test_a_mistake_is_said_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], kind: type[InputError], answer: str
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(kind) as error:
        typed("export", ROOT, arguments)
    assert type(error.value) is kind
    assert answer in str(error.value)
    assert "\n" not in str(error.value)
    assert [path.name for path in folder.iterdir()] == ["best.ckpt"]


@pytest.mark.parametrize(
    ("form", "package", "command"), [("onnx", "onnxscript", "onnxscript onnxruntime"), ("openvino", "openvino", "openvino")]
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, form: str, package: str, command: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ConfigError, match=f"^format={form}: needs the package {package}; pip install {command}$"):
        typed("export", ROOT, [str(folder / "best.ckpt"), f"format={form}"])


def test_classes_of_pixels_are_refused_before_any_work_where_there_are_instances(tmp_path: Path) -> None:
    untrained(tmp_path / "best.ckpt", "task=instance")
    with pytest.raises(ConfigError, match="task is instance; leave it out"):
        typed("export", ROOT, [str(tmp_path / "best.ckpt"), "argmax=true", "images=nowhere"])


OWN = """
from torch import nn
from seg.models.base import SegmentationModel
class Own(SegmentationModel):
    def __init__(self, network: nn.Module, mean, std, stride, scale) -> None:
        super().__init__(mean, std, stride, scale)
        self.network = network
    body = property(lambda self: self.network)
    def losses(self, batch): ...
    def predict(self, images): ...
"""


def test_a_task_of_ones_own_is_exported_where_its_model_is_known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = torch.load(folder / "best.ckpt", weights_only=True)
    content["config"]["task"]["name"] = "roads"
    torch.save(content, folder / "roads.ckpt")
    written = typed("export", ROOT, [str(folder / "roads.ckpt"), *DRAWN])
    assert (
        open_exported(written.path).facts.task
        == CheckpointNetwork(load(folder / "roads.ckpt", ["seg", "torch.nn"])).facts.task
        == "semantic"
    )
    (folder / "ownkit.py").write_text(OWN)
    monkeypatch.syspath_prepend(folder)
    content["config"]["task"]["model"] = {"_target_": "ownkit.Own"}
    torch.save(content, folder / "own.ckpt")
    before = sorted(folder.iterdir())
    allowed = "targets.allow=[seg,torch.nn,segmentation_models_pytorch,ownkit]"
    with pytest.raises(ConfigError, match=r"own\.ckpt: is of the task roads, whose model ownkit\.Own is of a kind of its own"):
        typed("export", ROOT, [str(folder / "own.ckpt"), *DRAWN, allowed])
    network = CheckpointNetwork(load(folder / "own.ckpt", ["seg", "torch.nn", "ownkit"]))
    with pytest.raises(ConfigError, match="the task roads: its model, Own, gives no scores of every class"):
        network.logits(torch.zeros(1, 3, 8, 8))
    assert sorted(p for p in folder.iterdir() if p.name != "__pycache__") == before


def test_a_file_that_differs_from_the_checkpoint_is_removed_and_the_one_before_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(Exporter):
        def write(self, path: Path, *given: Any) -> None:
            bias = self.model.body.bias.data
            bias[0] += 0.05
            super().write(path, *given)
            bias[0] -= 0.05

    (folder / "best.onnx").write_bytes(b"before")
    monkeypatch.setattr(export, "Exporter", Wrong)
    with pytest.raises(
        DataError, match=r"best\.onnx: not written, since it does not do what .*best\.ckpt does: a difference of .* of the logits'"
    ):
        typed("export", ROOT, [str(folder / "best.ckpt"), *DRAWN])
    assert {path.name: path.read_bytes() for path in folder.glob("*.onnx")} == {"best.onnx": b"before"}
    typed("export", ROOT, [str(folder / "best.ckpt"), *DRAWN, "check.tolerance=0.5", "check.differing=1.0"])
    assert len((folder / "best.onnx").read_bytes()) > 1000


def test_a_network_of_one_size_is_exported_for_that_size_alone() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 24, 2 * 16 * 24), nn.Unflatten(1, (2, 16, 24)))
    graph = SemanticGraph(SemanticModel(network, lambda logits, labels: logits.sum(), ["a", "b"], [0.0] * 3, [1.0] * 3, 8, 1.0, 0.0), False)
    with pytest.raises(ConfigError, match=r"cannot be exported for images of any size \(.*\); set size=HEIGHTxWIDTH"):
        capture(graph, 3, None)
    program, least = capture(graph, 3, (13, 21))
    assert least == (13, 21)
    images = torch.randint(0, 256, (3, 3, 13, 21), dtype=torch.uint8)
    torch.testing.assert_close(program.module()(images), graph.model.full_logits(images))
    with pytest.raises(ConfigError, match=r"cannot be exported for images of 40x40 .*; use the checkpoint, or another model"):
        capture(graph, 3, (40, 40))


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_a_damaged_file_and_one_of_others_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    with pytest.raises(DataError, match="there is no such file; make it with `seg export CHECKPOINT`"):
        open_exported(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="cannot be loaded"):
        open_exported(path)
    with pytest.raises(DataError, match=r"is no file of a format that is read here; expected a name that ends in \.onnx or \.xml"):
        open_exported(tmp_path / "best.ckpt")


def test_a_program_of_torch_export_is_refused_and_other_formats_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object, **__: object) -> None:
        raise AssertionError("was read")

    monkeypatch.setattr(torch, "load", read)
    monkeypatch.setattr(torch.export, "load", read)
    (tmp_path / "x.pt2").write_bytes(b"what a stranger wrote")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"x\.pt2: is no file of a format .*: export the checkpoint with format=onnx or format=openvino$"):
        typed("predict", ROOT, [str(tmp_path / "x.pt2"), str(tmp_path / "a.png"), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_disk_that_is_full_is_told_where_openvino_does_not_say_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    openvino = pytest.importorskip("openvino", reason="needs the extra openvino")

    def full(_: object, path: Path, **more: object) -> None:
        path.with_suffix(".bin").write_bytes(b"half")
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr(openvino, "save_model", full)
    with pytest.raises(DiskFullError, match=r"/best.xml: cannot be written \(No space left on device\): its disk has .* MB free"):
        typed("export", ROOT, [str(folder / "best.ckpt"), "format=openvino", "paths.prepare=none"])
    assert [path.name for path in folder.iterdir()] == ["best.ckpt"]


def test_what_a_library_says_of_images_it_cannot_run_is_one_line(exported: Path) -> None:
    class Failing(OnnxNetwork):
        def outputs(self, images: torch.Tensor) -> list[torch.Tensor]:
            raise RuntimeError("shapes\ndo not fit")

    network = Failing(exported, "cpu")
    with pytest.raises(DataError, match=r"best\.onnx: cannot be run on images of shape 1x3x8x9 \(shapes do not fit\); use the checkpoint"):
        network.predict(torch.zeros(1, 3, 8, 9, dtype=torch.uint8))


def test_an_operation_that_onnx_lacks_is_named() -> None:
    class Lacking(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.linalg.eigvals(images.float()[:, :, :3, :3]).real

    program = torch.export.export(Lacking(), (torch.zeros(2, 3, 8, 8, dtype=torch.uint8),))
    with pytest.raises(ConfigError, match=r"as ONNX \(\w+: .*linalg_eig.*\); use the checkpoint, or another model") as error:
        onnx_of_program(program, "scores")
    assert "\n" not in str(error.value)
