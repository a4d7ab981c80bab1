"""`seg sweep` as a user types it: trained, killed in between, resumed, and its best trial run as an experiment's settings."""

import csv
import os
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from project import Project
from typed import typed

from seg.configure.compose import compose

SPACE = "sweep.space={optimizer.lr:{low:1e-3,high:0.1,log:true},loss.label_smoothing:{low:0.0,high:0.2,step:0.1}}"


@pytest.mark.slow
def test_a_sweep_that_is_killed_goes_on(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    project = Project.ran(tmp_path_factory, tmp_path / "project")
    command = [str(project.python), "-m", "seg", "sweep", SPACE, "sweep.trials=3", "sweep.study=s", "sweep.pruner.kind=none"]
    trials = project.folder / "outputs/sweeps/s/trials"
    first = subprocess.Popen(
        command, cwd=project.folder, env=project.env(PYTHONUNBUFFERED="1"), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert first.stdout is not None
    started = [line for line in first.stdout if line.startswith("trial 1 starts") and not os.killpg(first.pid, signal.SIGKILL)]
    first.wait()
    assert started, "killed when its second trial started, whose training goes on alone"
    done = project.run(*command)
    assert "trial 0 starts" not in done.stdout
    rows = list(csv.DictReader((project.folder / "outputs/sweeps/s/trials.csv").open()))
    assert [row["state"] for row in rows] == ["done"] * 3
    assert f"optimizer.lr={rows[1]['optimizer.lr']} " in started[0], "the same settings as before"
    best = max(rows, key=lambda row: float(row["value"]))
    assert [path.parent.name for path in trials.glob("*/best.ckpt")] == [best["trial"]]
    for row in rows:
        with open(trials / row["trial"] / "history.csv") as file:
            figures = [float(epoch["val_miou"]) for epoch in csv.DictReader(file)]
        assert len(figures) == 2
        assert float(row["value"]) == max(figures)
    composed, _ = compose(project.folder / "conf", ["experiment=s"])
    kept = (composed["optimizer"]["lr"], composed["loss"]["label_smoothing"])
    assert kept == (float(best["optimizer.lr"]), float(best["loss.label_smoothing"]))


@pytest.mark.parametrize(
    ("overrides", "answer"),
    [
        ([], "error: sweep.space is empty: say what may vary, in a file of conf/sweep or as in 'sweep.space="),
        (["sweep.trails=3"], "error: unknown key sweep.trails: did you mean 'trials'?"),
        (["sweep=sgd", "sweep.study=smoke"], "error: conf/experiment/smoke.yaml: is there, not as a sweep has written it"),
    ],
    ids=str,
)
def test_a_mistake_is_one_line(overrides: list[str], answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from seg.core.errors import InputError

    (tmp_path / "conf").symlink_to(ROOT / "conf")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        typed("sweep", tmp_path, overrides)
    assert answer.removeprefix("error: ") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]
