"""A file without a name, for what is too much to keep in memory until a command ends; it is gone when the process is, however it ends."""

import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Piece:
    """Where bytes lie in a Spool."""

    spool: "Spool"
    start: int
    length: int

    def read(self) -> bytes:
        """The bytes that were added."""
        return self.spool.read(self)


class Spool:
    """Bytes put aside on the disk of `folder`."""

    def __init__(self, folder: Path) -> None:
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as the pieces do
        self.end = 0

    def add(self, data: bytes) -> Piece:
        """Put bytes aside."""
        self.file.seek(self.end)
        self.file.write(data)
        piece = Piece(self, self.end, len(data))
        self.end += len(data)
        return piece

    def read(self, piece: Piece) -> bytes:
        """The bytes of a piece."""
        self.file.seek(piece.start)
        return self.file.read(piece.length)
