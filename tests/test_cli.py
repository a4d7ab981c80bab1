"""The command line as a user types it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from forked import seg
from project import Project, ran_once

from seg.commands.table import COMMANDS

ROOT = Path(__file__).parents[1]


@pytest.fixture
def ran(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Project:
    return Project.ran(tmp_path_factory, tmp_path / "project")


def test_help_lists_the_commands() -> None:
    shown = seg("--help")
    assert shown.returncode == 0
    assert all(f"\n  {name} " in shown.stdout for name in COMMANDS)
    assert seg().stdout == shown.stdout


def test_help_of_a_command_lists_groups_options_and_defaults() -> None:
    shown = seg("train", "--help").stdout
    assert "usage: seg train [OVERRIDE ...] [-m] [-cn NAME]" in shown
    assert shown.count("usage") == 1
    assert "optimizer: adamw, auto, sgd" in shown
    assert "max_epochs: " in shown
    assert "seg.models.semantic.SemanticModel" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "answer"),
    [
        (
            ["trian"],
            2,
            "error: no command 'trian': did you mean 'train'? (commands: augment, clean, compare, configure, "
            "divide, doctor, evaluate, explain, export, folds, init, models, new, next, plan, predict, prepare, review, serve, sweep, "
            "track, train)",
        ),
        (["train", "model=mask_rcnn"], 1, "error: model=mask_rcnn: is for task=instance, but task=semantic"),
        (["train", "serve=default"], 1, "error: unknown key serve: "),
        (["train", "optimizer.lrr=1"], 1, "error: unknown key optimizer.lrr: did you mean 'lr'?"),
        (["train", "-m", "model=fcn,unte"], 1, "error: model=unte: no such option; did you mean 'unet'?"),
        (["train", "-m", "trainer=ddp", "seed=1,2"], 1, "queue the runs instead: dvc exp run --queue"),
        (["train", "trainer.devices=2", "-m", "seed=1,2"], 1, "queue the runs instead: dvc exp run --queue"),
        (["train", "-m", "hydra/launcher=slurm", "seed=1,2"], 1, "error: hydra/launcher=slurm: there is no srun here"),
        (["prepare", "seed=${nowhere}"], 1, "error: Interpolation key 'nowhere' not found"),
        (["prepare", "-cn", "pipeline"], 1, "error: there is no params.yaml"),
        (["prepare", "data=folders", "data.root=data"], 1, "error: data.root=data: data/raw is kept for a link to the data set"),
        (["prepare", "data=folders", "data.root=/nowhere"], 1, "error: data.root=/nowhere: there is no such folder"),
        (["export"], 2, "error: export: expected a CHECKPOINT: a checkpoint of training, such as artifacts/train/best.ckpt; see seg"),
        (["model=fcn", "train"], 2, "error: model=fcn: the command comes first, as in seg train model=fcn"),
        (["--encoders"], 2, "error: --encoders: is no option of seg itself; write seg models --encoders"),
        (["train", "unet"], 1, "error: 'unet' is not an override: write key=value; did you mean model=unet?"),
        (["train", "a=b=c"], 1, "put it into quotes: 'a=\"b=c\"'"),
        (["train", "-cn", "pipelin"], 2, "error: -cn pipelin: there is no conf/pipelin.yaml; did you mean 'pipeline'?"),
        pytest.param(["evaluate", "paths.train=/nowhere"], 1, "error: /nowhere/best.ckpt: cannot be read", marks=pytest.mark.slow),
        pytest.param(["train", "experiment=shapes", "paths.augment=/nowhere"], 1, "error: /nowhere", marks=pytest.mark.slow),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_an_exit_code(tmp_path: Path, arguments: list[str], code: int, answer: str) -> None:
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    answered = seg(*arguments, cwd=tmp_path)
    assert answered.returncode == code
    assert answer in answered.stderr
    assert "Traceback" not in answered.stderr
    assert len(answered.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("override", "answer"),
    [
        ("trainer=overfit", "params.yaml, which -cn pipeline reads, has no options; run `seg configure trainer=overfit` first"),
        ("optimizer.lrr=1", "unknown key optimizer.lrr: did you mean 'lr'?"),
        ("seed", "'seed' is not an override: write key=value"),
    ],
)
def test_a_mistake_in_what_overrides_the_pipelines_settings_is_one_line(tmp_path: Path, override: str, answer: str) -> None:
    for name in ("conf", "params.yaml"):
        (tmp_path / name).symlink_to(ROOT / name)
    answered = seg("train", "runtime.workers=1", "-cn", "pipeline", override, cwd=tmp_path)
    assert answered.returncode == 1
    assert answer in answered.stderr
    assert len(answered.stderr.strip().splitlines()) == 1


def test_commands_of_one_process_do_not_run_in_several() -> None:
    for command in ("prepare", "augment", "evaluate"):
        shown = seg(command, RANK="1", LOCAL_RANK="1", WORLD_SIZE="2")
        line = f"error: seg {command} runs in one process, and this is another; start it without torchrun or srun\n"
        assert (shown.returncode, shown.stderr) == (1, line)


def test_outside_of_a_project_it_says_where_to_stand(tmp_path: Path) -> None:
    answered = seg("train", cwd=tmp_path)
    assert answered.returncode == 1
    assert "has no conf/config.yaml; change into the project's folder first" in answered.stderr


@pytest.mark.slow
def test_a_sweep_trains_each_and_keeps_them_apart(ran: Project) -> None:
    done = ran.seg("train", "-m", "optimizer.lr=0.01,0.03", "trainer.max_epochs=1")
    runs = sorted(ran.folder.glob("multirun/train/*/*/best.ckpt"))
    assert [run.parent.name for run in runs] == ["0", "1"], done.stdout
    assert runs[0].read_bytes() != runs[1].read_bytes()
    scored = ran.seg("evaluate", f"paths.train={runs[0].parent}")
    assert "test: miou" in scored.stdout


@pytest.mark.slow
def test_the_console_is_calm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a run prints is what happens: no warnings but the doctor's, each with its kind, and no tips."""
    printed = (ran_once(tmp_path_factory).parent / "first_run.txt").read_text()
    text = re.sub(r"^ *warning: [a-z]+(-[a-z]+)+[,:] .*$", "", printed, flags=re.MULTILINE)
    for noise in ("Warning", "warning", "Tip", "GPU available", "HINT", "litlogger", "`Trainer", "deprecated", "profiler"):
        assert noise not in text, f"{noise}:\n{text}"


def test_a_folder_with_other_files_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/keep.txt").write_text("kept")
    answered = seg("prepare", "data.source.num_images=20", "hydra.run.dir=precious", cwd=tmp_path)
    assert answered.returncode == 1
    assert "precious: holds keep.txt, which is not this command's" in answered.stderr
    assert (tmp_path / "precious/keep.txt").read_text() == "kept"


@pytest.mark.slow
def test_help_starts_quickly() -> None:
    """Less than a quarter of a second of processor time beyond what Hydra takes for the same page: the best of three, timed beside it."""

    def best(*command: str) -> float:
        times = []
        for _ in range(3):
            process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0
            times.append(usage.ru_utime + usage.ru_stime)
        return min(times)

    conf = str(ROOT / "conf")
    alone = f"import hydra; hydra.main(version_base='1.3', config_path={conf!r}, config_name='config')(print)()"
    assert best("-m", "seg", "prepare", "--help") - best("-c", alone, "--help") < 0.25
