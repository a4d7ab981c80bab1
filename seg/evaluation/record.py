"""evaluation.json: what an evaluation was of, so that it can be read and compared without the checkpoint."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from seg.core.errors import DataError
from seg.core.outputs import write_whole
from seg.core.textfile import json_of
from seg.models.postprocess import NO_CHOICE, Choice

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Run:
    """task: semantic or instance. monitor: the figure that the training watched. data, digest: name and digest of the prepared data.

    split: which of its splits. epoch: of the checkpoint. settings: the resolved configuration of the training, with the sections of
    the evaluation that was made. planned: why the plan chose the settings that it chose, by their dotted keys. choice: how the model's
    postprocessing was chosen. labels: a digest of each image's pixels and labels, by image_id, by which evaluations are compared that were
    made before and after labels were corrected."""

    task: str
    monitor: str
    data: str
    digest: str
    split: str
    classes: list[str]
    epoch: int
    settings: dict[str, Any]
    planned: dict[str, str] = field(default_factory=dict)
    choice: Choice = NO_CHOICE
    labels: dict[str, str] = field(default_factory=dict)


def write_run(path: Path, run: Run) -> None:
    """Write the file, whole or not at all."""
    write_whole(path, json.dumps({"schema_version": SCHEMA_VERSION, **asdict(run)}, indent=1) + "\n")


def read_run(path: Path) -> Run:
    """Read the file; DataError where it is missing, of another version, or not as `write_run` writes it."""
    try:
        content = json_of(path.read_bytes())
    except OSError:
        raise DataError(f"{path}: there is no evaluation; run `dvc repro` or `seg evaluate`, or name its folder") from None
    except ValueError as error:
        raise DataError(f"{path}: is not JSON ({error}); evaluate again") from None
    if not isinstance(content, dict) or content.pop("schema_version", None) != SCHEMA_VERSION:
        raise DataError(f"{path}: is of another version than {SCHEMA_VERSION}; evaluate again")
    try:
        return TypeAdapter(Run).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DataError(f"{path}: {'.'.join(str(part) for part in first['loc'])}: {first['msg']}; evaluate again") from None
