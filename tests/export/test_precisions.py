"""Files of less precision are kept where the figure stays in its interval, and the fastest of all forms is found."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
import torch
from compared import samples_of
from conftest import MakeConfig
from typed import typed
from untrained import ROOT

from seg.core.errors import ConfigError, DataError
from seg.data.store import read_info
from seg.export import forms, measure, write
from seg.export.forms import Form
from seg.export.settings import Export
from seg.models.build import build_model
from seg.models.checkpoint import Checkpoint, load, save
from seg.predict.exported import open_exported
from seg.stages.export import _forms as forms_of
from seg.tiles.checkpoint import CheckpointNetwork

pytestmark = pytest.mark.slow
# more weights than ONNX Runtime keeps in the model that it quantizes
CONVOLUTION = {"_target_": "torch.nn.Conv2d", "kernel_size": 7, "padding": 3}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, make_config: MakeConfig, prepared: Path) -> Path:
    config, info = make_config("trainer.precision=32-true", "trainer.accelerator=cpu", network=CONVOLUTION), read_info(prepared)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("precise") / "best.ckpt"
    model = build_model(config, info)
    samples = samples_of(prepared)
    images, labels = (torch.from_numpy(np.stack(p)) for p in ([s.image for s in samples], [s.semantic for s in samples]))
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    for _ in range(60):  # colours tell something of the classes, which a bad file then forgets
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model.full_logits(images.permute(0, 3, 1, 2)), labels.long()).backward()
        optimizer.step()
    save(path, Checkpoint(model.state_dict(), config.model_dump(mode="json", by_alias=True), info, 1, {}))
    return path


def exported(checkpoint: Path, prepared: Path, *words: str) -> Any:
    return typed("export", ROOT, [str(checkpoint), f"paths.prepare={prepared}", "calibration=4", *words])


@pytest.mark.parametrize("form", ["onnx", "openvino"])
def test_integers_of_8_bits_say_nearly_what_the_checkpoint_says(
    tmp_path: Path, checkpoint: Path, prepared: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    out = tmp_path / f"small{'.onnx' if form == 'onnx' else '.xml'}"
    written = exported(checkpoint, prepared, f"format={form}", "precision=int8", f"out={out}")
    assert (written.path, written.description.precision) == (out, "int8")
    said = re.search(r"miou (\S+) on test; the checkpoint's (\S+) \((\S+) to (\S+)\)", capsys.readouterr().out)
    assert said is not None
    found, wanted, low, high = map(float, said.groups())
    assert low <= wanted <= high
    assert found >= low
    if form == "onnx":
        assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in onnx.load(out).graph.node}
    else:
        operations = [node.get_type_name() for node in openvino.Core().read_model(out).get_ordered_ops()]
        assert "FakeQuantize" in operations
    network, reference = open_exported(out, "cpu"), CheckpointNetwork(load(checkpoint, ["seg", "torch.nn"]), "cpu", "32-true")
    assert network.description.precision == "int8"
    images = torch.from_numpy(np.stack([sample.image for sample in samples_of(prepared)])).permute(0, 3, 1, 2)
    given, exact = network.logits(images), reference.logits(images)
    apart = float((given - exact).abs().max() / (exact.max() - exact.min()))
    assert 1e-5 < apart < 0.1  # rounded, and no worse
    assert sorted(p.suffix for p in tmp_path.iterdir()) == ([".onnx"] if form == "onnx" else [".bin", ".xml"])


def test_a_file_whose_figure_leaves_the_interval_is_not_kept(
    tmp_path: Path, checkpoint: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(proto: Any, _images: Any) -> Any:
        worse = onnx.ModelProto()
        worse.CopyFrom(proto)
        for tensor in worse.graph.initializer:
            values = onnx.numpy_helper.to_array(tensor)
            if values.ndim == 1 and values.dtype == np.float32 and len(values) == 6:  # the bias of each class
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.eye(6, dtype=np.float32)[5] * 1000, tensor.name))
        return worse

    out = tmp_path / "best.onnx"
    out.write_bytes(b"before")
    monkeypatch.setattr(write, "quantized_onnx", spoilt)
    with pytest.raises(DataError, match=r"best\.onnx: not written, since its figure is outside of the interval .* use float32"):
        exported(checkpoint, prepared, "precision=int8", f"out={out}")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("best.onnx", b"before")]


def test_the_fastest_form_stays_and_the_table_has_all(
    tmp_path: Path, checkpoint: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = {"checkpoint": 0.008, "onnx float32": 0.004, "onnx int8": 0.003, "openvino float32": 0.002, "openvino int8": 0.0025}
    real = measure.times_of
    measured: dict[str, list[float]] = {}

    def told(*given: Any) -> dict[str, list[float]]:
        measured.update(real(*given))
        return {name: [taken[name]] for name in measured}

    monkeypatch.setattr(forms, "times_of", told)
    monkeypatch.setattr(forms, "has_fast_bf16", lambda _device: False)
    monkeypatch.setattr(forms, "ROUNDS", 3)
    written = exported(checkpoint, prepared, "format=auto", f"out={tmp_path / 'fast'}")
    assert (written.path, written.description.precision) == (tmp_path / "fast.xml", "float32")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fast.bin", "fast.xml"]
    assert measured.keys() == taken.keys()
    assert all(len(times) == 3 and min(times) > 0 for times in measured.values())
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith("an image of 48x48 pixels on this machine")
    named = [" ".join(row.split()[:2]) for row in rows[2:7]]
    assert named == ["onnx float32", "onnx int8", "openvino float32", "openvino bfloat16", "openvino int8"]
    assert "4.00 x" in rows[4]
    assert "this processor has no instructions for it" in rows[5]
    assert "miou" in rows[6]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["precision=bfloat16"], "precision=bfloat16: files of format=onnx compute in float32 or int8"),
        (["format=auto", "precision=bfloat16"], r"precision=bfloat16: no format of out=.*best\.onnx computes in it"),
        (["precision=int8", "paths.prepare=nowhere"], "nowhere: there is no prepared data set, whose images show whether"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, checkpoint: Path, prepared: Path, words: list[str], answer: str) -> None:
    with pytest.raises(ConfigError, match=answer):
        exported(checkpoint, prepared, f"out={tmp_path / 'best.onnx'}", *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["format=auto"], 5),
        (["format=auto", "out=fast.onnx"], 2),
        (["format=auto", "precision=int8"], 2),
        (["format=auto", "precision=int8", "out=fast.xml"], 1),
        (["format=openvino"], 1),
    ],
)
def test_auto_tries_what_the_name_and_the_precision_leave(words: list[str], left: int) -> None:
    given = dict(word.split("=") for word in words)
    settings = Export.model_construct(**{"out": None, "precision": "float32"} | given)
    found, out = forms_of(Path("best.ckpt"), settings)
    assert len(found) == left
    assert out == Path("fast" if "out" in given else "best")
    assert {form.precision for form in found} <= {given.get("precision")} or "precision" not in given


def test_bfloat16_is_written_into_the_file_that_openvino_reads(
    tmp_path: Path, checkpoint: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "has_fast_bf16", lambda _device: True)
    written = exported(checkpoint, prepared, "format=openvino", "precision=bfloat16", f"out={tmp_path / 'half.xml'}")
    assert open_exported(written.path).description.precision == "bfloat16"
    assert Form("openvino", "bfloat16") == ("openvino", "bfloat16")
