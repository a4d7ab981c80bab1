"""How fast `prepare` is, against the least that it could do: decode and hash the same files.

    python benchmarks/prepare.py --images 2000 --rounds 5

The files are made from a seed: photographs of soft shapes with noise (JPEG, quality 90) and index masks of discs (PNG). Each
round runs both, in an order that turns about: `prepare` with the source `folders`, from the first listing to the written
dataset.json; and a pool of as many processes that read each image and mask, decode them with OpenCV and take the SHA-256 of
their pixels. Both start their processes anew, and each is a program of its own, so that its memory can be told: the peak of the
main process, and of the largest of its workers. The ratio of a round is (time to decode and hash / time to prepare); printed
are the median and the extremes of the rounds. Beside it stands the ratio of the processor time, the programs' own start
included, which neighbours on the machine change less. --memory prepares a quarter of the images, too: the peak of the main process may
grow by what manifests need, no more.
"""

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np

NAMES = ("ground", "disc", "cup", "stone", "leaf", "coin")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--size", type=int, default=512, help="height and width in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the files are made; default: a temporary folder")
    parser.add_argument("--memory", action="store_true", help="prepare a quarter of the images, too")
    parser.add_argument("--run", choices=["prepare", "decode"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    if given.run:
        seconds = (prepare_once if given.run == "prepare" else decode_once)(given.folder, given.images, given.workers)
        own, workers = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        busy = own.ru_utime + own.ru_stime + workers.ru_utime + workers.ru_stime
        print(json.dumps({"seconds": seconds, "busy": busy, "main": own.ru_maxrss / 1024, "worker": workers.ru_maxrss / 1024}))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        write_files(folder, given.images, given.size)
        measure(folder, given.images, given.rounds, given.workers)
        if given.memory:
            for count in (given.images // 4, given.images):
                found = measured("prepare", folder, count, given.workers)
                print(f"{count:>7} images: main process {found['main']:.0f} MB, largest worker {found['worker']:.0f} MB")


def measure(folder: Path, count: int, rounds: int, workers: int) -> None:
    kinds = ["decode", "prepare"]
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            found[kind].append(measured(kind, folder, count, workers))
        kinds.reverse()
    for kind, runs in found.items():
        seconds, busy, main, worker = (np.median([run[key] for run in runs]) for key in ("seconds", "busy", "main", "worker"))
        speed = f"{seconds:.2f} s, {count / seconds:.0f} images/s, {busy:.2f} s of processor time"
        print(f"{kind:<8} {speed}; main process {main:.0f} MB, largest worker {worker:.0f} MB")
    for key, name in (("seconds", "speed"), ("busy", "processor time")):
        ratios = [d[key] / p[key] for d, p in zip(found["decode"], found["prepare"], strict=True)]
        print(f"ratio of {name}: {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def measured(kind: str, folder: Path, count: int, workers: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--run", kind, "--folder", str(folder), "--images", str(count), "--workers", str(workers)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    return found


def prepare_once(folder: Path, count: int, workers: int) -> float:
    """Seconds that preparing the first `count` images takes; without the program's own start."""
    from seg.data.sample import ClassInfo
    from seg.prepare.assignment import Assignment
    from seg.prepare.run import prepare
    from seg.sources.folders import Folders
    from seg.sources.images import ImageReader
    from seg.sources.settings import Split

    classes = [ClassInfo(name, (40 * k, 0, 255 - 40 * k)) for k, name in enumerate(NAMES)]
    ratios = {"train": 0.7, "val": 0.15, "test": 0.15}
    split = Split(by="ratios", ratios=ratios, lists=None, folders=None, group=None, table=None, stratify=True, folds=5, seed=0)
    suffixes, labels = {"image_suffix": "", "mask_suffix": ""}, {"labels": "index", "ignore": [255], "others": "refuse"}
    given = {"classes": classes, "reader": ImageReader(3), "split": split, "skip_unlabelled": True}
    source = Folders(str(folder), f"images{count}", "masks", **suffixes, **labels, **given)
    if not (folder / f"images{count}").exists():
        (folder / f"images{count}").mkdir()
        for number in range(count):
            os.link(folder / "images" / f"{number:06d}.jpg", folder / f"images{count}" / f"{number:06d}.jpg")
    out = Path(tempfile.mkdtemp(dir=folder)) / "prepared"  # removed in the end: some file systems create files slowly after that
    start = perf_counter()
    prepare(source, "discs", classes, Assignment(split, None), folder, out, workers, "none")
    return perf_counter() - start


def decode_once(folder: Path, count: int, workers: int) -> float:
    """Seconds that it takes to decode and hash the first `count` images and masks."""
    jobs = [(str(folder / "images" / f"{n:06d}.jpg"), str(folder / "masks" / f"{n:06d}.png")) for n in range(count)]
    start = perf_counter()
    with ProcessPoolExecutor(workers, get_context("spawn"), cv2.setNumThreads, (1,)) as pool:
        assert len(set(pool.map(digests, jobs, chunksize=16))) == count
    return perf_counter() - start


def digests(job: tuple[str, str]) -> tuple[str, str]:
    image = cv2.imdecode(np.frombuffer(Path(job[0]).read_bytes(), np.uint8), cv2.IMREAD_COLOR_RGB)
    mask = cv2.imdecode(np.frombuffer(Path(job[1]).read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    return hashlib.sha256(image.data).hexdigest(), hashlib.sha256(mask.data).hexdigest()


def write_files(folder: Path, count: int, size: int) -> None:
    """images/ and masks/, each image another."""
    for name in ("images", "masks"):
        (folder / name).mkdir()
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 6, (size * 2, size * 2, 3)).astype(np.float32)
    for number in range(count):
        coarse = rng.integers(0, 256, (24, 24, 3)).astype(np.float32)
        top, left = rng.integers(0, size, 2)
        image = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC) + noise[top : top + size, left : left + size]
        mask = np.zeros((size, size), np.uint8)
        for _ in range(12):
            x, y = (int(v) for v in rng.integers(0, size, 2))
            cv2.circle(mask, (x, y), int(rng.integers(size // 32, size // 6)), int(rng.integers(1, len(NAMES))), -1)
        mask[: rng.integers(1, 9)] = 255
        quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
        image8 = np.clip(image, 0, 255).astype(np.uint8)
        for path, done in (
            (folder / "images" / f"{number:06d}.jpg", cv2.imencode(".jpg", image8, quality)),
            (folder / "masks" / f"{number:06d}.png", cv2.imencode(".png", mask)),
        ):
            path.write_bytes(done[1].tobytes())


if __name__ == "__main__":
    main()
