"""What each step costs with many images, in files and in shards; how it grows; and what a million of them would take.

    python benchmarks/scale.py --counts 1000 10000
    python benchmarks/scale.py --counts 1000 100000 --only prepare

Images of 48 x 48 pixels (PNG) with index masks are drawn from a seed and read by the source `folders`. Each count and store has a
project of its own, in which each command of dvc.yaml runs by hand, with one augmented copy of each training image and a training of
a few steps. `dvc commit` then takes over what they wrote, which costs what DVC adds to a first run; `dvc repro` must find nothing to
do, and its time is that of a no-op. It looks at each file of the raw data, too; "dvc behind" is a no-op of the stages behind
`prepare` alone, as `dvc repro --downstream plan` has them. With `--tar` the raw data are tar files of 10,000 images with their masks each.
`predict` reads the raw images, so it runs for one store alone, and not of tar files.

Where other programs share the cores, processor time (user and system, of a command and all that it starts) changes less than
seconds do, so growth is fitted to it: a power of the number of images, of what is above the time for 60 images, where two counts take
a fifth more than these ("hardly" where not; then a million is extrapolated in proportion). What grows faster than the power 1.1 is
named. Peak memory is that of the largest process.

Reading for training is measured in pairs: rounds of 2,000 samples in a random order, from files and from shards in turn; the figure
is the median of the rounds' ratios of processor time, with the middle half.
"""

import argparse
import io
import math
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from project import Project, stages_run  # noqa: E402 - of tests/

STORES = ("files", "shards")
LEAST = 60
SIDE = 48
MILLION = 1_000_000
SETTINGS = [
    "data=folders",
    "data.source.labels=index",
    "data.classes=[{name: ground, color: [0, 0, 0]}, {name: disc, color: [200, 0, 0]}, {name: stone, color: [0, 0, 200]}]",
    "model=unet_paper",
    "model.window=null",
    "loss=ce",
    "optimizer=sgd",
    "scheduler=onecycle",
    "augment=light",
    "augment.crop=null",
    "augment.copies=1",
    "model.network.depth=2",
    "model.network.width=4",
    "model.network.padding=same",
    "trainer.accelerator=cpu",
    "trainer.batch_size=8",
    "trainer.max_epochs=1",
    "trainer.epoch_steps=4",
    "evaluate.batch_size=32",
    "runtime.threads=1",
]
STAGES = ("prepare", "plan", "augment", "train", "evaluate")
IDLE = ("dvc no-op", "dvc behind")
STEPS = (*STAGES, "predict", "dvc commit", *IDLE)


@dataclass(frozen=True)
class Cost:
    """Of a command. busy: seconds of processor time. peak: MB of the largest process."""

    seconds: float
    busy: float
    peak: float


Costs = dict[tuple[str, str, int], Cost]  # by store, step, count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[1000, 10_000], help="numbers of images")
    parser.add_argument("--only", nargs="+", choices=[*STAGES, "predict"], default=[*STAGES, "predict"])
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES)
    parser.add_argument("--tar", action="store_true", help="raw data in tar files")
    parser.add_argument("--rounds", type=int, default=15, help="of reading")
    parser.add_argument("--folder", type=Path, help="where the files are made; default: a temporary folder")
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.read:
        print(reading(Path(given.read[0]), int(given.read[1]), given.rounds), flush=True)
        return
    costs: Costs = {}
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        for count in sorted({LEAST, *given.counts}):
            (draw_tars if given.tar else draw)(folder / f"raw{count}", count)
            for store in given.stores:
                predicted = store == given.stores[0] and not given.tar
                run(folder, store, count, [step for step in given.only if step != "predict" or predicted], costs, given.tar)
            if count > LEAST and len(given.stores) > 1:
                command = [sys.executable, __file__, "--read", str(folder), str(count), "--rounds", str(given.rounds)]
                subprocess.run(command, check=True)  # in a program of its own: what starts from a large one counts as large
            for store in given.stores:
                shutil.rmtree(folder / f"{store}{count}")
    report(costs, sorted(given.counts))


