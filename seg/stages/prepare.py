"""`prepare`: the raw data set -> data/prepared, checked, split and counted. Never imports torch."""

from pathlib import Path

from seg.checks import absent_classes
from seg.config import AT_RUN_TIME
from seg.preparation import prepare
from seg.rawdata import find_root
from seg.sample import ClassInfo, Color
from seg.schema import Config
from seg.sources.images import ImageReader
from seg.targets import build


def run(cfg: Config, out: Path) -> None:
    root = find_root(Path.cwd(), cfg.data)
    classes = [
        ClassInfo(c.name, _color(c.color), tuple(_color(label) if isinstance(label, list) else label for label in c.labels))
        for c in cfg.data.classes
    ]
    reader = ImageReader(cfg.data.channels, cfg.data.range)
    given = dict(zip(AT_RUN_TIME["data.source"], (str(root), classes, reader, cfg.data.split), strict=True))
    source = build(cfg.data.source, cfg.targets.allow, "data.source", given)
    info = prepare(source, cfg.data.name, classes, cfg.data.split, root, out, cfg.runtime.workers, cfg.runtime.progress)
    for warning in [*source.findings, *absent_classes(info)]:
        print(f"warning: {warning}")
    for name, counts in info.splits.items():
        print(f"{name}: {counts['num_images']} images, {counts['num_instances']} instances")


def _color(values: list[int]) -> Color:
    red, green, blue = values
    return red, green, blue
