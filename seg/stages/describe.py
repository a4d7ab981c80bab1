"""`describe`: what a configuration's network costs and how far it sees -> a table, layers.csv, describe.json and receptive_field.png.

Nothing is trained: the network is built from scratch, and works on noise.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seg.augment.settings import Augment
from seg.catalogue.options import facts
from seg.core.errors import ConfigError
from seg.core.outputs import write_whole
from seg.data.store import DatasetInfo, read_info
from seg.describe.costs import Layer, Memory, layers_of, measured, noise, of_prediction, of_training, two_steps
from seg.describe.field import ReceptiveField, effective_field, effective_side, receptive_fields, save_field
from seg.describe.remarks import remarks
from seg.describe.settings import Describe
from seg.models.base import SegmentationModel, Size
from seg.models.build import build_model
from seg.models.dry_run import freeze_unused
from seg.models.hardware import device_of
from seg.models.settings import NetworkSettings
from seg.report.tables import write_rows
from seg.runtime.progress import show
from seg.runtime.settings import Paths
from seg.settings.planned import FILE, open_keys, params_of, read_plan, value_at, with_examples
from seg.settings.section import NamedTarget, Params, Sections
from seg.settings.targets import build
from seg.sources.settings import Data
from seg.training.settings import Trainer
from seg.training.step.recomputation import chosen_fused

UNKNOWN_SIZE = (512, 512)  # of images, where neither describe.size nor prepared data say more
COUNTS = ("parameters", "multiply-adds", "activations")
DEPTH = 4  # names of a part in the printed table
SHOWN = ("model.scale", "model.stride", "trainer.batch_size")  # open values of which a figure depends
THINGS = 20  # instances in each image of noise
NOISE = 8  # images of noise over which the effective receptive field is averaged


class Settings(Sections):
    """What the stage reads by name; the rest may be open."""

    paths: Paths


class Described(NetworkSettings):
    data: Data
    augment: Augment
    optimizer: NamedTarget
    trainer: Trainer
    describe: Describe
    paths: Paths


def run(given: Settings, out: Path) -> None:
    params, assumed = _settled(given.dump(), Path(given.paths.plan) / FILE)
    cfg = Described.of(params)
    prepared = Path(cfg.paths.prepare)
    is_there = (prepared / "dataset.json").is_file()
    info = read_info(prepared) if is_there else facts(cfg.data)
    size, why = _size(cfg, info if is_there else None)
    torch.manual_seed(0)
    model = build_model(cfg, info, pretrained=False).eval()
    images = noise(NOISE, size, info.channels, len(info.classes), 0).images
    freeze_unused(model, info.channels, size)
    learn = sum(p.numel() for p in model.parameters() if p.requires_grad)
    layers = layers_of(model, lambda: model.predict(images[:1]))
    x, (seen, *_) = model.network_input(images)
    if assumed:
        print(f"not planned yet, so taken for this table: {', '.join(f'{key}={value_at(params, key)}' for key in assumed)}")
    print(f"{cfg.model.name}, for images of {_by(size)} pixels ({why}); the network sees {_by((x.shape[2], x.shape[3]))}\n")
    show(("part", *COUNTS), _parts(layers), COUNTS)
    print(f"\nparameters that learn: {learn:,}")
    fields = receptive_fields(model.body, info.channels, model.stride)
    for number, one in enumerate(fields, start=1):
        print(f"receptive field of output {number} of {len(fields)}: {_field_in_words(one)}")
    influence = effective_field(model.body, [x[i : i + 1] for i in range(NOISE)])
    side = effective_side(influence)
    print(f"effective receptive field of the untrained network: as large as a square of {side:.0f} pixels")
    memory = _memory(cfg, info, model, size)
    for name, needed in memory.items():
        print(f"memory of {name}: {_in_words(needed)}")
    finest = min(fields, key=lambda one: one.stride)
    largest = None if any(one.size is None for one in fields) else max(one.size or 0 for one in fields)
    said = list(remarks(prepared, info, cfg.task.instances, seen[0] / size[0], largest, side, finest.stride)) if is_there else []
    for line in said:
        print(line)
    save_field(out / "receptive_field.png", influence, finest, side)
    columns = ("name", "kind", "parameters", "multiply_adds", "activations")
    rows = [{column: getattr(layer, column) for column in columns} for layer in layers]
    shapes = [{"outputs": " ".join("x".join(map(str, shape)) for shape in layer.outputs)} for layer in layers]
    write_rows(out / "layers.csv", [row | shape for row, shape in zip(rows, shapes, strict=True)])
    content: dict[str, Any] = {
        "model": cfg.model.name,
        "size": size,
        "parameters": sum(layer.parameters for layer in layers),
        "parameters_that_learn": learn,
        "multiply_adds": sum(layer.multiply_adds for layer in layers),
        "activations": sum(layer.activations for layer in layers),
        "receptive_fields": [asdict(one) for one in fields],
        "effective_receptive_field": side,
        "memory": {name: asdict(needed) for name, needed in memory.items()},
        "remarks": said,
    }
    write_whole(out / "describe.json", json.dumps(content, indent=1) + "\n")
    print(f"\n{len(layers)} layers, one by one: {out / 'layers.csv'}; what the network sees: {out / 'receptive_field.png'}")


def _settled(params: Params, path: Path) -> tuple[Params, list[str]]:
    """`params` without open values: from a plan for the task, else examples; and the keys of these. ConfigError for an open network."""
    if path.is_file() and (plan := read_plan(path)).made_for.get("task") == params["task"]["name"]:
        params = params_of(params, open_keys(params), plan)
    left = open_keys(params)
    if network := [key for key in left if key.startswith("model.network")]:
        task = params["task"]["name"]
        fix = f"run `seg plan task={task}` and set paths.plan to its folder, or name one (`seg models` lists them)"
        raise ConfigError(f"{network[0]}=auto: is not planned yet for task={task}; {fix}")
    return with_examples(params), [key for key in left if key in SHOWN]


def _size(cfg: Described, info: DatasetInfo | None) -> tuple[Size, str]:
    """(height, width) of the images that training sees, and where that is from."""
    if cfg.describe.size:
        return (cfg.describe.size[0], cfg.describe.size[1]), "describe.size"
    if cfg.augment.crop:
        return (cfg.augment.crop.size[0], cfg.augment.crop.size[1]), "augment.crop"
    if info:
        return (int(info.statistics["height"]["median"]), int(info.statistics["width"]["median"])), "the median of the training images"
    return UNKNOWN_SIZE, "no data are prepared; describe.size=[HEIGHT,WIDTH] names another size"


def _parts(layers: Sequence[Layer]) -> list[tuple[str, ...]]:
    """Sums over the layers of each part: the first names of a layer's place."""
    sums: dict[str, list[int]] = {}
    for layer in layers:
        part = sums.setdefault(".".join(layer.name.split(".")[:DEPTH]) or "the rest", [0, 0, 0])
        for place, value in enumerate((layer.parameters, layer.multiply_adds, layer.activations)):
            part[place] += value
    total = [sum(column) for column in zip(*sums.values(), strict=True)]
    return [(name, *(f"{value:,}" for value in values)) for name, values in [*sums.items(), ("total", total)]]


