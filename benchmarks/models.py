"""Every semantic model of conf/model on the drawn shapes, with one budget for all -> docs/models.md.

    python benchmarks/models.py                        # all small models; a row at a time, so it can be stopped and started again
    python benchmarks/models.py --models unet fpn      # some, at the same budget
    python benchmarks/models.py --blocks               # a U-Net whose decoder has each block of the literature -> docs/blocks.md

Each model is trained and evaluated by the project's own commands (`seg train`, `seg evaluate`), in processes of its own, on
a data set that is prepared once. Measured are the mIoU on the test split; the parameters that learn; multiply-adds of one
prediction of 256 x 256 pixels (convolutions and matrix products, as torch counts them); the median time from an epoch to the
next, validation included, the first epoch left out; and the training process's peak of resident memory above that of a
process that has only imported what training imports. The encoders are those of conf/, small and from scratch, and so is the
optimizer, but for what a model needs to learn from scratch in so few steps (`SETTINGS`; the page names it). One run each, so that a
difference of two or three points of mIoU means nothing.

A row that is there is not measured again: delete it, or the folder of the budget (in outputs/benchmark_models/), to repeat it.
"""

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
SIDE = 256  # pixels, of the image whose multiply-adds are counted
STEPS = ["trainer.batch_size=4", "optimizer.lr=0.1"]  # few images a step, so that few images give many steps
TRANSFORMER = ["optimizer=adamw", "optimizer.lr=5e-4"]
VGG = [
    "model.network.width=0.25",
    "model.network.fc_channels=512",
    "model.network.batch_norm=true",
    "optimizer=adamw",
    "optimizer.lr=1e-3",
]
BLOCKS = tuple(f"unet_blocks block={b}" for b in ["none", "se", "scse", "nonlocal", "deformable", "involution", "separable", "atrous"])
OBJECTS = "## Models of objects\n"
"""What follows in docs/models.md is written by hand, from trainings by the commands that it names, and is kept."""
LARGE = ("fcn", "deeplabv3_resnet50")  # torchvision's, on a ResNet-50 at an eighth of the resolution: hours on few cores
SETTINGS = {
    **dict.fromkeys(("segformer", "dpt"), TRANSFORMER),
    **dict.fromkeys(("fcn32s", "fcn16s", "fcn8s"), VGG),
    "unet_paper": ["model.network.width=32", "model.network.padding=same", "model.network.batch_norm=true"],
}
"""What a model needs beside its defaults."""


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of one model. multiply_adds: of one image. peak_mib: above a process that trains nothing."""

    model: str
    encoder: str
    settings: str
    miou: float
    parameters: int
    multiply_adds: int
    seconds_epoch: float
    peak_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", metavar="NAME", help="options of conf/model; all semantic ones but the large if left out")
    parser.add_argument("--images", type=int, default=600, help="images of the data set, of which 75 %% are learned from")
    parser.add_argument("--size", type=int, default=96, help="height and width in pixels")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--blocks", action="store_true", help="blocks of a decoder in place of models")
    parser.add_argument("--out", type=Path, help="docs/models.md or docs/blocks.md if left out")
    parser.add_argument("--describe", nargs="+", metavar="OVERRIDE", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.describe:
        describe(given.describe)
        return
    known = [*BLOCKS] if given.blocks else [name for name in semantic_models() if name != "unet_blocks"]
    names = given.models or [name for name in known if name not in LARGE]
    out = given.out or ROOT / "docs" / ("blocks.md" if given.blocks else "models.md")
    if unknown := [name for name in names if name not in known]:
        parser.error(f"{unknown[0]}: no semantic model; there are {', '.join(known)}")
    work = ROOT / "outputs/benchmark_models" / f"{given.images}x{given.size}_{given.epochs}"
    data = ["experiment=shapes", f"data.source.num_images={given.images}", f"data.source.size={given.size}"]
    prepare(work, data)
    table = work / "models.csv"
    base = baseline()
    for name in names:
        rows = read(table)
        if name not in {row.model for row in rows}:
            started = time.monotonic()
            try:
                row = measure(work, name, data, given.epochs, base)
            except subprocess.CalledProcessError as error:
                print(f"{name}: left out, as a command failed: {error.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                continue
            write(table, [*rows, row])
            print(f"{row}  {time.monotonic() - started:.0f} s", flush=True)
        report(out, [row for row in read(table) if row.model in known], given.images, given.size, given.epochs)


def semantic_models() -> list[str]:
    files = sorted((ROOT / "conf/model").glob("*.yaml"))
    return [path.stem for path in files if yaml.safe_load(path.read_text())["task"] == "semantic"]


def prepare(work: Path, data: list[str]) -> None:
    """The data set of shapes, and its augmentation."""
    if not (work / "augmented/augmented.json").exists():
        shutil.rmtree(work, ignore_errors=True)
        seg("prepare", *data, f"hydra.run.dir={work / 'prepared'}")
        seg("augment", *data, f"paths.prepare={work / 'prepared'}", f"hydra.run.dir={work / 'augmented'}")


def measure(work: Path, name: str, data: list[str], epochs: int, base: float) -> Row:
    """Train, evaluate, and look at one model."""
    option, *own = name.split()
    folder, settings = work / name.replace(" ", "_").replace("=", "_"), SETTINGS.get(name, [f"model.network.{word}" for word in own])
    paths = [f"paths.prepare={work / 'prepared'}", f"paths.augment={work / 'augmented'}"]
    budget = [f"trainer.max_epochs={epochs}", "trainer.accelerator=cpu", "runtime.progress=lines"]
    ends, peak = timed(
        "train", *data, f"model={option}", *STEPS, *settings, *paths, *budget, f"hydra.run.dir={folder / 'train'}", scratch=work / "scratch"
    )
    seg("evaluate", *data, f"paths.train={folder / 'train'}", paths[0], "evaluate.num_overlays=0", f"hydra.run.dir={folder / 'evaluate'}")
    figures = json.loads((folder / "evaluate/metrics.json").read_text())
    facts = json.loads(run(sys.executable, __file__, "--describe", *data, f"model={option}", *settings))
    seconds = [after - before for before, after in pairwise(ends)]
    shutil.rmtree(folder)
    return Row(
        model=name,
        encoder=facts["encoder"],
        settings="" if own else " ".join(settings),
        miou=figures["test"]["miou"],
        parameters=facts["parameters"],
        multiply_adds=facts["multiply_adds"],
        seconds_epoch=round(statistics.median(seconds), 2) if seconds else float("nan"),
        peak_mib=round(peak - base),
    )


def describe(overrides: list[str]) -> None:
    """Print a model's encoder, parameters and multiply-adds as JSON; nothing of it is trained."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from seg.catalogue.options import facts
    from seg.configure.compose import compose
    from seg.configure.config import checked
    from seg.models.build import build_model
    from seg.models.dry_run import freeze_unused

    config = checked(compose(ROOT / "conf", overrides)[0])
    model = build_model(config, facts(config.data), pretrained=False).eval()
    freeze_unused(model, config.data.channels, (SIDE, SIDE))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.logits(torch.zeros(1, config.data.channels, SIDE, SIDE, dtype=torch.uint8))
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    encoder = config.model.network.arguments.get("encoder_name") or ""
    print(json.dumps({"encoder": encoder, "parameters": parameters, "multiply_adds": counter.get_total_flops() // 2}))


def environment(scratch: Path | None = None) -> dict[str, str]:
    own = {"PYTHONPATH": str(ROOT)} | ({"SEG_SCRATCH": str(scratch)} if scratch else {})
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | own


def run(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, env=environment(), check=True, capture_output=True, text=True).stdout


def seg(*arguments: str) -> str:
    return run(sys.executable, "-m", "seg", *arguments)


def timed(*arguments: str, scratch: Path) -> tuple[list[float], float]:
    """Run a training; the seconds at which its epochs ended, and the peak of its resident memory in MiB."""
    command = [sys.executable, "-m", "seg", *arguments]
    errors = scratch.with_suffix(".stderr")
    ends = []
    with open(errors, "w") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(scratch), stdout=subprocess.PIPE, stderr=file, text=True)
        assert process.stdout
        for line in process.stdout:
            if line.startswith("epoch "):
                ends.append(time.monotonic())
        process.stdout.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=errors.read_text() or "no message")
    return ends, mebibytes(usage.ru_maxrss)


def baseline() -> float:
    """MiB of a process that has imported what a training imports, and does nothing."""
    code = "import seg.core.environment; seg.core.environment.prepare_environment(); import seg.stages.train, seg.models.semantic"
    process = subprocess.Popen([sys.executable, "-c", f"{code}, segmentation_models_pytorch"], cwd=ROOT, env=environment())
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return mebibytes(usage.ru_maxrss)


def mebibytes(maximum: int) -> float:
    """Linux gives kibibytes, macOS bytes."""
    return maximum / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def read(table: Path) -> list[Row]:
    if not table.exists():
        return []
    kinds = {field.name: field.type for field in fields(Row)}
    with open(table, newline="") as file:
        return [Row(**{name: kinds[name](value) for name, value in row.items()}) for row in csv.DictReader(file)]


def write(table: Path, rows: list[Row]) -> None:
    """The whole table, or nothing of it."""
    beside = table.with_suffix(".partial")
    with open(beside, "w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    beside.replace(table)


def report(out: Path, rows: list[Row], images: int, size: int, epochs: int) -> None:
    """The table as a page, the best mIoU first."""
    from seg.core.environment import num_cores

    bound = "" if num_cores() == os.cpu_count() else f"taskset -c 0-{num_cores() - 1} " if num_cores() > 1 else "taskset -c 0 "
    blocks = all(row.model in BLOCKS for row in rows)
    command = f"{bound}python benchmarks/models.py {'--blocks ' * blocks}--images {images} --size {size} --epochs {epochs}"
    what = "semantic models, each with the settings of its file in `conf/model`"
    left_out = f"The table leaves out {' and '.join(LARGE)}, whose encoder is a ResNet-50."
    if blocks:
        what = "blocks of the literature in the decoder of a U-Net (`model=unet_blocks model.network.block=...`)"
        left_out = "`none` is the same U-Net without a block."
    lines = [
        f"# {'Blocks' if blocks else 'Models'} compared",
        "",
        f"{len(rows)} {what}, trained from scratch for {epochs} epochs on "
        f"{round(images * 0.75)} of {images} drawn `shapes` of {size}x{size} pixels, "
        f"{STEPS[0].partition('=')[2]} at a time. Such a small budget shows how soon a model learns and "
        "what it costs; it hardly shows how good the model gets. Each model ran once, so differences of two or three points of mIoU mean "
        f"nothing. {left_out}",
        "",
        f"`{command}`, on {machine()}.",
        "",
        f"| model | encoder | test mIoU | parameters (M) | multiply-adds at {SIDE}x{SIDE} (G) | seconds an epoch | peak memory (MiB) |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in sorted(rows, key=lambda row: -row.miou):
        name = row.model + (f" ({row.settings.replace('model.network.', '').replace(' ', ', ')})" if row.settings else "")
        lines.append(
            f"| {name} | {row.encoder or 'its own'} | {row.miou:.3f} | {row.parameters / 1e6:.2f} | {row.multiply_adds / 1e9:.2f} "
            f"| {row.seconds_epoch:.1f} | {row.peak_mib:.0f} |"
        )
    by_hand = [OBJECTS + part for part in out.read_text().partition(OBJECTS)[2:] if part] if out.exists() else []
    lines += [
        "",
        "**Parameters** counts the parameters that learn, without the stages of an encoder that the decoder does not use. "
        "**Multiply-adds** counts those of convolutions and matrix products in one prediction. **Seconds** is the time from one epoch "
        "to the next, including validation. **Memory** is the peak of the training process above that of a process that has imported "
        "the same libraries.",
        "",
        *by_hand,
    ]
    out.write_text("\n".join(lines))


def machine() -> str:
    """Processor, cores, precision and torch, as the figures depend on them."""
    import torch

    from seg.core.environment import num_cores
    from seg.models.hardware import choose_precision

    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    precision = choose_precision("auto", torch.device("cpu"))
    cores, version = num_cores(), torch.__version__.partition("+")[0]
    return f"{cores} core{'s' * (cores > 1)} of {names[0] if names else 'an unnamed processor'}, {precision}, torch {version}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
