"""A command that Hydra does not compose, as a user types it, in this process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seg.cli import run_plain
from seg.commands.parser import parse
from seg.commands.table import COMMANDS


def typed(command: str, project: Path, words: Sequence[str]) -> Any:
    """`seg COMMAND WORDS` in a project: what the stage's `run` gives. UsageError for words that the command does not take."""
    return run_plain(COMMANDS[command], parse(COMMANDS[command], words), project)
