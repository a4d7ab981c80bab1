"""Whether every command survives a disk that becomes full at any moment: N trials, each of which must end whole when there is room.

    python benchmarks/full_disk.py --trials 30          # some ten minutes on 2 CPU cores

A command writes to a file system of its own in memory, of a size that is drawn from a seed between nothing and what the command needs. It
must end in one line on stderr with exit code 1, and leave nothing in its folder but records of Hydra and outputs that are whole. Then the
file system gets room, the same command runs again, and its outputs must have the bytes of an unbroken run. Linux alone: `unshare` and
`mount` make the file system, without rights of an administrator where the system allows that.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, NoReturn

from seg import cli
from seg.core.environment import prepare_environment

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = ["data.source.num_images=16", "data.source.size=64", "data.split.ratios={train: 0.5, val: 0.25, test: 0.25}"]
SETTINGS += [
    "model=unet_small",
    "model.network.encoder_name=tu-test_resnet",
    "trainer.max_epochs=2",
    "trainer.batch_size=4",
    "augment.copies=1",
]
SETTINGS += ["loss=ce", "optimizer=sgd", "scheduler=onecycle", "augment=light", "augment.crop=null", "model.window=null"]
SETTINGS += ["trainer.epoch_steps=null", "evaluate.batch_size=8"]
SETTINGS += ["evaluate.bootstrap.resamples=20", "runtime.workers=0", "runtime.progress=none", "runtime.save_minutes=0.001"]
FILES = {"export-onnx": "best.onnx", "export-openvino": "best.xml"}
STAGES = ("prepare", "augment", "train", "evaluate", *FILES, "predict")
OUT = {"prepare": "data/prepared", "augment": "data/augmented", "train": "artifacts/train", "evaluate": "artifacts/evaluate"}
ROOM = 2**30  # bytes: more than any command needs

Digests = dict[str, str]


class Ended(NamedTuple):
    """code: of the exit. said: on stderr."""

    code: int
    said: str


@dataclass
class Trial:
    """room: bytes that there were; said: the error; wrong: what is not as it should be, or nothing. full: whether the disk became full."""

    stage: str
    room: int
    said: str = ""
    wrong: str = ""
    full: bool = False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=STAGES, help="the command that is tried")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)  # of a namespace, whose file systems nobody else sees
    given = parser.parse_args()
    if not given.inside:
        os.execvp("unshare", ["unshare", "--map-root-user", "--mount", sys.executable, *sys.argv, "--inside"])
    prepare_environment()
    for stage in _until(given.only):
        import_module(f"seg.stages.{stage.partition('-')[0]}")  # once, for all commands, which are forked
    folder = Path(tempfile.mkdtemp(prefix="full-disk-"))
    needed = unbroken(folder, _until(given.only))
    draw, began = random.Random(given.seed), time.monotonic()
    trials: list[Trial] = []
    for number in range(given.trials):
        stage = given.only or STAGES[number % len(STAGES)]
        done = Trial(stage, needed[stage])
        while not done.full and not done.wrong:  # the command may need less than it leaves
            done = trial(folder, stage, int(done.room * draw.uniform(0.05, 0.95)) // 4096 * 4096)
        trials.append(done)
        print(f"trial {number}: {stage} with {done.room / 1e3:.0f} kB: {done.wrong or done.said}", flush=True)
    shutil.rmtree(folder)
    good, stages = sum(not t.wrong for t in trials), Counter(t.stage for t in trials)
    print(f"{good} of {len(trials)} trials ended in one line, left nothing half-written and went on when there was room", end=" ")
    print(f"({(time.monotonic() - began) / 60:.1f} minutes; {', '.join(f'{name} {count}' for name, count in stages.items())})")
    sys.exit(good < len(trials))


def _until(last: str | None) -> Sequence[str]:
    """The commands up to one, which reads what those before it leave."""
    return STAGES[: 1 + STAGES.index(last)] if last else STAGES


def unbroken(folder: Path, stages: Sequence[str]) -> dict[str, int]:
    """Run every command with room enough; the bytes that each leaves, and digests.json with what they are."""
    (folder / "conf").symlink_to(ROOT / "conf")
    needed, digests = {}, {}
    for stage in stages:
        out = folder / OUT.get(stage, f"made/{stage}")
        done = command(folder, stage, out, folder / "scratch")
        if done.code:
            sys.exit(f"seg {stage} failed in {folder}:\n{done.said}")
        digests[stage] = digests_of(out)
        needed[stage] = sum(path.stat().st_size + 4096 for path in out.rglob("*") if path.is_file())
    (folder / "digests.json").write_text(json.dumps(digests), encoding="utf-8")
    return needed


def trial(folder: Path, stage: str, room: int) -> Trial:
    """Run a command on a disk that becomes full, then again with room."""
    done = Trial(stage, room)
    disk = folder / "disk"
    disk.mkdir(exist_ok=True)
    mount(disk, f"size={room}")
    out, expected = disk / "out", json.loads((folder / "digests.json").read_text(encoding="utf-8"))[stage]
    first = command(folder, stage, out, disk / "scratch")
    done.full, lines = first.code != 0, [line for line in first.said.splitlines() if line.startswith(("error", "Traceback"))]
    done.said = lines[-1] if lines else ""
    if done.full and (first.code != 1 or len(lines) != 1 or not lines[0].startswith("error: ")):
        done.wrong = f"exit code {first.code}: {first.said[-1500:]}"
    elif done.full and "No space left on device" not in done.said:
        done.wrong = f"says {done.said}"
    elif left := half_written(disk, out, expected):
        done.wrong = f"leaves {left} ({done.said})"
    else:
        mount(disk, f"remount,size={ROOM}")
        again = command(folder, stage, out, disk / "scratch", *(["--skip"] if stage == "predict" else []))
        if again.code:
            done.wrong = f"does not go on: {again.said[-1500:]}"
        elif digests_of(out) != expected:
            done.wrong = f"has other outputs than an unbroken run, after: {done.said}"
    subprocess.run(["umount", str(disk)], check=True)
    return done


def mount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=True)


def half_written(disk: Path, out: Path, expected: Digests) -> str:
    """What should not lie there: unfinished files outside of the scratch folder, and outputs that are not those of an unbroken run."""
    partial = [str(p.relative_to(disk)) for p in disk.rglob("*.partial") if "scratch" not in p.parts]
    other = [name for name, digest in digests_of(out).items() if expected.get(name) != digest]
    return ", ".join(partial + other)


def command(folder: Path, stage: str, out: Path, scratch: Path, *more: str) -> Ended:
    """Run a command in a process that is forked from this one."""
    checkpoint = str(folder / OUT["train"] / "best.ckpt")
    words = {
        **{name: [checkpoint, f"format={name.partition('-')[2]}", f"out={out}/{file}"] for name, file in FILES.items()},
        "predict": [checkpoint, str(folder / OUT["prepare"] / "test/images"), "--out", str(out)],
    }.get(stage, [*SETTINGS, f"hydra.run.dir={out}"])
    with tempfile.TemporaryFile("w+") as file:
        child = os.fork()
        if child == 0:
            _become(folder, ["seg", stage.partition("-")[0], *words, *more], scratch, file.fileno())
        _, status = os.waitpid(child, 0)
        file.seek(0)
        return Ended(os.waitstatus_to_exitcode(status), file.read())


def _become(folder: Path, words: list[str], scratch: Path, said: int) -> NoReturn:
    """In a forked process: run the command line, and end."""
    code = 1
    try:
        os.chdir(folder)
        os.environ["SEG_SCRATCH"], sys.argv = str(scratch), words
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(said, 2)
        cli.main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def digests_of(out: Path) -> Digests:
    """SHA-256 of every output by its path; records of Hydra are none."""
    files = [path for path in out.rglob("*") if path.is_file() and ".hydra" not in path.parts and path.suffix != ".log"]
    return {str(p.relative_to(out)): sha256(p.read_bytes()).hexdigest() for p in files}


if __name__ == "__main__":
    main()
