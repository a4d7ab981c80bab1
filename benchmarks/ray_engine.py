"""Many small images through `prepare` and `predict` on Ray: the bytes of the local engine, though a worker is killed halfway?

    python benchmarks/ray_engine.py --images 20000 --workers 2

Scenes of 32 x 32 pixels are drawn and prepared, and the prepared images are predicted by a small network with random weights: first by
`--workers` processes of this machine, then by as many workers of Ray that is started here. When half of the images are answered, one
worker of Ray is killed, in `prepare` and in `predict`. Each quarter prints the seconds since the start and the memory of the main process.
In the end all files are compared; another byte, a missing or a further file ends with code 1.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # a worker of Ray has one thread: sums in another order have other last digits
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import psutil  # noqa: E402
from untrained import CONVOLUTION, untrained  # noqa: E402

from seg.configure.compose import compose  # noqa: E402
from seg.configure.config import checked  # noqa: E402
from seg.data.sample import ClassInfo  # noqa: E402
from seg.prepare.assignment import Assignment  # noqa: E402
from seg.prepare.run import prepare  # noqa: E402
from seg.runtime.cluster import Cluster, engine_of  # noqa: E402
from seg.runtime.engine import Engine  # noqa: E402
from seg.sources.shapes import Shapes  # noqa: E402
from seg.stages.predict import Arguments  # noqa: E402
from seg.stages.predict import run as predict  # noqa: E402

killed: list[int] = []


def watched(kind: type[Engine]) -> None:
    """Have the answers of an engine counted, and a worker of Ray killed at half of them."""
    results = kind.results

    def counted(engine: Engine, make: Any, tasks: Any, *given: Any) -> Iterator[Any]:
        start, quarters = perf_counter(), [len(tasks) * quarter // 4 for quarter in (1, 2, 3, 4)]
        for number, answer in enumerate(results(engine, make, tasks, *given), start=1):
            yield answer
            if number in quarters:
                memory = psutil.Process().memory_info().rss / 1e6
                print(f"  {number / len(tasks):4.0%} {perf_counter() - start:8.1f} s {memory:8.0f} MB", flush=True)
            if number == len(tasks) // 2 and isinstance(engine, Cluster):
                worker = next(p for p in psutil.Process().children(recursive=True) if p.name().startswith("ray::_Actor"))
                killed.append(worker.pid)
                worker.kill()

    kind.results = counted  # type: ignore[method-assign, assignment]


def work(kind: str, given: argparse.Namespace, folder: Path) -> None:
    """Prepare and predict into folder/kind."""
    data = checked(compose(ROOT / "conf", [f"data.store={given.store}"])[0]).data
    classes = [ClassInfo(c.name, tuple(c.color)) for c in data.classes]  # type: ignore[arg-type]
    out = folder / kind
    with engine_of(kind, None) as engine:
        source, division = Shapes(given.images, 32, 0, classes), Assignment.of(data)
        prepare(source, "shapes", classes, division, None, out / "prepared", given.workers, "lines", data.plain(), data.store, engine)
        options = [f"runtime.engine={kind}", f"predict.devices={given.workers}", "predict.accelerator=cpu", "runtime.threads=1"]
        images = [str(folder / "local/prepared/*/images/*")]
        outputs = ["predict.outputs=[classes,coco]"]
        predict(ROOT, Arguments([folder / "model.ckpt"], images, [*options, *outputs], out / "predicted"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where files are made; default: a temporary folder")
    given = parser.parse_args()
    given.store = "files"  # which `predict` reads
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        untrained(folder / "model.ckpt", network=CONVOLUTION)
        for kind in (Engine, Cluster):
            watched(kind)
        for engine in ("local", "ray"):
            print(f"{engine}:", flush=True)
            start = perf_counter()
            work(engine, given, folder)
            print(f"  {perf_counter() - start:.1f} s in all", flush=True)
        files = [{p.relative_to(folder / kind) for p in (folder / kind).rglob("*") if p.is_file()} for kind in ("local", "ray")]
        other = [path for path in files[0] & files[1] if (folder / "local" / path).read_bytes() != (folder / "ray" / path).read_bytes()]
        print(f"workers killed: {len(killed)}; files: {len(files[0])}; in one alone: {len(files[0] ^ files[1])}; other bytes: {len(other)}")
        sys.exit(bool(files[0] ^ files[1] or other or len(killed) != 2))


if __name__ == "__main__":
    main()
