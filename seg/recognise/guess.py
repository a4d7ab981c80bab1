"""What a folder may be: a format, why, and the settings that read it, with names and colours for classes."""

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from seg.data.sample import BACKGROUND

NAME_FILES = ("codes.txt", "classes.txt", "class_names.txt", "labels.txt", "label_names.txt", "names.txt", "obj.names")
VOID_NAMES = ("void", "ignore", "ignore_label", "ignored", "__ignore__", "unlabeled", "unlabelled", "unknown", "don't care", "dontcare")
BACKGROUND_NAMES = (BACKGROUND, "_background_", "__background__", "bg", "back ground")


@dataclass(frozen=True, slots=True)
class Seen:
    """Labels that a folder holds: where, which files, what they are; and the arguments of init that take them."""

    place: str
    files: frozenset[PurePosixPath]
    what: str
    arguments: str


@dataclass(slots=True)
class Guess:
    """option: the option of conf/data whose file is the pattern. why: what was seen, a clause each. source: keys of data.source.

    classes: entries of data.classes, or None for the option's own. split: keys of data.split. doubts: what to look at. task: semantic,
    instance or panoptic. labels: the files that hold its labels; beside: others that hold labels of the same images. arguments: those
    of init that take it, where others are as likely. rank: of guesses for the same images that of the lower number is taken; of equal
    ones none. seen: labels beside its own, and its own."""

    option: str
    task: str
    why: list[str]
    source: dict[str, Any] = field(default_factory=dict)
    classes: list[dict[str, Any]] | None = None
    split: dict[str, Any] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    labels: frozenset[PurePosixPath] = frozenset()
    beside: frozenset[PurePosixPath] = frozenset()
    arguments: str = ""
    rank: int = 0
    seen: list[Seen] = field(default_factory=list)

    def hold(self, files: Iterable[PurePosixPath], place: str, what: str) -> None:
        self.labels = frozenset(files)
        self.seen = [Seen(place, self.labels, what, f"--as {self.option}")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asks for: folders, files or patterns of images and of labels, and an option of conf/data; None for any."""

    images: str | None = None
    labels: str | None = None
    option: str | None = None


def lies_in(file: PurePosixPath, place: str | None) -> bool:
    """Whether a file is what a user names: it, a folder above it, or a pattern with * or {folder}, of its path or of such a folder."""
    if place is None or place.strip("/") in (".", ""):
        return True
    pattern = place.removeprefix("./").strip("/").replace("{split}", "*").replace("{folder}", "*").replace("{image}", "*")
    above = [file.as_posix(), file.with_suffix("").as_posix(), *(p.as_posix() for p in file.parents)]
    return any(path == pattern or fnmatchcase(path, pattern.replace("[", "[[]")) for path in above)


def is_void(name: str) -> bool:
    """Whether a class by its name is of pixels that count nowhere."""
    return name.strip().lower() in VOID_NAMES


def is_background(name: str) -> bool:
    return name.strip().lower() in BACKGROUND_NAMES


def entry(name: str, color: Sequence[int], labels: Sequence[Any] = ()) -> dict[str, Any]:
    return {"name": name, "color": [int(c) for c in color]} | ({"labels": list(labels)} if labels else {})


def color(index: int) -> list[int]:
    """The colour of class `index` in PASCAL VOC's map: the bits of the index, dealt to red, green and blue from the highest down."""
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= (index >> channel & 1) << (7 - place)
        index >>= 3
    return channels


def instance_classes(names: Iterable[str]) -> list[dict[str, Any]]:
    """`background`, with the labels that mean it, and a class for each name of an object."""
    known = list(dict.fromkeys(names))
    background = [name for name in known if is_background(name)]
    objects = [name for name in known if not is_void(name) and name not in background]
    labels = background if background != [BACKGROUND] else []
    return [entry(BACKGROUND, (0, 0, 0), labels), *(entry(name, color(number)) for number, name in enumerate(objects, start=1))]


def void_of(names: Iterable[str]) -> dict[str, Any]:
    """The key data.source.ignore for the labels whose regions count nowhere; none where no label is one."""
    void = [name for name in dict.fromkeys(names) if is_void(name)]
    return {"ignore": void} if void else {}


def as_yaml(guess: Guess, pattern: Path, name: str, root: str, channels: int, data_range: object) -> str:
    """The text of the configuration. pattern: the file of the option `guess.option`, whose comments are kept."""
    yaml = YAML()
    yaml.width = 140
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(type(None), lambda representer, _: representer.represent_scalar("tag:yaml.org,2002:null", "null"))
    content: CommentedMap = yaml.load(pattern.read_text(encoding="utf-8"))
    content["name"], content["root"], content["channels"] = name, _flow(root), channels
    if "obtain" in content:
        content["obtain"] = None
    if "range" in content:
        content["range"] = data_range
    elif data_range is not None:
        content.insert(list(content).index("channels") + 1, "range", data_range)
    for key, value in guess.source.items():
        content["source"][key] = _flow(value)
    if guess.split:
        section = content.setdefault("split", CommentedMap())
        for key, value in guess.split.items():
            section[key] = _flow(value)
    if guess.classes is not None:
        comments = content.ca.items.get("classes")
        content["classes"] = CommentedSeq(_flow(entry) for entry in guess.classes)
        if comments:
            content.ca.items["classes"] = comments
    text = io.StringIO()
    yaml.dump(content, text)
    head = [f"# Taken for `{guess.option}`: {'; '.join(guess.why)}.", *(f"# To look at: {doubt}." for doubt in guess.doubts)]
    lines = text.getvalue().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if not line.startswith("#"))  # behind the comment with which the option's file begins
    return "\n".join(head) + "\n" + "".join(lines[first:])


def _flow(value: Any) -> Any:
    """Lists and mappings on one line, as the other options have them; quotes where OmegaConf would not read text as text."""
    if isinstance(value, dict):
        made: Any = CommentedMap((key, _flow(inner)) for key, inner in value.items())
    elif isinstance(value, list | tuple):
        made = CommentedSeq(_flow(inner) for inner in value)
    else:
        return DoubleQuotedScalarString(value) if isinstance(value, str) and not _is_plain(value) else value
    made.fa.set_flow_style()
    return made


def _is_plain(text: str) -> bool:
    """Whether text needs no quotes in YAML of any version: a word that is not of those such as `on` or `null`, or a path."""
    words = ("on", "off", "yes", "no", "y", "n", "true", "false", "null", "nan", "inf")
    return re.fullmatch(r"[A-Za-z_/][\w /.-]*\w|[A-Za-z_.]", text, re.ASCII) is not None and text.lower() not in words
