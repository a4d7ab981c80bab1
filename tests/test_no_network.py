"""No command speaks to the network unless it was asked to: a process in which every connection and every look-up of a host fails."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from project import STAGES, Project
from untrained import untrained

GUARD = """
import os, sys
def guard(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        if not (event == "socket.connect" and isinstance(arguments[1], (str, bytes))):  # a socket of this machine has a path
            print("NETWORK", event, arguments[1:], file=sys.stderr, flush=True)
            if "GUARD_LOG" in os.environ:  # of a process whose exit code and words nobody sees
                with open(os.environ["GUARD_LOG"], "a") as file:
                    print(sys.argv, event, arguments[1:], file=file)
            os._exit(77)
sys.addaudithook(guard)
from seg.cli import main
sys.argv = ["seg", *sys.argv[1:]]
main()
"""


def guarded(folder: Path, *words: str) -> None:
    home = folder / "home"
    home.mkdir(exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "CI", "GITHUB_ACTIONS")} | {"HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", GUARD, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert not [p for p in home.rglob("*") if "telemetry" in p.as_posix().lower() or "openvino" in p.as_posix().lower()]


def test_the_guard_sees_a_connection() -> None:
    code = GUARD.partition("from seg")[0] + "import socket; socket.create_connection(('127.0.0.1', 9))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 77


@pytest.mark.slow
def test_no_process_of_the_pipeline_speaks_to_anybody(tmp_path: Path) -> None:
    """`dvc repro`, as of a user who has not run DVC before: stages, workers, and what DVC starts behind them."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard/sitecustomize.py").write_text(GUARD.partition("from seg")[0])
    log, home = tmp_path / "log.txt", tmp_path / "home"
    home.mkdir()
    project = Project.clone(tmp_path / "project")
    for name in ("CI", "DVC_TEST", "DVC_NO_ANALYTICS", "GITHUB_ACTIONS", "HF_HUB_OFFLINE", "DVC_GLOBAL_CONFIG_DIR"):
        project.environment[name] = ""
    project.environment |= {"PYTHONPATH": str(tmp_path / "guard"), "GUARD_LOG": str(log), "HOME": str(home)}
    project.environment |= {"DVC_SITE_CACHE_DIR": str(home / "site"), "DVC_GLOBAL_CONFIG_DIR": str(home / "config")}
    dead = project.run(sys.executable, "-c", "import socket; socket.create_connection(('127.0.0.1', 9))", ok=False)
    assert dead.returncode == 77, "the guard is there"
    log.unlink()
    assert project.repro() == STAGES
    time.sleep(5)  # for what DVC leaves behind
    assert not log.exists(), log.read_text()
    assert not [p for p in home.rglob("*") if "telemetry" in p.as_posix().lower()]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "torch_export", "openvino"])
def test_export_and_predict_speak_to_nobody(tmp_path: Path, form: str) -> None:
    import cv2
    import numpy as np

    untrained(tmp_path / "best.ckpt", "model.network.encoder_name=tu-test_resnet")
    suffix = {"onnx": ".onnx", "torch_export": ".pt2", "openvino": ".xml"}[form]
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 40, 3), 90, np.uint8))
    guarded(tmp_path, "export", "best.ckpt", f"format={form}", "paths.prepare=none")
    guarded(tmp_path, "predict", f"best{suffix}", "a.png", "--out", "of_export")
    if form == "onnx":
        guarded(tmp_path, "predict", "best.ckpt", "a.png", "--out", "of_checkpoint")
    assert (tmp_path / "of_export/classes/a.png").is_file()
