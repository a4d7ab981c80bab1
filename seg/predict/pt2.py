"""A file of torch.export, read only where it holds a graph of torch's own operators and plain tensors, and nothing else.

torch.export.load unpickles whatever the file marks as pickled, runs compiled code that a file may hold, calls what a node names in
`torch` or `operator`, and has sympy evaluate the expressions of sizes as Python. What `seg.export` writes needs nothing of that beyond
operators and sums of sizes, so a file with anything else is refused before torch sees it. The layout is that of PyTorch's PT2 archive
(https://docs.pytorch.org/docs/stable/export/pt2_archive.html).
"""

import json
import re
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from seg.core.errors import DataError
from seg.core.private_torch import forget_guards
from seg.models.tensor_file import refuse_bombs
from seg.predict.program import check_program

EXTRA = "seg.json"  # the extra file that holds the description

KNOWN = re.compile(
    r"((\.data/(version|serialization_id)|byteorder|archive_format|archive_version|models/model\.json|extra/seg\.json)\Z|"
    r"data/(weights/(weight_\d+|model_weights_config\.json)|constants/(tensor_\d+|model_constants_config\.json)|sample_inputs/model\.pt)\Z)"
)
"""The records of an archive of one program, whose tensors are stored as bytes."""

STORED = re.compile(r"(weight|tensor)_\d+\Z")  # the record of a tensor, as a table of tensors names it


def load_program(path: Path) -> tuple[torch.export.ExportedProgram, dict[str, str]]:
    """The program and its description. DataError where the file is none, or holds what would have to be unpickled or run."""
    text = {EXTRA: ""}
    try:
        check_archive(path)
        program = torch.export.load(path, extra_files=text)
        forget_guards(program)
        return program, dict(json.loads(text[EXTRA] or "{}"))
    except DataError:
        raise
    except Exception as error:  # zip, JSON, schema and assertion errors alike; JSON that is nested too deep
        raise DataError(f"{path}: cannot be loaded ({' '.join(str(error).split())[:200]}); export the checkpoint again") from None


def check_archive(path: Path) -> None:
    """Raise DataError where an archive has records beyond a program of known operators and plain tensors."""
    refuse_bombs(path)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        inner = [name.partition("/")[2] for name in names]
        strange = [name for name in inner if not KNOWN.match(name)]
        if strange or len(set(inner)) < len(names):
            raise DataError(f"{path}: holds {strange[0] if strange else 'two records of one name'}, which `seg export` does not write")
        if f"extra/{EXTRA}" not in inner:
            raise DataError(f"{path}: is not a file that `seg export` of this version wrote; export the checkpoint again")
        for name, record in zip(names, inner, strict=True):
            if record == "models/model.json":
                check_program(json.loads(archive.read(name)), path)
            if record.endswith("_config.json"):
                _check_table(json.loads(archive.read(name))["config"], path)
            if record.endswith(".pt") and (data := archive.read(name)):
                try:
                    torch.load(BytesIO(data), weights_only=True)
                except Exception:
                    raise DataError(f"{path}: its sample inputs are pickled, and nothing is unpickled here") from None


def _check_table(entries: dict[str, dict[str, Any]], path: Path) -> None:
    for key, entry in entries.items():
        if entry["use_pickle"] is not False:
            raise DataError(f"{path}: {key[:100]} is pickled, and nothing is unpickled here")
        if not STORED.match(entry["path_name"]):
            raise DataError(f"{path}: {key[:100]} lies in {entry['path_name'][:100]!r}, which is no tensor of the file")
