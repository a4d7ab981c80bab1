"""A guess -> conf/data/<name>.yaml: the option that it names, with its comments, filled in and ready to edit."""

import io
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from seg.recognise.guess import Guess


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
