"""How fast batches are loaded for training, against a loader as tutorials write it.

    python benchmarks/loading.py --images 256 --workers 2 --rounds 5

The files are made from a seed (benchmarks/prepare.py): JPEG images and index masks, prepared as `seg prepare` does. Compared are

- plain: PIL opens image and mask, albumentations transforms them with the policy's transforms, Normalize and ToTensorV2 in the
  loading process, torch's own collate function stacks float images;
- ours, decoding each time (`runtime.cache=none`) and with decoded images in memory (`runtime.cache=memory`).

All have the same files, transforms, batch size and number of loading processes, one thread of OpenCV each, processes that
stay from epoch to epoch, and one epoch to warm up, in which the cache is filled. Each round runs an epoch of every variant, in
a random order. A ratio is the median over the rounds of (images a second / plain's in the same round); in brackets the middle
half of them. Plain is run twice a round (A/A): the ratio of the two says how far the others can be trusted. With --workers 0 the
processor time of the process is taken in place of wall time, which neighbours on the machine change less.
"""

import argparse
import os
import tempfile

os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import cv2
import numpy as np
from PIL import Image
from prepare import NAMES, write_files
from torch.utils.data import DataLoader, Dataset

from seg.augment.policy import compile_policy
from seg.configure.compose import compose
from seg.configure.config import Config, checked
from seg.core.environment import keep_freed_memory, prepare_environment
from seg.data.sample import ClassInfo
from seg.prepare.assignment import Assignment
from seg.prepare.run import prepare
from seg.sources.folders import Folders
from seg.sources.images import ImageReader
from seg.sources.settings import Split
from seg.training.loading.datamodule import SegmentationData
from seg.training.loading.sample_cache import CacheSettings

prepare_environment()
import albumentations as A  # noqa: E402
from albumentations.pytorch import ToTensorV2  # noqa: E402

Epoch = Callable[[int], Iterator[int]]
"""Number of an epoch -> the sizes of its batches."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--size", type=int, default=512, help="height and width in pixels")
    parser.add_argument("--policy", nargs="+", default=["light", "medium", "aerial"], help="options of conf/augment")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where the files are made; default: a temporary folder")
    given = parser.parse_args()
    keep_freed_memory()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        write_files(folder, given.images, given.size)
        prepared = prepare_files(folder)
        for policy in given.policy:
            conf = Path(__file__).resolve().parents[1] / "conf"
            config = checked(compose(conf, [f"augment={policy}"])[0])
            print(f"policy {policy}, {given.size}x{given.size} pixels, batches of {given.batch}, {given.workers} loading processes")
            report(measure(make_variants(prepared, config, given), given.rounds, given.workers))


def prepare_files(folder: Path) -> Path:
    """The prepared data set, nearly all of it for training."""
    classes = [ClassInfo(name, (40 * k, 0, 255 - 40 * k)) for k, name in enumerate(NAMES)]
    ratios = {"train": 0.98, "val": 0.01, "test": 0.01}
    split = Split(by="ratios", ratios=ratios, lists=None, folders=None, group=None, table=None, stratify=False, folds=5, seed=0)
    suffixes, labels = {"image_suffix": "", "mask_suffix": ""}, {"labels": "index", "ignore": [255], "others": "refuse"}
    own = {"classes": classes, "reader": ImageReader(3), "split": split, "skip_unlabelled": True}
    source = Folders(str(folder), "images", "masks", **suffixes, **labels, **own)
    prepare(source, "discs", classes, Assignment(split, None), folder, folder / "prepared", "auto", "none")
    return folder / "prepared"


class Plain(Dataset[tuple[Any, Any]]):
    """Images and masks as a tutorial's data set reads them."""

    def __init__(self, folder: Path, transforms: list[Any]) -> None:
        self.images = sorted((folder / "images").iterdir())
        self.masks = [folder / "semantic" / f"{path.stem}.png" for path in self.images]
        self.transform = A.Compose([*transforms, A.Normalize(), ToTensorV2()])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image = np.array(Image.open(self.images[index]).convert("RGB"))
        mask = np.array(Image.open(self.masks[index]))
        drawn = self.transform(image=image, mask=mask)
        return drawn["image"], drawn["mask"]


def make_variants(prepared: Path, config: Config, given: argparse.Namespace) -> dict[str, Epoch]:
    def plain() -> Epoch:
        stored = A.to_dict(compile_policy(config.augment, config.targets.allow).compose)
        transforms = A.from_dict(stored).transforms  # anew: a policy lets its own take quicker ways
        more: dict[str, Any] = {"worker_init_fn": lambda _: cv2.setNumThreads(1), "persistent_workers": given.workers > 0}
        data = Plain(prepared / "train", transforms)
        loader = DataLoader(data, given.batch, shuffle=True, drop_last=True, num_workers=given.workers, **more)
        return lambda _: (len(images) for images, _ in loader)

    def ours(cache: str) -> Epoch:
        policy = compile_policy(config.augment, config.targets.allow)
        kept = CacheSettings(cache, 1000.0)
        data = SegmentationData(prepared, None, policy, given.batch, given.batch, given.workers, 0, False, kept)
        loader = data.train_dataloader()

        def epoch(number: int) -> Iterator[int]:
            loader.batch_sampler.set_epoch(number)  # type: ignore[union-attr]
            return (len(batch) for batch in loader)

        return epoch

    return {
        "plain": plain(),
        "plain again (A/A)": plain(),
        "ours": ours("none"),
        "ours, cached": ours("memory"),
    }


def measure(variants: dict[str, Epoch], rounds: int, workers: int) -> dict[str, np.ndarray]:
    """Images a second of each variant in each round, after one epoch to warm up."""
    clock = perf_counter if workers else process_time
    speeds: dict[str, list[float]] = {name: [] for name in variants}
    rng, names = np.random.default_rng(0), list(variants)
    for number in range(rounds + 1):
        for index in rng.permutation(len(names)):
            start = clock()
            count = sum(variants[names[index]](number))
            if number:
                speeds[names[index]].append(count / (clock() - start))
    return {name: np.array(found) for name, found in speeds.items()}


def report(speeds: dict[str, np.ndarray]) -> None:
    print(f"{'':<24}{'images/s':>10}{'times plain':>24}")
    for name, found in speeds.items():
        low, middle, high = np.quantile(found / speeds["plain"], [0.25, 0.5, 0.75])
        print(f"{name:<24}{np.median(found):>10.0f}{f'{middle:.2f} ({low:.2f}..{high:.2f})':>24}", flush=True)


if __name__ == "__main__":
    main()