def _memory(cfg: Described, info: DatasetInfo, model: SegmentationModel, size: Size) -> dict[str, Memory]:
    """Of a training step with the configured number of images, and of the prediction of one image."""
    count = cfg.trainer.batch_size if isinstance(cfg.trainer.batch_size, int) else 2
    device = device_of(cfg.trainer.accelerator)
    batch = noise(count, size, info.channels, len(info.classes), THINGS if cfg.task.instances else 0)
    seen = model.seen_at_once(size)
    one = batch.images[:1, :, : seen[0], : seen[1]]

    def make() -> SegmentationModel:
        return build_model(cfg, info, pretrained=False, say=lambda _: None)

    def optimizer(network: nn.Module) -> torch.optim.Optimizer:
        chosen = chosen_fused(cfg.optimizer, "32-true", device)
        learner: torch.optim.Optimizer = build(chosen, cfg.targets.allow, "optimizer", {"params": list(network.parameters())})
        return learner

    training, prediction = of_training(make, optimizer, batch), of_prediction(make, one)
    model.to(device)
    learner, moved, seen_there = optimizer(model), batch.to(device), one.to(device)

    def predict() -> None:
        model.eval().predict(seen_there)

    return {
        f"a training step of {count} images": measured(training, model, lambda: two_steps(model, learner, moved), device),
        "a prediction of one image": measured(prediction, model, predict, device),
    }


def _field_in_words(field: ReceptiveField) -> str:
    size = "the whole image" if field.size is None else f"{field.size} x {field.size} pixels, the first centred at {field.start:g}"
    pooled = ", and the mean of the whole image" if field.pooled and field.size else ""
    return f"{size}{pooled}; stride {field.stride:g}"


def _in_words(memory: Memory) -> str:
    unknown = "cannot be predicted, as its work depends on what it sees"
    told = unknown if memory.predicted is None else f"{_amount(memory.predicted)} predicted"
    return told + (", and it does not fit here" if memory.measured is None else f", {_amount(memory.measured)} measured")


def _amount(count: float) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _by(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
