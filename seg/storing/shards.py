"""Writing shards, which `seg.data.shards` describes: the same images in the same order give the same bytes."""

from pathlib import Path
from tarfile import BLOCKSIZE, PAX_FORMAT, TarInfo
from typing import IO

from seg.data.shards import members_of
from seg.data.store import ManifestEntry

MANY = 20_000  # images above which `data.store=auto` takes shards: DVC looks at each file of a folder each time
MOST_BYTES = 256 << 20  # of a shard that images are added to


class ShardWriter:
    """Appends images to the shards `<folder>/<place>000000.tar`, and so on."""

    def __init__(self, folder: Path, place: str = "shards/") -> None:
        self.folder, self.place, self.count, self.name = folder, place, 0, ""
        self.file: IO[bytes] | None = None

    def add(self, entry: ManifestEntry, image: bytes, labels: bytes) -> str:
        """Append an image and its class map; what comes back is the `stored_at` of the entry."""
        if self.file is None or self.file.tell() >= MOST_BYTES:
            self.close()
            self.name = f"{self.place}{self.count:06}.tar"
            (self.folder / self.name).parent.mkdir(parents=True, exist_ok=True)
            self.file, self.count = open(self.folder / self.name, "wb"), self.count + 1  # noqa: SIM115 - closed by close()
        places = []
        for name, data in zip(members_of(entry.image_id, entry.file), (image, labels), strict=True):
            member = TarInfo(name)  # its time, user and group are 0
            member.size = len(data)
            self.file.write(member.tobuf(PAX_FORMAT))
            places += [self.file.tell(), len(data)]
            self.file.write(data + bytes(-len(data) % BLOCKSIZE))
        self.file.flush()  # a process that is ended does not
        return " ".join([self.name, *map(str, places)])

    def close(self) -> None:
        if self.file is not None:
            self.file.write(bytes(2 * BLOCKSIZE))  # as POSIX has it
            self.file.close()
            self.file = None
