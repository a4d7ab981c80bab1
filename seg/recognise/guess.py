"""What a folder may be: a format, why, and the settings that read it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Guess:
    """option: the option of conf/data whose file is the pattern. why: what was seen, a clause each. source: keys of data.source.

    classes: entries of data.classes, or None for the option's own. split: keys of data.split. doubts: what to look at. task:
    semantic or instance.
    """

    option: str
    task: str
    why: list[str]
    source: dict[str, Any] = field(default_factory=dict)
    classes: list[dict[str, Any]] | None = None
    split: dict[str, Any] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
