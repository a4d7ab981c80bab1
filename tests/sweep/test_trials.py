"""A sweep with a program in the place of the training, which is quick, and fails, lags behind and dies when it is asked to."""

import csv
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, MakeConfig

from seg.configure.compose import compose
from seg.configure.config import Config
from seg.core.errors import ConfigError
from seg.stages import sweep as stage
from seg.stages.sweep import Sweep
from seg.sweep import processes
from seg.sweep.processes import share
from seg.sweep.results import is_ours, write_experiment
from seg.sweep.space import read_space
from seg.sweep.trials import Trial, Trials
from seg.training.watch.study import JOURNAL, PRUNED

PROGRAM = f"""
import os, signal, sys, time
given = dict(a.split("=", 1) for a in sys.argv[1:])
folder, lr = given["runtime.trial"].strip("'"), float(given["optimizer.lr"])
number = int(os.path.basename(folder))
assert given["hydra.run.dir"] == given["runtime.trial"]
how = given.get("seed", "")
if how == "trouble" and number == 0:
    print("Traceback ...")
    print("error: the network is too large")
    print("a last word")
    sys.exit(1)
if how == "trouble" and number == 1:
    os.kill(os.getpid(), signal.SIGKILL)
if how == "trouble" and number == 3:
    sys.exit({PRUNED})
if how == "trouble" and number == 2:
    open(folder + "/history.csv", "w").write("epoch,val_miou\\n1,\\n2,nan\\n")
    sys.exit(0)
if how == "endless":
    def end(*_):
        open(folder + "/ended", "w").close()
        sys.exit(143)
    signal.signal(signal.SIGTERM, end)
    open(folder + "/started", "w").close()
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(60)
for name in ("best.ckpt", "last.ckpt"):
    open(folder + "/" + name, "w").close()
open(folder + "/history.csv", "w").write(f"epoch,val_miou\\n1,\\n2,{{1 - abs(lr - 0.5):.6f}}\\n3,0.01\\n")
"""
MakeTrials = Callable[..., Trials]
SPACE = {"optimizer.lr": {"low": 0.1, "high": 0.9}, "optimizer": ["sgd", "adamw"]}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str], str]]:
    """Study, overrides and comment of each experiment that a sweep would write, which takes a second."""
    calls: list[tuple[str, list[str], str]] = []
    monkeypatch.setattr(stage, "write_experiment", lambda conf, *given: calls.append(given) or True)
    return calls


@pytest.fixture(scope="module")
def base(make_config: MakeConfig) -> Config:
    return make_config()


@pytest.fixture
def make_trials(project: Path, base: Config, written: list) -> MakeTrials:
    """(**changed keys of sweep, facts, space) -> Trials."""

    def make(facts: dict | None = None, space: dict | None = None, **changed: object) -> Trials:
        sampler = base.sweep.sampler.model_copy(update={"kind": "random"})
        sweep = base.sweep.model_copy(update={"study": "s", "sampler": sampler, "trials": 4} | changed)
        return Trials(Path("outputs/sweeps/s"), sweep, read_space(space or SPACE), facts or {}, 3, "val_miou")

    return make


def sweep_of(project: Path, base: Config, trials: Trials, how: str, jobs: int = 1) -> Sweep:
    cfg = base.model_copy(update={"sweep": trials.sweep.model_copy(update={"jobs": jobs}), "seed": 0})
    return Sweep(project / "conf", cfg, trials, [f"seed={how}"] if how else [], [sys.executable, "-S", str(project / "program.py")])


def states(trials: Trials) -> list[str]:
    return [trial.state.name for trial in trials.all()]


