"""Predictions of large images: what tiling costs beside the network, and what it needs beside MONAI's sliding window.

    python benchmarks/predict.py overhead --size 2048 --rounds 5
    python benchmarks/predict.py monai --size 4096 --overlap 0.5 --rounds 3
    python benchmarks/predict.py large --size 20000

The network is `unet_small` of conf/ with random weights and the classes of `shapes`, in the precision that is best here; images are
noise, read from an .npy file by rows.

overhead: reading, cutting, blending, classes and confidence, against the network alone on the same batches of tiles, which are ready
in memory; both in one process, in an order that turns about. The network alone is timed twice (A/A): the ratio of the two says
how far the other can be trusted.

monai: from the file to classes and confidence, against MONAI's `sliding_window_inference` (`pip install --no-deps monai`; no
dependency of the project) with the same network, tile, overlap, batch and a Gaussian of the same width, whose whole image and sums of
logits are floats in memory. "monai" is as its users have it: the plain network, float32 and with contiguous channels. "monai, our
network" is called with ours, in our precision and layout, and keeps freed memory as the project's commands do
(`seg.core.environment.keep_freed_memory`), so that it tells of tiling alone. Each run is a process of its own, so that its
peak of memory can be told; "above" is what it holds beyond that of a process that predicts one batch. Processor time,
the program's start included, is printed too: neighbours on the machine change it less.

large: the peak of memory of a process that predicts a square TIFF of RGB, written here in tiles, into a TIFF of classes, with a
network of one convolution.

A ratio is the median of the rounds; in brackets the extremes.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parents[1]
RUNS = ("ours", "monai", "monai, our network")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overhead", "monai", "large"])
    parser.add_argument("--size", type=int, default=4096, help="height and width of the image in pixels")
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", default="auto", help="as trainer.precision")
    parser.add_argument("--folder", type=Path, help="where files are made; default: a temporary folder")
    parser.add_argument("--run", choices=[*RUNS, "batch", "large"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    if given.run:
        print(json.dumps(run(given)))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        given.folder = Path(name)
        {"overhead": overhead, "monai": monai, "large": large}[given.what](given)


def overhead(given: argparse.Namespace) -> None:
    import numpy as np

    from seg.predict.file_rows import open_rows
    from seg.sources.images import ImageReader
    from seg.tiles.grid import batches, grid
    from seg.tiles.tiled import predict_bands

    network, tiling = make_network(given), make_tiling(given)
    path = write_noise(given)
    with open_rows(path, ImageReader(3)) as rows:
        tiles = grid(tiling, given.size, given.size, network.facts.stride)
        ready = [images for _, images in batches(rows, tiles, tiling.padding, given.batch)]

        def alone() -> None:
            for images in ready:
                network.logits(images)

        def tiled() -> None:
            for _ in predict_bands(network, rows, tiling, given.batch, "logits"):
                pass

        runs = {"network alone": alone, "network alone again (A/A)": alone, "tiled": tiled}
        network.logits(ready[0])
        times: dict[str, list[float]] = {name: [] for name in runs}
        for number in range(given.rounds):
            for name in list(runs)[:: 1 if number % 2 else -1]:
                start = perf_counter()
                runs[name]()
                times[name].append(perf_counter() - start)
    count = len(tiles.rows.starts) * len(tiles.columns.starts)
    print(f"{given.size} x {given.size} pixels, {count} tiles of {given.tile}, {network.precision}, {given.threads} threads")
    for name, spent in times.items():
        print(f"{name:<28}{np.median(spent):>8.2f} s   {ratio(spent, times['network alone'])}")


def monai(given: argparse.Namespace) -> None:
    write_noise(given)
    names = list(RUNS)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(given.rounds):
        for name in names:
            found[name].append(measured(given, name))
        names.reverse()
    base = measured(given, "batch")["peak"]
    print(f"{given.size} x {given.size} pixels, tile {given.tile}, overlap {given.overlap}, {given.threads} threads")
    for name, runs in found.items():
        seconds, busy, peak = (sorted(run[key] for run in runs)[len(runs) // 2] for key in ("seconds", "busy", "peak"))
        memory = f"peak {peak:.0f} MB, {peak - base:.0f} MB above one batch's"
        print(f"{name:<20}{seconds:>8.2f} s, {busy:>8.2f} s of processor time, {memory}")
    for name in RUNS[1:]:
        for key, what in (("seconds", "time"), ("busy", "processor time"), ("peak", "peak")):
            print(f"{name}: {what} / ours: {ratio([r[key] for r in found[name]], [r[key] for r in found['ours']])}")
        print(f"{name}: the same class in {same(given, name):.4%} of the pixels")


def large(given: argparse.Namespace) -> None:
    write_tiff(given)
    done = measured(given, "large")
    print(f"{given.size} x {given.size} x 3, {given.size**2 * 3 / 1e9:.2f} GB: {done['seconds']:.0f} s, peak {done['peak']:.0f} MB")


def measured(given: argparse.Namespace, name: str) -> dict[str, float]:
    options = [f"--{key}={getattr(given, key)}" for key in ("size", "tile", "overlap", "batch", "threads", "precision", "folder")]
    command = [sys.executable, __file__, given.what, *options, "--run", name]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
    return found


def run(given: argparse.Namespace) -> dict[str, float]:
    """One run in this process: seconds without the program's start, processor time, and the peak of memory in MB."""
    import torch

    from seg.core.environment import keep_freed_memory

    torch.set_num_threads(given.threads)
    if given.run != "monai":
        keep_freed_memory()
    start = {"ours": run_ours, "batch": run_batch, "large": run_large}.get(given.run, run_monai)(given)
    seconds, used = perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1024
    return {"seconds": seconds, "busy": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * unit / 1e6}


