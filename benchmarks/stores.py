"""What it costs to read one sample in random order: from files, from our shards, from Parquet and from LitData.

    pip install pyarrow litdata boto3
    python benchmarks/stores.py --samples 5000 --reads 1000

A sample is 60,000 and 3,000 random bytes, as an image and its class map; nothing is decoded. All lie in the cache of the disk. Printed is
processor time a sample, the second of two rounds. The two other formats are read through their own libraries, as one would from a
dataset whose loader asks for an index: Parquet by row groups of 1 and of 100 samples, LitData by `StreamingDataset[index]`.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from seg.data.imagefile import read_bytes
from seg.data.store import ManifestEntry, image_of, labels_of
from seg.storing.shards import ShardWriter

Pair = tuple[bytes, bytes]
Read = Callable[[int], Pair]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--reads", type=int, default=1000)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    pairs = [(rng.bytes(60_000), rng.bytes(3_000)) for _ in range(given.samples)]
    order = rng.permutation(given.samples)[: given.reads].tolist()
    makers: dict[str, Callable[[Path, list[Pair]], Read]] = {
        "files": files,
        "shards": shards,
        "Parquet, row groups of 1": lambda folder, pairs: parquet(folder, pairs, 1),
        "Parquet, row groups of 100": lambda folder, pairs: parquet(folder, pairs, 100),
        "LitData": litdata,
    }
    for name, make in makers.items():
        with tempfile.TemporaryDirectory() as folder:
            read = make(Path(folder), pairs)
            for _ in range(2):
                before = time.process_time()
                for index in order:
                    assert len(read(index)[0]) == 60_000
                spent = time.process_time() - before
            print(f"{name:<28}{1e6 * spent / len(order):8.0f} microseconds a sample", flush=True)


def files(folder: Path, pairs: list[Pair]) -> Read:
    for number, (image, labels) in enumerate(pairs):
        (folder / f"{number}.jpg").write_bytes(image)
        (folder / f"{number}.png").write_bytes(labels)
    return lambda index: (read_bytes(folder / f"{index}.jpg"), read_bytes(folder / f"{index}.png"))


def shards(folder: Path, pairs: list[Pair]) -> Read:
    writer, entries = ShardWriter(folder), []
    for number, (image, labels) in enumerate(pairs):
        entry = ManifestEntry(f"{number:06}", f"{number:06}.jpg", 1, 1, 0, "", "")
        entries.append(replace(entry, stored_at=writer.add(entry, image, labels)))
    writer.close()
    return lambda index: (image_of(folder, entries[index]).read(), labels_of(folder, entries[index]).read())


def parquet(folder: Path, pairs: list[Pair], group: int) -> Read:
    import pyarrow
    from pyarrow.parquet import ParquetFile, write_table

    columns = {name: pyarrow.array([pair[place] for pair in pairs], pyarrow.binary()) for place, name in enumerate(("image", "labels"))}
    write_table(pyarrow.table(columns), folder / "all.parquet", row_group_size=group, compression="none", use_dictionary=False)
    file = ParquetFile(folder / "all.parquet")

    def read(index: int) -> Pair:
        rows = file.read_row_group(index // group)
        return rows["image"][index % group].as_py(), rows["labels"][index % group].as_py()

    return read


def litdata(folder: Path, pairs: list[Pair]) -> Read:
    from litdata import StreamingDataset
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_bytes="256MB")
    for number, (image, labels) in enumerate(pairs):
        writer.add_item(number, {"image": image, "labels": labels})
    writer.done()
    writer.merge()
    dataset = StreamingDataset(str(folder))

    def read(index: int) -> Pair:
        sample = dataset[index]
        return sample["image"], sample["labels"]

    return read


if __name__ == "__main__":
    main()
