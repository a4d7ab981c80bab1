"""The command `explain` on checkpoints of models that have learned nothing."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from untrained import untrained

from seg.core.errors import DataError, UsageError
from seg.stages.explain import Arguments, run


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(2):
        cv2.imwrite(str(folder / f"{number}.png"), np.random.default_rng(number).integers(0, 256, (40, 56, 3), dtype=np.uint8))
    return folder


def test_a_page_pictures_and_figures(tmp_path: Path, scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("model.network.encoder_depth=3", "model.network.decoder_channels=[16,8,8]", "model.stride=8")
    untrained(tmp_path / "m.ckpt", "model=attention_unet", *small)
    out = tmp_path / "out"
    run(tmp_path, Arguments(tmp_path / "m.ckpt", [str(scans)], out=out))
    figures = json.loads((out / "explain.json").read_text())
    assert list(figures) == ["0", "1"]
    methods = set(figures["0"]["methods"])
    assert {"gradients", "integrated gradients", "occlusion"} < methods
    assert any(name.startswith("attention at ") for name in methods)
    for name in methods:
        assert cv2.imread(str(out / f"0_{name.replace(' ', '_')}.png"), cv2.IMREAD_UNCHANGED).shape == (40, 56)
    page = (out / "explain.html").read_text()
    assert page.count("<img") == 2 * (1 + 2 * len(methods))
    assert "http" not in page.split("</style>")[1]
    assert f"2 images explained; see {out / 'explain.html'}" in capsys.readouterr().out


def test_an_image_larger_than_the_window_is_explained_about_the_answer(tmp_path: Path, scans: Path) -> None:
    untrained(tmp_path / "m.ckpt", "model=unet_small", "model.window=32")
    run(tmp_path, Arguments(tmp_path / "m.ckpt", [str(scans / "0.png")], at=(50, 5), out=tmp_path / "out"))
    assert cv2.imread(str(tmp_path / "out/0_gradients.png")).shape[:2] == (32, 32)


def test_mistakes_are_one_line(tmp_path: Path, scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.ckpt"
    untrained(model, "model=unet_small")
    with pytest.raises(UsageError, match=r"m\.onnx: name a checkpoint of training; an exported file gives no derivatives"):
        run(tmp_path, Arguments(tmp_path / "m.onnx", [str(scans)]))
    with pytest.raises(UsageError, match=r"^0: --class cel: did you mean 'cell'"):
        run(tmp_path, Arguments(model, [str(scans)], name="cel", out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    (scans / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="1 of 2 images could not be read"):
        run(tmp_path, Arguments(model, [str(scans)], out=tmp_path / "out"))
    assert "1.png" in capsys.readouterr().err
    assert list(json.loads((tmp_path / "out/explain.json").read_text())) == ["0"]
