"""Several devices share out the images: the files of one, to the byte, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import MakeConfig
from stages.test_predict import save_untrained
from typed import typed

from seg.core.errors import ConfigError, DataError
from seg.predict.devices import devices_of

ON_CPU = ["predict.accelerator=cpu", "runtime.progress=none", "runtime.threads=1", "predict.batch_size=2"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirteen of two sizes, which change within a batch, and one that is none."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(13):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(256, size=(48, 64 if number % 5 else 40, 3), dtype=np.uint8))
    (folder / "7b.png").write_bytes(b"no image")
    return folder


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize(
    ("task", "outputs"),
    [
        ("instance", "coco,ids"),
        pytest.param("semantic", "classes,confidence,probabilities", marks=pytest.mark.slow),
        pytest.param("semantic", "tiff", marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_two_processes_write_the_bytes_of_one(
    task: str, outputs: str, images: Path, prepared: Path, tmp_path: Path, make_config: MakeConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    model = save_untrained(prepared, tmp_path / "best.ckpt", make_config, f"task={task}")
    options = [f"predict.outputs=[{outputs}]", *ON_CPU, *(["predict.tile=32"] if outputs == "tiff" else [])]
    for devices in (1, 2):
        with pytest.raises(DataError, match="1 of 14 images could not be predicted"):
            typed(
                "predict",
                tmp_path,
                [str(model), str(images), "--out", str(tmp_path / str(devices)), f"predict.devices={devices}", *options],
            )
        said = capfd.readouterr()
        assert said.err.count("7b.png") == 1
        assert ("2 processes predict side by side, on cpu, cpu" in said.out) == (devices == 2)
    alone, shared = bytes_below(tmp_path / "1"), bytes_below(tmp_path / "2")
    assert len(alone) >= 13
    assert alone == shared


MANY = 4000  # images, so that some are left where this process waits for its turn


@pytest.mark.slow
def test_interrupted_files_are_whole_and_the_next_run_goes_on(
    images: Path, prepared: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    model = save_untrained(prepared, tmp_path / "best.ckpt", make_config)
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(MANY):
        os.link(images / f"{number % 13}.png", folder / f"{number}.png")
    out = tmp_path / "out"
    command = ["predict", str(model), str(folder), "--out", str(out), "predict.devices=2", "predict.outputs=[overlay]", *ON_CPU]
    with subprocess.Popen(
        [sys.executable, "-m", "seg", *command], cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while len(list(out.rglob("*.png"))) < 10:
            time.sleep(0.01)
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=120)[1]
    assert (process.returncode, said) == (130, "error: interrupted\n")
    written = bytes_below(out)
    assert 10 <= len(written) < MANY
    assert all(name.endswith(".png") and cv2.imread(str(out / name)) is not None for name in written)
    done = {Path(name).stem for name in written}
    left = [path for path in folder.iterdir() if path.stem not in done]
    for path in left[40:]:  # which say nothing more
        path.unlink()
    typed("predict", tmp_path, [*command[1:], "--skip"])
    after = bytes_below(out)
    assert len(after) == len(written) + len(left[:40])
    assert {name: after[name] for name in written} == written


def test_devices_are_counted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert devices_of(1, None) == [None]
    assert devices_of("auto", "cpu") == ["cpu"]
    assert devices_of(3, "cpu") == ["cpu"] * 3
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert capsys.readouterr().out == ""
    assert devices_of(1, "gpu:2") == ["gpu:2"]
    assert capsys.readouterr().out == "3 of 4 GPUs idle; predict.devices=auto predicts on all of them\n"
    assert devices_of("auto", None) == ["gpu:0", "gpu:1", "gpu:2", "gpu:3"]
    assert devices_of(2, "gpu") == ["gpu:0", "gpu:1"]
    with pytest.raises(ConfigError, match=r"predict\.devices=5: this machine has 4 GPU"):
        devices_of(5, "auto")
    with pytest.raises(ConfigError, match=r"predict\.devices=2: predict\.accelerator=gpu:1 is a single GPU"):
        devices_of(2, "gpu:1")