def run_ours(given: argparse.Namespace) -> float:
    import numpy as np

    from seg.predict.file_rows import open_rows
    from seg.sources.images import ImageReader
    from seg.tiles.tiled import joined, predict_bands

    network = warm(given)
    start = perf_counter()
    with open_rows(given.folder / "image.npy", ImageReader(3)) as rows:
        found = joined(predict_bands(network, rows, make_tiling(given), given.batch, "logits"), given.size, given.size)
    np.save(given.folder / "ours.npy", found.semantic)
    return start


def run_monai(given: argparse.Namespace) -> float:
    import numpy as np
    import torch
    from monai.inferers import sliding_window_inference

    from seg.models.semantic import most_probable

    network = warm(given, plain=given.run == "monai")
    start = perf_counter()
    image = torch.from_numpy(np.load(given.folder / "image.npy")).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        logits = sliding_window_inference(
            image, (given.tile, given.tile), given.batch, network.logits, overlap=given.overlap, mode="gaussian", sigma_scale=0.125
        )
        classes, confidence = np.empty((given.size, given.size), np.uint8), np.empty((given.size, given.size), np.uint16)
        for top in range(0, given.size, 256):  # at once it would take the whole map's size again
            part = most_probable(logits[:, :, top : top + 256])
            classes[top : top + 256], confidence[top : top + 256] = (values[0].numpy() for values in part)
    np.save(given.folder / f"{given.run}.npy", classes)
    return start


def run_batch(given: argparse.Namespace) -> float:
    warm(given)
    return perf_counter()


def run_large(given: argparse.Namespace) -> float:
    import numpy as np
    import torch

    from seg.predict.band_tiff import write_bands
    from seg.predict.file_rows import open_rows
    from seg.sources.images import ImageReader
    from seg.tiles.network import Facts
    from seg.tiles.tiled import predict_bands

    class Tiny:
        facts = Facts("semantic", (), 3, 16, None)
        layer = torch.nn.Conv2d(3, 6, 1)

        @torch.inference_mode()
        def logits(self, images: torch.Tensor) -> torch.Tensor:
            return self.layer(images.float())  # type: ignore[no-any-return]

    start = perf_counter()
    size = given.size
    with open_rows(given.folder / "image.tif", ImageReader(3)) as rows:
        bands = predict_bands(Tiny(), rows, make_tiling(given), given.batch, "logits")  # type: ignore[arg-type]
        write_bands(given.folder / "classes.tif", size, size, np.uint8, [], (band.classes for band in bands))
    return start


def warm(given: argparse.Namespace, plain: bool = False):  # type: ignore[no-untyped-def]
    import torch

    network = make_network(given, plain)
    network.logits(torch.zeros(given.batch, 3, given.tile, given.tile, dtype=torch.uint8))
    return network


def make_network(given: argparse.Namespace, plain: bool = False):  # type: ignore[no-untyped-def]
    """unet_small as a checkpoint of `train` would have it. plain: float32 with contiguous channels."""
    import torch

    from seg.catalogue.options import facts
    from seg.configure.compose import compose
    from seg.configure.config import checked
    from seg.models.build import build_model
    from seg.models.checkpoint import LoadedCheckpoint
    from seg.tiles.checkpoint import CheckpointNetwork

    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    params, _ = compose(ROOT / "conf", ["model=unet_small", *["trainer.channels_last=false"][:plain]])
    config = checked(params)
    data = facts(config.data)
    model = build_model(config, data, pretrained=False)
    return CheckpointNetwork(
        LoadedCheckpoint(model.state_dict(), params, data, 0, {}, config), "cpu", "32-true" if plain else given.precision
    )


def make_tiling(given: argparse.Namespace):  # type: ignore[no-untyped-def]
    from seg.tiles.grid import Tiling

    return Tiling((given.tile, given.tile), given.overlap, 0.125, 0, "reflect")


def write_noise(given: argparse.Namespace) -> Path:
    """Coarse noise, so that classes have areas."""
    import cv2
    import numpy as np

    coarse = np.random.default_rng(0).integers(0, 256, (given.size // 16, given.size // 16, 3)).astype(np.uint8)
    np.save(given.folder / "image.npy", cv2.resize(coarse, (given.size, given.size), interpolation=cv2.INTER_CUBIC))
    return Path(given.folder / "image.npy")


def write_tiff(given: argparse.Namespace) -> None:
    import numpy as np
    import tifffile

    tile = np.random.default_rng(0).integers(0, 256, (512, 512, 3)).astype(np.uint8)
    count = (-(-given.size // 512)) ** 2
    with tifffile.TiffWriter(given.folder / "image.tif") as file:
        tiles = (np.roll(tile, number, axis=1) for number in range(count))
        file.write(tiles, shape=(given.size, given.size, 3), dtype=np.uint8, tile=(512, 512), photometric="rgb", compression="lzw")


def same(given: argparse.Namespace, name: str) -> float:
    """The share of pixels to which the last runs of ours and of another gave the same class."""
    import numpy as np

    ours, theirs = (np.load(given.folder / f"{which}.npy") for which in ("ours", name))
    return float((ours == theirs).mean())


def ratio(above: list[float], below: list[float]) -> str:
    found = sorted(a / b for a, b in zip(above, below, strict=True))
    return f"{found[len(found) // 2]:.3f} ({found[0]:.3f} to {found[-1]:.3f})"


if __name__ == "__main__":
    main()
