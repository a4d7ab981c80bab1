"""The names of YOLO's class ids: a YAML file with `names`, or a text file with a name a line."""

from pathlib import Path

import yaml

from seg.core.errors import DataError
from seg.sources.pairing import file_below

NAMES = ("data.yaml", "dataset.yaml", "config.yaml", "data.yml", "classes.txt", "obj.names")


def read_names(root: Path, name: str | None) -> tuple[dict[int, str], str]:
    """{id: name} and the file's path: `root`/`name`, or without it the one that lies in `root` under a usual name.

    DataError where there is none, or it is malformed.
    """
    if name is None:
        there = [n for n in NAMES if (root / n).is_file()]
        if len(there) != 1:
            held = f"holds {' and '.join(there)}" if there else f"holds none of {', '.join(NAMES)}"
            raise DataError(f"{root}: {held}; name the file with the classes' names in data.source.names", kind="bad-annotation")
        name = there[0]
    path = file_below(root, name, None, "data.source.names")
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix.lower() not in (".yaml", ".yml"):
            return dict(enumerate(line.strip() for line in text.splitlines() if line.strip())), str(path)
        content = yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())[:120]}); correct it", kind="unreadable-file") from None
    names = content.get("names") if isinstance(content, dict) else None
    if not isinstance(names, list | dict) or not names:
        raise DataError(f"{path}: has no 'names', expected a list of names, or ids with names", kind="bad-annotation")
    found = dict(names.items() if isinstance(names, dict) else enumerate(names))
    for key, value in found.items():
        if type(key) is not int or not isinstance(value, int | str) or isinstance(value, bool):
            raise DataError(
                f"{path}: names has {key!r}: {value!r}, expected a whole number and text; put quotes around the name", kind="bad-annotation"
            )
    return {key: str(value) for key, value in found.items()}, str(path)
