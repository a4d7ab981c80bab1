"""A file of torch.export, read only where nothing in it is unpickled.

torch.export.load unpickles whatever the file marks as pickled, without limits, and runs compiled code that a file may hold. What
`seg.export` writes has neither, so a file with anything else is refused before torch sees it. The layout is that of PyTorch's PT2 archive
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

EXTRA = "seg.json"
"""The extra file that holds the description."""

KNOWN = re.compile(
    r"((\.data/(version|serialization_id)|byteorder|archive_format|archive_version|models/model\.json|extra/seg\.json)$|"
    r"data/(weights/(weight_\d+|model_weights_config\.json)|constants/(tensor_\d+|model_constants_config\.json)|sample_inputs/model\.pt)$)"
)
"""The records of an archive of one program, whose tensors are stored as bytes."""


def load_program(path: Path) -> tuple[torch.export.ExportedProgram, dict[str, str]]:
    """The program and its description. DataError where the file is none, or holds what would have to be unpickled."""
    text = {EXTRA: ""}
    try:
        refuse_pickles(path)
        program = torch.export.load(path, extra_files=text)
        return program, dict(json.loads(text[EXTRA] or "{}"))
    except DataError:
        raise
    except Exception as error:  # zip, JSON, schema and assertion errors alike
        raise DataError(f"{path}: cannot be loaded ({' '.join(str(error).split())[:200]}); export the checkpoint again") from None


def refuse_pickles(path: Path) -> None:
    """Raise DataError where an archive has records beyond programs and plain tensors."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        inner = [name.partition("/")[2] for name in names]
        strange = [name for name in inner if not KNOWN.match(name)]
        if strange or len(set(names)) < len(names):
            raise DataError(f"{path}: holds {strange[0] if strange else 'two records of one name'}, which `seg export` does not write")
        for name, record in zip(names, inner, strict=True):
            if record.endswith("_config.json"):
                pickled = [key for key, entry in _entries(archive.read(name)).items() if entry["use_pickle"]]
                if pickled:
                    raise DataError(f"{path}: {pickled[0]} is pickled, and nothing is unpickled here")
            if record.endswith(".pt") and (data := archive.read(name)):
                try:
                    torch.load(BytesIO(data), weights_only=True)
                except Exception:
                    raise DataError(f"{path}: its sample inputs are pickled, and nothing is unpickled here") from None


def _entries(data: bytes) -> dict[str, dict[str, Any]]:
    return dict(json.loads(data)["config"])
