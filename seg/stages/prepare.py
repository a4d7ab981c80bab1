"""`prepare`: the raw data set -> data/prepared, checked, split and counted. Never imports torch."""

from collections.abc import Sequence
from pathlib import Path

from seg.core.errors import ConfigError
from seg.data.sample import ClassInfo, Color
from seg.prepare.assignment import Assignment
from seg.prepare.corrections import SUFFIXES, Corrected
from seg.prepare.pieces import FewImages
from seg.prepare.run import SEE_ALL, prepare
from seg.raw.record import Finding, Source
from seg.runtime.cluster import engine_of
from seg.runtime.settings import Runtime
from seg.settings.inputs import find_root
from seg.settings.section import Sections, Targets
from seg.settings.targets import build
from seg.sources.images import ImageReader
from seg.sources.listing import files_below
from seg.sources.pairing import folder_below
from seg.sources.settings import CORRECTIONS, SOURCE_ARGUMENTS, Data


class Settings(Sections):
    data: Data
    runtime: Runtime
    targets: Targets


def run(cfg: Settings, out: Path) -> None:
    source, classes, root = source_of(cfg, corrected=True)
    division, how = Assignment.of(cfg.data), (cfg.runtime.workers, cfg.runtime.progress, cfg.data.plain(), cfg.data.store)
    with engine_of(cfg.runtime.engine, cfg.runtime.address) as engine:
        info, findings = prepare(source, cfg.data.name, classes, division, root, out, *how, engine)
    print_findings(findings)
    if findings:
        print(SEE_ALL)
    for name, counts in info.splits.items():
        print(f"{name}: {counts['num_images']} images, {counts['num_instances']} instances")


def source_of(cfg: Settings, corrected: bool = False) -> tuple[Source, list[ClassInfo], Path | None]:
    """The source of raw data that data.source names, its images cut where they are too few, its classes, and the folder that holds it.
    corrected: whether the labels of data.corrections lie over those of the raw data."""
    root = find_root(Path.cwd(), cfg.data.root, cfg.data.obtain)
    classes = [
        ClassInfo(c.name, _color(c.color), tuple(_color(label) if isinstance(label, list) else label for label in c.labels))
        for c in cfg.data.classes
    ]
    given = dict(zip(SOURCE_ARGUMENTS, (str(root), classes, ImageReader(cfg.data.channels, cfg.data.range), cfg.data.split), strict=True))
    source = build(cfg.data.source, cfg.targets.allow, "data.source", given)
    division, folder = Assignment.of(cfg.data), cfg.data.corrections or ""
    if folder and not Path(folder).is_relative_to(CORRECTIONS):
        raise ConfigError(f"data.corrections={folder}: expected {CORRECTIONS}, which dvc.yaml names, a folder in it, or null")
    corrected = corrected and bool(folder) and (folder != CORRECTIONS or Path(folder).is_dir())
    if corrected and files_below(folder_below(Path(), folder, None, "data.corrections"), SUFFIXES):
        return Corrected(source, division, classes, Path(folder)), classes, root
    return FewImages(source, division), classes, root


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
