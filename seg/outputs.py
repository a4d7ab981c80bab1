"""A command's folder of outputs: written beside, then put in its place as a whole, or not at all."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seg.errors import DataError


class replaced_folder:  # noqa: N801 - reads as a verb, `with replaced_folder(out, OWN) as partial`
    """A folder to write into, beside `out`; it takes out's place when the block ends well and is removed when not.

    own: the names that may be replaced in `out`. DataError where it holds anything else; Hydra's own records are kept.
    """

    def __init__(self, out: Path, own: Sequence[str]) -> None:
        self.out, self.own = out, set(own)
        self.partial, self.former = (out.with_name(f"{out.name}.{name}") for name in ("partial", "former"))

    def __enter__(self) -> Path:
        there = list(self.out.iterdir()) if self.out.is_dir() else []
        if foreign := sorted(path.name for path in there if path.name not in self.own and not _is_record(path)):
            raise DataError(f"{self.out}: holds {foreign[0]}, which is not this command's; it would be lost: write to another folder")
        for left in (self.partial, self.former):  # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        self.partial.mkdir(parents=True)
        return self.partial

    def __exit__(self, kind: Any, *_: object) -> None:
        if kind is None:
            for record in filter(_is_record, self.out.iterdir() if self.out.is_dir() else ()):
                os.replace(record, self.partial / record.name)
            if self.out.exists():  # moved before it is removed: a folder half removed would look like a whole one
                os.replace(self.out, self.former)
            os.replace(self.partial, self.out)
            shutil.rmtree(self.former, ignore_errors=True)
        else:
            shutil.rmtree(self.partial, ignore_errors=True)


def _is_record(path: Path) -> bool:
    return path.name == ".hydra" or path.suffix == ".log"
