"""Whether the pipeline survives `kill -9` at any moment: N trials, each of which must end with the bytes of an unbroken run.

    python benchmarks/kill.py --trials 100                       # `dvc repro`; a trial costs about 1.3 unbroken runs
    python benchmarks/kill.py --trials 100 --only train          # `seg train` on data that are prepared

A small project (60 drawn images of 64 x 64 pixels, a U-Net of 2 levels with dropout, checkpoints every 0.3 s) is copied for each
trial. Its command runs in a process group of its own, which is killed at a moment drawn from a seed, uniformly over the
duration of an unbroken run; three times in ten the next run is killed as well, and so on. Then the command runs to its end, and
all outputs are compared: prepared and augmented data, checkpoints, history, evaluation, params.yaml and dvc.lock. Two unbroken
runs come first, side by side as the trials run: they say how long a run takes, and must agree.

DVC writes two of its own files in place, .dvc/tmp/rwlock and dvc.lock: one that is killed within that leaves half a file, and
the next `dvc repro` says so. docs/how-to/interrupted.md says what to remove; it is removed here, and counted. The folder of a trial that
failed is kept.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from project import Project, stages_run  # noqa: E402 - of tests/

SETTINGS = [
    "data.source.num_images=60",
    "data.source.size=64",
    "data.split.ratios={train: 0.6, val: 0.2, test: 0.2}",
    "model=unet_paper",
    "model.window=null",
    "loss=ce",
    "optimizer=sgd",
    "scheduler=onecycle",
    "augment=light",
    "augment.crop=null",
    "model.network.depth=2",
    "model.network.width=4",
    "model.network.padding=same",
    "trainer.batch_size=2",
    "trainer.max_epochs=8",
    "trainer.epoch_steps=null",
    "evaluate.batch_size=8",
    "augment.copies=1",
    "evaluate.bootstrap.resamples=50",
    "runtime.save_minutes=0.005",
    "runtime.workers=0",
]
OUTPUTS = ("data/prepared", "data/augmented", "artifacts", "params.yaml", "dvc.lock")
AGAIN = 0.3  # how often a run after a kill is killed, too
HALVES = {"rwlock": ".dvc/tmp/rwlock", "dvc.lock": "dvc.lock"}
"""What DVC says of a file that it was killed in -> the file to remove."""

Digests = dict[str, str]


@dataclass
class Trial:
    """moments: seconds after the start of each run, and the stage that was killed then. removed: half-written files of DVC's."""

    number: int
    folder: Path
    moments: list[tuple[float, str]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    resumed: int = 0
    wrong: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=2, help="trials side by side, each with one thread")
    parser.add_argument("--only", choices=["train"], help="kill this stage alone, run by hand")
    parser.add_argument("--folder", type=Path, help="where the trials run; default: a temporary folder")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="kill-"))
    began = time.monotonic()
    command = [sys.executable, "-m", *(("seg", "train", "-cn", "pipeline") if given.only else ("dvc", "repro"))]
    template = make_template(folder / "template", bool(given.only))
    with ThreadPoolExecutor(given.at_once) as pool:
        unbroken = list(pool.map(lambda n: run_unbroken(template, folder / f"unbroken{n}", command), range(given.at_once)))
        seconds, wanted = unbroken[0]
        if any(digests != wanted for _, digests in unbroken):
            sys.exit("two unbroken runs differ: " + difference(unbroken[1][1], wanted))
        print(f"an unbroken run takes {seconds:.1f} s and leaves {len(wanted)} files", flush=True)

        def one(number: int) -> Trial:
            trial = run_trial(Trial(number, folder / f"trial{number:03d}"), template, command, seconds, wanted, given.seed)
            print(line(trial), flush=True)
            return trial

        trials = list(pool.map(one, range(given.trials)))
    shutil.rmtree(folder / "template")
    print(summary(trials, time.monotonic() - began))
    sys.exit(any(trial.wrong for trial in trials))


def make_template(folder: Path, prepared: bool) -> Project:
    """The project that every trial starts from, with its modules compiled."""
    project = Project.clone(folder, small=False)
    project.seg("configure", *SETTINGS)
    project.commit("small")
    subprocess.run([sys.executable, "-m", "compileall", "-q", "seg"], cwd=folder, check=True)
    if prepared:
        project.dvc("repro", "augment")
    return project


def run_unbroken(template: Project, folder: Path, command: list[str]) -> tuple[float, Digests]:
    """(seconds, digests of the outputs) of a run that nobody kills."""
    shutil.copytree(template.folder, folder, symlinks=True)
    began = time.monotonic()
    process = start(Project(folder), command)
    if process.wait():
        sys.exit(f"{' '.join(command)} failed in {folder}:\n{said(folder)}")
    seconds = time.monotonic() - began
    digests = digests_of(folder)
    shutil.rmtree(folder)
    return seconds, digests


