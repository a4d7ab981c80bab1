"""What is said of a YAML file that cannot be read: its name, the line, and what is wrong there."""

from collections.abc import Iterable
from pathlib import Path

from yaml import MarkedYAMLError


def yaml_said(error: Exception, files: Iterable[Path]) -> str:
    """One line. files: those that may be meant, where the error names none."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        advice = "; indent with spaces" if "\\t" in str(error.problem) else ""
        return f"{mark.name}, line {mark.line + 1}: is not YAML: {error.problem}{advice}"
    if isinstance(error, UnicodeDecodeError):
        for path in files:
            for number, line in enumerate(path.read_bytes().splitlines(), start=1):
                try:
                    line.decode()
                except UnicodeDecodeError:
                    return f"{path}, line {number}: is not UTF-8; save the file with this encoding"
    return " ".join(str(error).split())[:300]
