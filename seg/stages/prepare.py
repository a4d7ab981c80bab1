"""`prepare`: the raw data set -> data/prepared, checked, split and counted. Never imports torch."""

from pathlib import Path

from seg.checks import absent_classes
from seg.config import AT_RUN_TIME
from seg.preparation import prepare
from seg.rawdata import find_root
from seg.sample import ClassInfo
from seg.schema import Config
from seg.targets import build


def run(cfg: Config, out: Path) -> None:
    root = find_root(Path.cwd(), cfg.data)
    classes = [ClassInfo(c.name, (c.color[0], c.color[1], c.color[2])) for c in cfg.data.classes]
    given = dict(zip(AT_RUN_TIME["data.source"], (str(root), classes, cfg.data.channels, cfg.data.split), strict=True))
    source = build(cfg.data.source, cfg.targets.allow, "data.source", given)
    info = prepare(source, cfg.data.name, classes, cfg.data.split, root, out, cfg.runtime.workers, cfg.runtime.progress)
    for warning in [*source.notes, *absent_classes(info)]:
        print(f"warning: {warning}")
    for name, counts in info.splits.items():
        print(f"{name}: {counts['num_images']} images, {counts['num_instances']} instances")
