"""All checks on a data set, in the order in which their findings are told; and doctor.json, which holds them."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from seg.core.errors import enumerated, plural
from seg.core.outputs import write_whole
from seg.data.sample import BACKGROUND, IGNORE, ClassInfo
from seg.data.store import CUT_FROM
from seg.prepare.checks import images
from seg.prepare.checks.facts import Examined
from seg.raw.record import Finding
from seg.sources.splits import SPLITS
from seg.storing.write import count_images

Splits = Mapping[str, Sequence[Examined]]
SHOWN = 12  # classes that a finding lists
# images below which a split is small: less than a batch to learn from; and with three images or fewer, one is a third of the figure
FEW = {"train": 8, "val": 4, "test": 4}
MIN_HOLDING = 2  # images of a split that hold a class, below which its figure there is that of one image, or training sees it in one
RARE_FROM = 20  # images of a split from which on that is said: smaller ones have little of anything
# times that the most frequent class has the rarest one's training pixels: plain cross-entropy then hardly sees the rarest
IMBALANCE = 100.0
_FIX = "stratify the split (data.split.stratify), change its seed, or add images"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the checks say of a data set. summary: counts a split, as dataset.json has them, and the
    images that are nearly the same as another of it."""

    findings: list[Finding]
    summary: dict[str, dict[str, Any]]

    @property
    def errors(self) -> list[Finding]:
        return [f for f in self.findings if f.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        return [f for f in self.findings if f.severity == "warning"]


def check(examined: Sequence[Examined], classes: Sequence[ClassInfo], with_instances: bool, split: bool = True) -> Diagnosis:
    """Run every check. split: whether the images are divided; without, those of splits are left out."""
    named: dict[str, list[Examined]] = {name: [e for e in examined if e.split == name] for name in SPLITS}
    pictures = [e for e in examined if CUT_FROM not in e.stored.entry.columns]  # of tiles many are empty, or all water
    across, within = images.find_near(pictures)
    findings: list[Finding] = []
    if split:
        findings += empty_splits(named)
        findings += no_instances(named) if with_instances else one_class(examined, classes)
        findings += small_splits(named)
        findings += class_presence(named, classes, with_instances)
        findings += imbalance(named["train"], classes)
    findings += images.same_pictures([e for e in examined if CUT_FROM not in e.stored.entry.columns or np.ptp(e.stored.thumbnail)])
    findings += images.near_duplicates(pictures, across)
    findings += images.empty_labels(pictures, classes, with_instances)
    findings += images.all_ignored(pictures, with_instances)
    findings += images.far_sizes(pictures)
    findings += images.few_values(pictures)
    findings += images.shades_of_gray(classes)
    if not with_instances:
        findings += images.much_foreground(examined, classes)
        findings += images.blobs_of_ignored(examined)
        findings += images.ids_as_classes(examined, classes)
    findings += images.mixed_color(pictures)
    findings += images.case_collisions(examined)
    findings += images.in_pieces(examined, classes)
    findings += images.overlapping(examined, classes)
    findings += images.tiny(examined, classes)
    near = Counter(pictures[index].split for index in {i for pair in within for i in (pair.first, pair.second)})
    parts = named if split else {"all": list(examined)}
    summary = {
        name: count_images([e.stored for e in members], len(classes)) | {"near_duplicates": near[name] if split else near.total()}
        for name, members in parts.items()
    }
    return Diagnosis(sorted(findings, key=lambda f: (f.severity, f.file == "data.split")), summary)  # what labels mean comes first


def empty_splits(splits: Splits) -> Iterator[Finding]:
    counts = ", ".join(f"{name} {len(members)}" for name, members in splits.items())
    for name, members in splits.items():
        if not members:
            yield Finding("empty-split", "data.split", f"the split {name} is empty ({counts} images)", "change it, or add images", "error")


def small_splits(splits: Splits) -> Iterator[Finding]:
    for name, members in splits.items():
        if 0 < len(members) < FEW[name]:
            more = "is little to learn from" if name == "train" else "its figures hang on single images, and each device needs one at least"
            what = f"the split {name} has {plural(len(members), 'image')}: {more}"
            yield Finding("few-images", "data.split", what, "add images, or evaluate by folds (plan.folds=5)")


def one_class(images: Sequence[Examined], classes: Sequence[ClassInfo]) -> Iterator[Finding]:
    """Labels of a single class, from which nothing can be learned: an error."""
    pixels = _pixels(images)
    present = [c.name for c, count in zip(classes, pixels, strict=False) if count]
    if images and len(present) < 2:
        ignored = f", and {pixels[IGNORE] / pixels.sum():.0%} of the pixels are ignored" if pixels[IGNORE] else ""
        what = f"the labels hold {'no class' if not present else f'the class {present[0]} alone'}{ignored}"
        fix = "compare the classes' labels and data.source.ignore with the values in the masks"
        yield Finding("one-class", "data.classes", what, fix, "error")


def no_instances(splits: Splits) -> Iterator[Finding]:
    """A data set of instances that has none to learn from: an error. Crowds are none."""
    counts = {name: sum(int((~i.facts.crowd).sum()) for i in members) for name, members in splits.items()}
    if not any(counts.values()):
        crowds = sum(len(i.facts.crowd) for members in splits.values() for i in members)
        only = f" ({crowds} crowd or ignored regions alone)" if crowds else ""
        what = f"the labels hold no instance in any image{only}"
        yield Finding("no-instance", "data.source", what, "compare it with the layout of the files", "error")
    elif not counts["train"]:
        there = ", ".join(f"{name} {count}" for name, count in counts.items())
        what = f"the split train holds no instance ({there} instances)"
        yield Finding("no-instance", "data.split", what, "change it, or its seed", "error")


def class_presence(splits: Splits, classes: Sequence[ClassInfo], with_instances: bool) -> Iterator[Finding]:
    """Classes that a split lacks, or has in a single image: a finding a split."""
    for name, members in splits.items():
        if not members:
            continue
        holding = _holding(members, len(classes), with_instances)
        absent = [c.name for c, count in zip(classes, holding, strict=True) if not count and not (with_instances and c.name == BACKGROUND)]
        rare = [c.name for c, count in zip(classes, holding, strict=True) if 0 < count < MIN_HOLDING]
        train = name == "train"
        if absent:
            means = "cannot be learned" if train else "its figures are blank, or 0 where it is predicted"
            yield Finding("absent-class", "data.split", f"{_listed(absent, 'does', 'do')} not occur in {name}: {means}", _FIX)
        if rare and len(members) >= RARE_FROM:
            means = "hard to learn" if train else "figures will be those of one image"
            yield Finding("rare-class", "data.split", f"{_listed(rare, 'occurs', 'occur')} in a single image of {name}: {means}", _FIX)


def imbalance(images: Sequence[Examined], classes: Sequence[ClassInfo]) -> Iterator[Finding]:
    """Classes that have far fewer training pixels than the most frequent one."""
    pixels = _pixels(images)[: len(classes)]
    if rare := [k for k, count in enumerate(pixels) if 0 < count * IMBALANCE < pixels.max()]:
        least = min(rare, key=lambda k: pixels[k])
        shows = max(images, key=lambda image: image.facts.class_pixels[least])
        few, share = _listed([classes[k].name for k in rare], "has", "have"), pixels[least] / pixels.sum()
        rarest = f"{classes[least].name} has {share:.2g} of all, most in {shows.stored.entry.image_id}"
        what = f"{few} less than a hundredth of the training pixels of {classes[int(pixels.argmax())].name}; {rarest}"
        fix = "try loss.class_weights=median, or a loss of overlap such as ce_dice"
        yield replace(shows.finding("class-imbalance", what, fix), file="data.classes")


def _pixels(images: Sequence[Examined]) -> np.ndarray:
    return np.sum([image.facts.class_pixels for image in images], axis=0) if images else np.zeros(256, np.int64)


def _holding(images: Sequence[Examined], num_classes: int, with_instances: bool) -> list[int]:
    """In how many images each class occurs: as an instance, or in a pixel."""
    if with_instances:
        there = [set(image.facts.categories[~image.facts.crowd].tolist()) for image in images]
        return [sum(k in kinds for kinds in there) for k in range(num_classes)]
    counts: list[int] = np.sum([image.facts.class_pixels[:num_classes] > 0 for image in images], axis=0).tolist()
    return counts


def _listed(names: Sequence[str], one: str, many: str) -> str:
    if len(names) == 1:
        return f"the class {names[0]} {one}"
    return f"{len(names)} classes ({enumerated(names, SHOWN)}) {many}"


def write_diagnosis(path: Path, diagnosis: Diagnosis, classes: Sequence[ClassInfo], root: Path | None) -> None:
    """doctor.json; files below `root` are named from there, so that it is the same wherever the data set lies."""
    content = {
        "counts": dict(Counter(f.kind for f in diagnosis.findings)),
        "classes": [c.name for c in classes],
        "splits": diagnosis.summary,
        "findings": [asdict(f) | {key: below(getattr(f, key), root) for key in ("file", "what", "fix")} for f in diagnosis.findings],
    }
    write_whole(path, json.dumps(content, indent=1) + "\n")


def below(text: str, root: Path | None) -> str:
    """A file's name, or what is said of files, with those below `root` named from there."""
    return text if root is None else text.replace(f"{root}/", "")