def test_a_sweep_from_its_start_to_the_experiment(
    project: Path, base: Config, make_trials: MakeTrials, written: list, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = make_trials()
    sweep = sweep_of(project, base, trials, "", jobs=2)
    sweep.work()
    sweep.close()
    rows = list(csv.DictReader((trials.folder / "trials.csv").open()))
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3"]
    values = {float(row["value"]): row for row in rows}
    for row in rows:
        assert float(row["value"]) == pytest.approx(1 - abs(float(row["optimizer.lr"]) - 0.5), abs=1e-6), "not the last epoch"
    best = values[max(values)]
    said = capsys.readouterr().out
    assert "dvc exp run -S experiment=s" in said
    table = [line.split() for line in said.splitlines() if line.startswith("trial  ")]
    assert table == [["trial", "val_miou", "optimizer.lr", "optimizer", "time"]]
    study, overrides, found = written[-1]
    assert (study, overrides) == ("s", [f"optimizer.lr={best['optimizer.lr']}", f"optimizer={best['optimizer']}"])
    assert found.startswith(f"val_miou {best['value']}: trial {best['trial']}, the best of ")
    assert len(written) == len(set(map(str, written))), "written when a better trial ends"
    kept = {path.parent.name for path in trials.folder.rglob("best.ckpt")}
    assert kept == {best["trial"]}, "the others' checkpoints are removed"
    assert (trials.folder / "trials.png").stat().st_size > 5000


def test_a_trial_that_has_no_value_is_one_of_many(project: Path, base: Config, make_trials: MakeTrials) -> None:
    trials = make_trials(trials=5)
    sweep_of(project, base, trials, "trouble", jobs=2).work()
    assert states(trials) == ["FAIL", "FAIL", "FAIL", "PRUNED", "COMPLETE"]
    errors = [trial.user_attrs.get("error") for trial in trials.all()]
    assert errors == [
        "the network is too large",
        "killed by SIGKILL, perhaps for want of memory",
        "outputs/sweeps/s/trials/2/history.csv: has no value of val_miou",
        None,
        None,
    ]
    rows = list(csv.DictReader((trials.folder / "trials.csv").open()))
    assert [bool(row["value"]) for row in rows] == [False] * 4 + [True]


def test_where_none_has_a_value_the_sweep_says_so(project: Path, base: Config, make_trials: MakeTrials) -> None:
    trials = make_trials(trials=1, space={"optimizer.lr": [0.1], "model": ["unet"]})
    trial = trials.take()
    assert trial
    trials.finish(trial, 1.0, "no memory")
    with pytest.raises(ConfigError, match=r"sweep\.study=s: no trial has a value"):
        sweep_of(project, base, trials, "").close()


def drawn(trials: Trials) -> list[Trial]:
    """All that is left to take, each ended with a value that its settings give."""
    taken = []
    while trial := trials.take():
        lr = float(dict(o.split("=") for o in trial.overrides)["optimizer.lr"])
        (trial.folder / "history.csv").write_text(f"epoch,val_miou\n1,{1 - abs(lr - 0.5)}\n")
        trials.finish(trial, 1.0)
        taken.append(trial)
    return taken


@pytest.mark.parametrize("kind", ["random", "tpe"])
def test_a_study_that_was_interrupted_draws_what_an_unbroken_one_does(make_trials: MakeTrials, base: Config, kind: str) -> None:
    sampler = base.sweep.sampler.model_copy(update={"kind": kind, "startup_trials": 3})
    unbroken = [trial.overrides for trial in drawn(make_trials(sampler=sampler, trials=6))]
    assert len({tuple(overrides) for overrides in unbroken}) == 6
    shutil.rmtree("outputs")
    found = [trial.overrides for trial in drawn(make_trials(sampler=sampler, trials=2))]
    cut = make_trials(sampler=sampler, trials=6)
    trial = cut.take()
    assert trial
    trial.lock.close()  # as if this process were killed
    again = make_trials(sampler=sampler, trials=6)
    resumed = again.take()
    assert resumed
    assert (resumed.number, resumed.overrides) == (2, trial.overrides)
    resumed.lock.close()
    found += [trial.overrides for trial in drawn(make_trials(sampler=sampler, trials=6))]
    assert found == unbroken
    assert make_trials(sampler=sampler, trials=6).take() is None


def test_a_trial_that_another_process_has_is_left_to_it(make_trials: MakeTrials) -> None:
    first, second = make_trials(trials=2), make_trials(trials=2)
    one, two = first.take(), second.take()
    assert one
    assert two
    assert (one.number, two.number) == (0, 1)
    assert first.take() is None
    second.leave(two, 7.0)
    two = first.take()
    assert two
    assert (two.number, two.seconds) == (1, 7.0)


def test_a_trial_whose_training_ended_after_its_sweep_was_killed_is_not_trained_again(
    project: Path, base: Config, make_trials: MakeTrials
) -> None:
    trials = make_trials(trials=1)
    trial = trials.take()
    assert trial
    (trial.folder / "history.csv").write_text("epoch,val_miou\n1,0.75\n")
    trial.lock.close()
    again = make_trials(trials=1)
    sweep = sweep_of(project, base, again, "")
    sweep.program = ["/no/such/program"]
    sweep.work()
    assert [t.value for t in again.all()] == [0.75]


def test_a_training_keeps_its_trial_after_its_sweep_was_killed(project: Path, make_trials: MakeTrials) -> None:
    trial = make_trials().take()
    assert trial
    sleeper = processes.start(trial, 0, [], {}, [sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    trial.lock.close()
    try:
        assert make_trials().take().number == 1
    finally:
        processes.stop([sleeper])
    assert make_trials().take().number == 0


def test_sigterm_ends_the_training_and_the_trial_goes_on_later(project: Path, base: Config, make_trials: MakeTrials) -> None:
    trials = make_trials()
    with pytest.raises(SystemExit) as ended:
        sweep_of(project, base, trials, "endless").work()
    assert ended.value.code == 143
    assert (trials.trial_folder(0) / "ended").exists(), "the training was asked to end, and had the time to"
    assert states(trials) == ["RUNNING"]
    assert make_trials().take().number == 0


def test_a_training_that_somebody_else_interrupts_interrupts_the_sweep(project: Path, base: Config, make_trials: MakeTrials) -> None:
    trials = make_trials()
    sweep = sweep_of(project, base, trials, "")
    sweep.program = [sys.executable, "-S", "-c", "import sys; sys.exit(130)"]
    with pytest.raises(KeyboardInterrupt):
        sweep.work()
    assert states(trials) == ["RUNNING"]


@pytest.mark.parametrize(
    ("facts", "space", "answer"),
    [
        ({"data": "b"}, SPACE, r"\(data was a, is b\)"),
        ({"data": "a"}, {"optimizer.lr": {"low": 0.1, "high": 0.8}}, r"\(space: optimizer\.lr was 0\.1 to 0\.9, is 0\.1 to 0\.8\)"),
        ({"data": "a"}, SPACE | {"seed": [1]}, r"\(space: seed was not there, is 1\)"),
    ],
)
def test_a_study_of_another_space_is_another_study(make_trials: MakeTrials, facts: dict, space: dict, answer: str) -> None:
    make_trials({"data": "a"})
    make_trials({"data": "a"}, trials=50)
    with pytest.raises(ConfigError, match=answer + r"; give this sweep a name of its own, as in sweep\.study=s_2, or remove"):
        make_trials(facts, space)


def test_a_line_that_a_power_cut_left_without_its_end_is_cut_off(make_trials: MakeTrials) -> None:
    drawn(make_trials(trials=2))
    with open(f"outputs/sweeps/s/{JOURNAL}", "ab") as file:
        file.write(b'{"op_code":4,"worker')
    assert len(drawn(make_trials(trials=3))) == 1
    assert states(make_trials()) == ["COMPLETE"] * 3


@pytest.mark.slow
def test_processes_work_at_one_study(project: Path, make_trials: MakeTrials) -> None:
    """Two processes take trials at the same time: none twice, none too many."""
    make_trials(trials=8)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import pickle; from pathlib import Path; from seg.sweep.trials import Trials; "
        "from seg.sweep.space import read_space; sweep, space = pickle.loads(bytes.fromhex(sys.argv[2])); "
        "trials = Trials(Path('outputs/sweeps/s'), sweep, read_space(space), {}, 3, 'val_miou')\n"
        "while trial := trials.take():\n"
        "    (trial.folder / 'history.csv').write_text('epoch,val_miou\\n1,0.5\\n'); trials.finish(trial, 1.0); print(trial.number)"
    )
    import pickle

    given = pickle.dumps((make_trials(trials=8).sweep, SPACE)).hex()
    command = [sys.executable, "-c", code, str(ROOT), given]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    taken = [process.communicate()[0].split() for process in running]
    assert sorted(int(number) for numbers in taken for number in numbers) == list(range(8))


@pytest.mark.slow
def test_an_experiment_that_somebody_wrote_or_edited_is_left_alone(tmp_path: Path) -> None:
    conf = Path(shutil.copytree(ROOT / "conf", tmp_path / "conf"))
    path = conf / "experiment/mine.yaml"
    assert is_ours(path)
    assert write_experiment(conf, "mine", ["optimizer.lr=0.125"], "found")
    assert is_ours(path)
    assert write_experiment(conf, "mine", ["optimizer.lr=0.375"], "found")
    path.write_text(path.read_text().replace("0.375", "0.5"))
    assert not is_ours(path)
    assert not write_experiment(conf, "mine", ["optimizer.lr=0.125"], "found")
    assert "0.5" in path.read_text()
    assert not is_ours(conf / "experiment/smoke.yaml")


@pytest.mark.parametrize(
    "overrides",
    [
        ["model=unet", "loss=ce_dice", "loss.terms.dice.weight=0.5", "+model.network.decoder_use_norm=layernorm", "runtime.workers=2"],
        pytest.param(["task=instance", "model=mask_rcnn", "optimizer.lr=0.1", "evaluate.groups=[kind]"], marks=pytest.mark.slow),
        pytest.param(
            ["experiment=camvid", "data.root='/a b'", "scheduler.pct_start=0.3", "model.scale=[32,32]", "trainer.gradient_clip=null"],
            marks=pytest.mark.slow,
        ),
        pytest.param(["seed=4", "sweep=sgd"], marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_experiment_composes_to_the_trials_settings(tmp_path: Path, overrides: list[str]) -> None:
    conf = Path(shutil.copytree(ROOT / "conf", tmp_path / "conf"))
    assert write_experiment(conf, "best", overrides, "found")
    wanted, got = compose(conf, overrides)[0], compose(conf, ["experiment=best"])[0]
    for section in wanted.keys() - {"experiment", "sweep", "runtime"}:
        assert got[section] == wanted[section], section
    assert got["runtime"]["workers"] == "auto", "what is of the command alone is not kept"


def test_each_of_several_trainings_has_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENCV_FOR_THREADS_NUM", raising=False)
    monkeypatch.setattr(processes, "num_cores", lambda: 8)
    cores = {"SEG_CORES": "4", "OPENCV_FOR_THREADS_NUM": "4"}
    assert share(0, 1, 1, ["0", "1"]) == {}
    assert share(1, 2, 1, []) == cores
    assert share(1, 2, 1, ["0"]) == cores
    assert [share(slot, 4, 1, ["3", "5"])["CUDA_VISIBLE_DEVICES"] for slot in range(4)] == ["3", "5", "3", "5"]
    assert [share(slot, 2, 2, list("01234"))["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["0,1", "2,3", "0,1"]
    assert share(0, 2, 2, []) == {"SEG_CORES": "4", "OPENCV_FOR_THREADS_NUM": "2"}, "two ranks share them"
    assert share(0, 16, 2, []) == {"SEG_CORES": "2", "OPENCV_FOR_THREADS_NUM": "1"}
    assert "CUDA_VISIBLE_DEVICES" not in share(0, 2, "auto", ["0", "1"])
    monkeypatch.setenv("OPENCV_FOR_THREADS_NUM", "7")
    assert share(0, 2, 1, []) == {"SEG_CORES": "4"}


def test_without_optuna_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from seg.training.watch.study import library

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"needs the package optuna; pip install -e '\.\[sweep\]'"):
        library()