def run_trial(trial: Trial, template: Project, command: list[str], seconds: float, wanted: Digests, seed: int) -> Trial:
    """Kill the command at random moments, run it to its end, and compare."""
    rng = random.Random(f"{seed} {trial.number}")
    shutil.copytree(template.folder, trial.folder, symlinks=True)
    project = Project(trial.folder)
    while not trial.moments or rng.random() < AGAIN:
        moment = rng.uniform(0, seconds)
        process = start(project, command)
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        note(trial, f"{moment:.2f}", process.returncode)
        trial.moments.append((moment, where(trial.folder, process.returncode)))
    for _ in range(len(HALVES) + 1):
        code = start(project, command).wait()
        note(trial, "to the end", code)
        if code == 0 or not remove_half_written(trial):
            break
    found = digests_of(trial.folder)
    trial.wrong = f"exit code {code}" if code else difference(found, wanted)
    if not trial.wrong:
        shutil.rmtree(trial.folder)
    return trial


def start(project: Project, command: list[str]) -> subprocess.Popen[str]:
    """The command in a process group of its own; what it says goes to said.txt in the project's .git, where nobody looks."""
    alone = {"OMP_NUM_THREADS": "1", "DVC_SITE_CACHE_DIR": str(project.folder / ".git/site"), "PYTHONUNBUFFERED": "1"}
    with open(project.folder / ".git/said.txt", "w") as file:
        return subprocess.Popen(
            command, cwd=project.folder, env=project.env(**alone), stdout=file, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )


def said(folder: Path) -> str:
    return (folder / ".git/said.txt").read_text()


def note(trial: Trial, what: str, code: int) -> None:
    """Keep what a run said beside those before it, for whoever looks into a failure."""
    text = said(trial.folder)
    trial.resumed += "resuming an interrupted run" in text
    with open(trial.folder / ".git/all.txt", "a") as file:
        file.write(f"== {what}: exit code {code}\n{text}\n")


def where(folder: Path, code: int) -> str:
    """The stage that a killed run had come to."""
    if code >= 0:
        return "ended before" if code == 0 else f"failed with {code}"
    return (stages_run(said(folder)) or ["start"])[-1]


def remove_half_written(trial: Trial) -> bool:
    """Remove what DVC says it cannot read; whether there was such a file."""
    text = said(trial.folder)
    for sign, name in HALVES.items():
        if re.search(rf"{re.escape(sign)}.*(corrupted|validation failed|format error)", text):
            (trial.folder / name).unlink(missing_ok=True)
            trial.removed.append(name)
            return True
    return False


def digests_of(folder: Path) -> Digests:
    """SHA-256 of every file of the outputs, by its path."""
    files = [path for name in OUTPUTS for path in ((folder / name).rglob("*") if (folder / name).is_dir() else [folder / name])]
    return {str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest() for p in sorted(files) if p.is_file()}


def difference(found: Digests, wanted: Digests) -> str:
    """The files that differ, or ""."""
    differing = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
    return f"{len(differing)} files differ, such as {', '.join(differing[:3])}" if differing else ""


def line(trial: Trial) -> str:
    moments = ", ".join(f"{seconds:.1f} s ({stage})" for seconds, stage in trial.moments)
    removed = f"; removed {', '.join(trial.removed)}" if trial.removed else ""
    end = f"{trial.wrong}; see {trial.folder}" if trial.wrong else "as unbroken"
    return f"trial {trial.number}: killed after {moments}{removed}: {end}"


def summary(trials: list[Trial], seconds: float) -> str:
    """N of N, in which stages the kills fell, and what was removed."""
    good = sum(not trial.wrong for trial in trials)
    stages = Counter(stage for trial in trials for _, stage in trial.moments)
    removed = Counter(name for trial in trials for name in trial.removed)
    lines = [
        f"{good} of {len(trials)} trials ended with the bytes of an unbroken run ({seconds / 60:.1f} minutes)",
        f"{sum(stages.values())} kills: " + ", ".join(f"{stage} {count}" for stage, count in stages.most_common()),
        f"trainings that went on from a checkpoint: {sum(trial.resumed for trial in trials)}",
        f"half-written files of DVC's removed: {', '.join(f'{name} {count}' for name, count in removed.items()) or 'none'}",
    ]
    return "\n".join(lines + [line(trial) for trial in trials if trial.wrong])


if __name__ == "__main__":
    main()