def draw(folder: Path, count: int) -> None:
    """images/ and masks/, each image another."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number, (image, mask) in enumerate(scenes(count)):
        cv2.imwrite(str(folder / "images" / f"{number:07d}.png"), image)
        cv2.imwrite(str(folder / "masks" / f"{number:07d}.png"), mask)


def draw_tars(folder: Path, count: int) -> None:
    """Tar files in which each image is followed by its mask."""
    folder.mkdir()
    drawn = enumerate(scenes(count))
    for first in range(0, count, 10_000):
        with tarfile.open(folder / f"{first // 10_000:06d}.tar", "w") as tar:
            for number, (image, mask) in islice(drawn, 10_000):
                for name, pixels in ((f"{number:07d}.png", image), (f"{number:07d}.semantic.png", mask)):
                    data = cv2.imencode(".png", pixels)[1].tobytes()
                    entry = tarfile.TarInfo(name)
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))


def scenes(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images (48, 48, 3) and index masks (48, 48) uint8."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        image, mask = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (SIDE, SIDE)), np.zeros((SIDE, SIDE), np.uint8)
        for _ in range(4):
            (x, y), kind = (int(v) for v in rng.integers(0, SIDE, 2)), int(rng.integers(1, 3))
            cv2.circle(mask, (x, y), int(rng.integers(3, 9)), kind, -1)
        image[mask > 0] //= 2
        yield image, mask


def run(folder: Path, store: str, count: int, only: Sequence[str], costs: Costs, tar: bool) -> None:
    """Every step in a project of its own, and a line of each. tar: the raw data are tar files."""
    project, raw = Project.clone(folder / f"{store}{count}", small=False), folder / f"raw{count}"
    layout = ["data.source.images=.", "data.source.masks=.", "data.source.mask_suffix=.semantic"] if tar else []
    project.seg("configure", *SETTINGS, *layout, f"data.root={raw}", f"data.store={store}")
    project.commit("configured")
    stages = [stage for stage in STAGES if stage in only]
    commands = {stage: ["-m", "seg", stage, "-cn", "pipeline", *["plan.keep=true"] * (stage == "plan")] for stage in stages}
    if "predict" in only:
        commands["predict"] = ["-m", "seg", "predict", "artifacts/train/best.ckpt", str(raw / "images"), "--out", "outputs/predicted"]
    commands["dvc commit"] = ["-m", "dvc", "commit", "-f", "configure", *stages]
    commands["dvc no-op"] = ["-m", "dvc", "repro", "configure", *stages]
    if behind := [stage for stage in stages if stage != "prepare"]:
        commands["dvc behind"] = ["-m", "dvc", "repro", "--single-item", *behind]
    for step, command in commands.items():
        costs[store, step, count] = cost = measured(project, [sys.executable, *command], step in IDLE)
        made = [path for name in ("prepared", "augmented") for path in (project.folder / "data" / name).rglob("*") if path.is_file()]
        shown = f"{cost.seconds:8.1f} s, {cost.busy:8.1f} s busy, {cost.peak:6.0f} MB"
        print(f"{count:>8} {store:<7} {step:<11} {shown}, {len(made)} files", flush=True)


def measured(project: Project, command: list[str], idle: bool) -> Cost:
    """Run a command to its end. idle: no stage may run."""
    before = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=project.folder, env={**os.environ, "PYTHONPATH": ""}, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - before
        said.seek(0)
        text = said.read()
    if process.returncode or (idle and stages_run(text)):
        sys.exit(f"{' '.join(command)}:\n{text}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def reading(folder: Path, count: int, rounds: int) -> str:
    """Speed from shards, as a multiple of that from files."""
    from seg.loading.dataset import SampleDataset

    files, shards = (SampleDataset([folder / f"{store}{count}" / "data/prepared/train"], 3, False) for store in STORES)
    order, ratios = np.random.default_rng(0), []
    for number in range(-1, rounds):
        keys = order.integers(0, len(files), 2000).tolist()
        spent = {}
        for dataset in (files, shards) if number % 2 else (shards, files):
            before = time.process_time()
            for key in keys:
                dataset.read(key)
            spent[id(dataset)] = time.process_time() - before
        ratios.append(spent[id(files)] / spent[id(shards)])
    middle, low, high = (float(np.percentile(ratios[1:], p)) for p in (50, 25, 75))  # the first fills the disk's cache
    return f"{count:>8} reading   from shards at {middle:.2f} ({low:.2f} to {high:.2f}) times the speed from files"


def report(costs: Costs, counts: list[int]) -> None:
    """A table; what grows faster than the images; and a million of them."""
    print(f"\n| store | step | {' | '.join(f'{count:,} images: s (busy), MB' for count in counts)} | grows by | {MILLION:,}: hours busy |")
    print(f"|---|---|{'---:|' * (len(counts) + 2)}")
    stores = list(dict.fromkeys(store for store, _, _ in costs))
    faster, hours = [], dict.fromkeys(stores, 0.0)
    for store in stores:
        for step in [step for step in STEPS if (store, step, LEAST) in costs]:
            found = [costs[store, step, count] for count in counts]
            least = costs[store, step, LEAST].busy
            above = {count: cost.busy - least for count, cost in zip(counts, found, strict=True) if cost.busy > 1.2 * least}
            told = len(above) > 1 and step != "train"  # whose steps are so many whatever the number of images
            power = float(np.polyfit(np.log(list(above)), np.log(list(above.values())), 1)[0]) if told else 1.0
            more = 0.0 if step == "train" else max(found[-1].busy - least, 0.0) * (MILLION / counts[-1]) ** max(power, 1.0)
            million = least + more
            hours[store] += million / 3600 if step not in IDLE else 0.0
            cells = [f"{cost.seconds:.1f} ({cost.busy:.1f}), {cost.peak:.0f}" for cost in found]
            shown = f"{power:.2f}" if told else "hardly"
            print(f"| {store} | {step} | {' | '.join(cells)} | {shown} | {million / 3600:.2f} |")
            faster += [f"{step} in {store} (power {power:.2f})"] if told and power > 1.1 else []
    print(f"\ngrows faster than the images: {', '.join(faster) or 'nothing'}")
    if len(counts) > 1:
        for store in stores:
            first, last = (costs[store, "prepare", count].busy / count for count in (counts[0], counts[-1]))
            pace = f"{first / last:.2f} times the speed an image at {counts[0]:,}"
            print(f"prepare in {store} at {counts[-1]:,} images: {pace}, by processor time")
    for store, total in hours.items():
        machines = math.ceil(total / 24)
        print(f"{MILLION:,} images in {store}: {total:.1f} hours of one core; machines of one core that do it in a day: {machines}")


if __name__ == "__main__":
    main()
