"""`prepare`: the raw data set -> data/prepared, checked, split and counted. Never imports torch."""

from collections.abc import Sequence
from pathlib import Path

from seg.core.errors import plural
from seg.data.sample import ClassInfo, Color
from seg.prepare.assignment import Assignment
from seg.prepare.corrections import Corrected, corrected
from seg.prepare.pieces import FewImages
from seg.prepare.run import SEE_ALL, prepare
from seg.raw.record import Finding, Source
from seg.runtime.settings import Runtime
from seg.settings.inputs import find_root
from seg.settings.section import Sections, Targets
from seg.settings.targets import build
from seg.sources.images import ImageReader
from seg.sources.settings import SOURCE_ARGUMENTS, Data


class Settings(Sections):
    data: Data
    runtime: Runtime
    targets: Targets


def run(cfg: Settings, out: Path) -> None:
    source, classes, root = corrected_source(cfg)
    runtime = cfg.runtime
    division, made_with = Assignment.of(cfg.data), cfg.data.plain()
    info, findings = prepare(source, cfg.data.name, classes, division, root, out, runtime.workers, runtime.progress, made_with)
    print_findings(findings)
    if findings:
        print(SEE_ALL)
    print_corrected(source)
    for name, counts in info.splits.items():
        print(f"{name}: {counts['num_images']} images, {counts['num_instances']} instances")


def corrected_source(cfg: Settings) -> tuple[FewImages | Corrected, list[ClassInfo], Path | None]:
    """As `source_of`, with the labels of data.corrections over those of the raw data."""
    source, classes, root = source_of(cfg)
    return corrected(source, classes, cfg.data.split, cfg.data.corrections), classes, root


def source_of(cfg: Settings) -> tuple[FewImages, list[ClassInfo], Path | None]:
    """The source of raw data that data.source names, its images cut where they are too few, its classes, and the folder that holds it."""
    root = find_root(Path.cwd(), cfg.data.root, cfg.data.obtain)
    classes = [
        ClassInfo(c.name, _color(c.color), tuple(_color(label) if isinstance(label, list) else label for label in c.labels))
        for c in cfg.data.classes
    ]
    given = dict(zip(SOURCE_ARGUMENTS, (str(root), classes, ImageReader(cfg.data.channels, cfg.data.range), cfg.data.split), strict=True))
    source = build(cfg.data.source, cfg.targets.allow, "data.source", given)
    return FewImages(source, Assignment.of(cfg.data)), classes, root


def print_corrected(source: Source) -> None:
    """How many images have corrected labels, where there are some."""
    if isinstance(source, Corrected):
        print(f"{plural(len(source.labels), 'image')} with corrected labels, from {source.folder}")


def print_findings(findings: Sequence[Finding]) -> None:
    """A line for each kind, with its number and the first of its findings."""
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        kinds.setdefault((finding.severity, finding.kind), []).append(finding)
    for (severity, kind), group in kinds.items():
        times = f", {len(group)} times, such as" if len(group) > 1 else ":"
        print(f"{severity}: {kind}{times} {group[0]}")


def _color(values: list[int]) -> Color:
    red, green, blue = values
    return red, green, blue
