"""All checks on a data set, in the order in which their findings are told; and doctor.json, which holds them."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seg.core.outputs import write_whole
from seg.data.sample import ClassInfo
from seg.prepare.checks import images, implausible, splits
from seg.prepare.checks.facts import Examined
from seg.raw.record import Finding
from seg.sources.splits import SPLITS
from seg.storing.write import count_images


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
    across, within = images.find_near(examined)
    findings: list[Finding] = []
    if split:
        findings += splits.empty_splits(named)
        findings += splits.no_instances(named) if with_instances else splits.one_class(examined, classes)
        findings += splits.small_splits(named)
        findings += splits.class_presence(named, classes, with_instances)
        findings += splits.imbalance(named["train"], classes)
    findings += images.same_pictures(examined)
    findings += images.near_duplicates(examined, across)
    findings += images.empty_labels(examined, classes, with_instances)
    findings += images.all_ignored(examined, with_instances)
    findings += images.far_sizes(examined)
    findings += implausible.few_values(examined)
    findings += implausible.shades_of_gray(classes)
    if not with_instances:
        findings += implausible.much_foreground(examined, classes)
        findings += implausible.blobs_of_ignored(examined)
        findings += implausible.ids_as_classes(examined, classes)
    findings += images.mixed_color(examined)
    findings += images.case_collisions(examined)
    findings += images.in_pieces(examined, classes)
    findings += images.overlapping(examined, classes)
    findings += images.tiny(examined, classes)
    near = Counter(examined[index].split for index in {i for pair in within for i in (pair.first, pair.second)})
    parts = named if split else {"all": list(examined)}
    summary = {
        name: count_images([e.stored for e in members], len(classes)) | {"near_duplicates": near[name] if split else near.total()}
        for name, members in parts.items()
    }
    return Diagnosis(sorted(findings, key=lambda f: (f.severity, f.file == "data.split")), summary)  # what labels mean comes first


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
