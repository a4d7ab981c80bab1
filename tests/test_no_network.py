"""No command speaks to the network unless it was asked to: see guarded.py."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import preloaded
import pytest
from guarded import CONNECTION, GUARD, of_a_new_user
from project import ROOT, Project, ran_once
from untrained import CONVOLUTION, untrained

COMMANDS = """
import json
from seg.cli import main, prepare_environment
prepare_environment()
import seg.predict.api, seg.stages.export, seg.stages.predict
for words in json.loads(sys.argv[1]):
    if not (process := os.fork()):
        sys.argv = ["seg", *words]
        main()
        sys.exit()
    assert os.waitpid(process, 0)[1] == 0, words
"""
"""What commands do, each in a process forked from one that has imported what they do first."""


def test_the_guard_sees_a_connection() -> None:
    assert subprocess.run([sys.executable, "-c", GUARD + CONNECTION], capture_output=True).returncode == 77


@pytest.mark.slow
def test_no_process_of_the_pipeline_speaks_to_anybody(tmp_path_factory: pytest.TempPathFactory) -> None:
    """`dvc repro`, as of a user who has not run DVC before: stages, workers, and what DVC starts behind them."""
    folder = ran_once(tmp_path_factory).parent / "guarded"
    log = folder / "log.txt"
    time.sleep(5)  # for what DVC leaves behind
    assert not log.exists(), log.read_text()
    assert not [p for p in (folder / "home").rglob("*") if "telemetry" in p.as_posix().lower()]
    project = Project(folder, of_a_new_user(folder))
    (folder / "connects.py").write_text(CONNECTION)
    for words in (["connects.py"], ["-c", CONNECTION]):
        assert project.run("python", *words, ok=False).returncode == 77, "the guard was there"
        assert log.exists()
        log.unlink()


@pytest.mark.slow
def test_nothing_that_is_imported_speaks_to_anybody_or_warns(tmp_path: Path) -> None:
    """In an interpreter that has imported nothing, as of a user who has run nothing before."""
    names = [*preloaded.LIBRARIES.split(), *(f"seg.{path.parent.name}.{path.stem}" for path in (ROOT / "seg/stages").glob("[a-z]*.py"))]
    code = f"from seg.core.environment import prepare_environment; prepare_environment(); import {', '.join(names)}; print('all')"
    project = Project(ROOT, of_a_new_user(tmp_path))
    project.environment["PYTHONPATH"] += f"{os.pathsep}{ROOT}"
    done = project.run(sys.executable, "-c", code)
    said = [line for line in done.stderr.splitlines() if "building the font cache" not in line]  # which takes long on a busy machine
    assert (done.stdout, said) == ("all\n", [])
    assert not (tmp_path / "log.txt").exists()


@pytest.mark.slow
def test_export_and_predict_speak_to_nobody(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    untrained(tmp_path / "best.ckpt", "model.network.encoder_name=tu-test_resnet")
    untrained(tmp_path / "plain.ckpt", network=CONVOLUTION)  # which takes little time to export
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 40, 3), 90, np.uint8))
    words = [["predict", "best.ckpt", "a.png", "--out", "checkpoint"]]
    for form, suffix in (("onnx", ".onnx"), ("openvino", ".xml")):
        words.append(["export", "plain.ckpt", f"format={form}", "paths.prepare=none"])
        words.append(["predict", f"plain{suffix}", "a.png", "--out", form])
    home = tmp_path / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "CI", "GITHUB_ACTIONS")} | {"HOME": str(home)}
    command = [sys.executable, "-c", GUARD + COMMANDS, json.dumps(words)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert not [p for p in home.rglob("*") if "telemetry" in p.as_posix().lower() or "openvino" in p.as_posix().lower()]
    assert len(list(tmp_path.glob("*/classes/a.png"))) == 3
