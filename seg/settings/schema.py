"""The typed schema of a composed configuration: `validate` turns a plain dict into a `Config`, or says what is wrong with it.

No value has its default here: conf/ is the one place for those.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from seg.core.errors import ConfigError, did_you_mean

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Channel = Annotated[int, Field(ge=0, le=255)]
Rgb = Annotated[list[Channel], Field(min_length=3, max_length=3)]
SplitName = Literal["train", "val", "test"]


def _is_range(value: object) -> object:
    numbers = isinstance(value, list) and len(value) == 2 and all(isinstance(v, int | float) for v in value)
    if value not in (None, "image") and not (numbers and value[0] < value[1]):  # type: ignore[index]
        raise ValueError("[low, high] such as [0, 4095], image or null")
    return value


Range = Annotated[list[float] | Literal["image"] | None, BeforeValidator(_is_range)]
"""Values that prepared images have 0 and 255 for; `image`: each image has its own; null: images are of 8 bit."""


class Section(BaseModel):
    """A part of the configuration with fixed keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Target(BaseModel):
    """A call: `_target_` names a class or function (see `seg.settings.targets`), the other keys are its arguments."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    target: Annotated[str, Field(alias="_target_")]

    @property
    def arguments(self) -> dict[str, Any]:
        """The keys beside `_target_`."""
        return dict(self.model_extra or {})


class NamedTarget(Target):
    """A call that is a whole option of a group, with the option's name."""

    name: str


class Named(Section):
    name: str


class ClassConfig(Section):
    name: str
    color: Annotated[list[Channel], Field(min_length=3, max_length=3)]
    labels: list[
        int | str | Annotated[list[Channel], Field(min_length=3, max_length=3)]
    ] = []  # an entry of a list has no place for defaults


class Table(Section):
    file: str
    id: str


class Column(Section):
    """A column of data.split.table."""

    column: str


class Split(Section):
    by: Literal["ratios", "blocks", "folders", "lists"]
    ratios: dict[str, Share] | None
    lists: dict[str, str | None] | None
    folders: dict[str, str | list[str] | None] | None
    group: str | Column | None
    table: Table | None
    stratify: bool | str
    folds: Annotated[int, Field(ge=2)]
    seed: Count


class Data(Named):
    root: str | None
    obtain: str | None
    source: Target
    channels: Positive
    range: Range
    classes: Annotated[list[ClassConfig], Field(min_length=2, max_length=255)]
    split: Split
    fold: Count | None


class Model(Named):
    task: str
    network: Target
    stride: Positive
    scale: Annotated[float, Field(gt=0, le=1)] | Annotated[list[Positive], Field(min_length=2, max_length=2)]
    normalization: Literal["dataset", "imagenet", "checkpoint"]
    weights: str | None


class Finetune(Named):
    freeze_epochs: Count
    unfreeze_every: Count
    frozen_stages: Count
    frozen_norms: bool
    lr_factor: Annotated[float, Field(gt=0, le=1)]


class Task(Named):
    model: Target
    metrics: Target
    monitor: str
    instances: bool


class Plots(Section):
    """What dvc.yaml's plots show; no stage reads it."""

    curve: list[str]
    title: str
    table: str
    template: str
    x: str
    y: str | list[str]
    y_label: str


class Preview(Section):
    images: Positive
    draws: Positive


class Instances(Section):
    min_visible: Share
    min_area: Count


class CopyPaste(Section):
    p: Share
    max_instances: Positive | None


class Augment(Named):
    copies: Count
    preview: Preview
    instances: Instances
    copy_paste: CopyPaste
    transforms: list[Target]


class Ema(Section):
    decay: Annotated[float, Field(ge=0, lt=1)]
    start: Annotated[float, Field(ge=0, lt=1)]


class Swa(Section):
    start: Annotated[float, Field(ge=0, lt=1)]


class Overfit(Section):
    batches: Positive
    figure: Share


class Trainer(Named):
    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    devices: Positive | list[Count] | Literal["auto"]
    num_nodes: Positive
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true", "fsdp"]
    sync_batchnorm: bool | Literal["auto"]
    scale_lr: Literal["none", "linear", "sqrt"]
    reference_batch_size: Positive | None
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
    float32_matmul: Literal["highest", "high", "medium"]
    channels_last: bool
    compile: bool
    activation_checkpointing: bool
    average: Literal["none", "ema", "swa"]
    ema: Ema
    swa: Swa
    batch_size: Positive | Literal["auto"]
    effective_batch_size: Positive | None
    max_epochs: Positive
    validate_every: Positive
    patience: Positive | None
    gradient_clip: Annotated[float, Field(gt=0)] | None
    overfit: Overfit | None


class Bootstrap(Section):
    resamples: Count
    level: Annotated[float, Field(gt=0, lt=1)]
    seed: Count


class Boundary(Section):
    width: Annotated[float, Field(gt=0, le=1)]
    tolerance: Annotated[float, Field(ge=0, lt=1000)]


class GalleryImages(Section):
    images: Count
    least_share: Share
    seed: Count


class Evaluate(Named):
    split: SplitName
    checkpoint: Literal["best", "last"]
    batch_size: Positive
    num_overlays: Count
    score_threshold: Share
    bootstrap: Bootstrap
    groups: list[str]
    boundary: Boundary | None
    surface: bool
    calibration_bins: Positive | None
    size_bins: Positive
    gallery: GalleryImages


class Polygons(Section):
    tolerance: Annotated[float, Field(ge=0)]
    min_area: Positive


class TilingSettings(Section):
    overlap: Annotated[float, Field(ge=0, lt=1)]
    sigma: Annotated[float, Field(gt=0)]
    margin: Count
    padding: Literal["reflect", "edge"]
    min_iou: Share


class Predict(Named):
    outputs: list[str]
    batch_size: Positive
    score_threshold: Share
    views: Annotated[list[str], Field(min_length=1)]
    merge: Literal["probabilities", "logits"]
    fusion_iou: Share
    polygons: Polygons
    tile: Positive | None
    tiling: TilingSettings
    accelerator: Literal["auto", "cpu", "gpu"] | None
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] | None
    compile: bool


class ExportCheck(Section):
    images: Positive
    seed: Count
    tolerance: Share
    near: Share
    differing: Share
    box: Annotated[float, Field(ge=0)]
    unmatched: Share


class Export(Named):
    format: Literal["onnx", "torch_export", "openvino"]
    out: str | None
    argmax: bool
    size: str | None
    images: str | None
    check: ExportCheck


class Sampler(Section):
    kind: Literal["tpe", "random"]
    startup_trials: Positive
    seed: Count


class Pruner(Section):
    kind: Literal["median", "hyperband", "none"]
    startup_trials: Count
    warmup_epochs: Count
    min_epochs: Positive
    reduction_factor: Annotated[int, Field(ge=2)]


class Sweep(Named):
    """space: by key, choices or a range: see seg.sweep.space."""

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    trials: Positive
    jobs: Positive
    space: dict[str, Any] | None
    sampler: Sampler
    pruner: Pruner
    checkpoints: Literal["best", "all"]


class Paths(Section):
    prepare: str
    doctor: str
    augment: str
    train: str
    lr: str
    evaluate: str


class Pictures(Section):
    every: Positive
    images: Positive


class Logger(Named):
    """settings: further arguments of the library's own logger."""

    folder: str
    every: Positive
    pictures: Pictures | None
    settings: dict[str, Any]


class LrFinder(Section):
    start: Annotated[float, Field(gt=0)]
    end: Annotated[float, Field(gt=0)]
    steps: Annotated[int, Field(ge=20)]
    smoothing: Annotated[float, Field(ge=0, lt=1)]
    stop: Annotated[float, Field(gt=1)]


class Divergence(Section):
    every: Positive
    window: Annotated[int, Field(ge=10)]
    factor: Annotated[float, Field(gt=1)]
    steps: Positive


class Runtime(Section):
    workers: Count | Literal["auto"]
    cache: Literal["auto", "none", "memory", "memmap"]
    cache_gb: Annotated[float, Field(gt=0)]
    progress: Literal["auto", "bar", "lines", "none"]
    save_minutes: Annotated[float, Field(ge=0)] | None
    trial: str | None
    data_wait: Share
    divergence: Divergence | None


class Targets(Section):
    allow: list[str]


class Config(Section):
    task: Task
    plots: Plots
    data: Data
    augment: Augment
    model: Model
    finetune: Finetune
    loss: NamedTarget
    optimizer: NamedTarget
    scheduler: NamedTarget
    trainer: Trainer
    evaluate: Evaluate
    predict: Predict
    export: Export
    sweep: Sweep
    experiment: Named
    logger: Logger
    lr_finder: LrFinder
    paths: Paths
    runtime: Runtime
    targets: Targets
    seed: Count
    overrides: list[str]


def validate(params: dict[str, Any]) -> Config:
    """A composed, resolved configuration as a `Config`; ConfigError names the first key that is wrong."""
    missing = [key for key, value in leaves(params).items() if value == "???"]
    if missing:
        raise ConfigError(f"{missing[0]} has no value yet: {_how_to_fill(missing[0], params)}")
    try:
        return Config.model_validate(params)
    except ValidationError as error:
        raise ConfigError(explain(error, Config)) from None


def leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    """{"a.b": value} of nested dicts; lists are values, and so is an empty dict."""
    if isinstance(node, dict) and node:
        return {
            path: value for key, child in node.items() for path, value in leaves(child, f"{prefix}.{key}" if prefix else str(key)).items()
        }
    return {prefix: node}


def _how_to_fill(key: str, params: dict[str, Any]) -> str:
    if key == "data.root":
        data = params["data"]
        obtain = f" (to be had from {data['obtain']})" if data.get("obtain") else ""
        return f"set data.root=<folder of the data set>{obtain}"
    return f"set {key}=<value>"


def explain(error: ValidationError, model: Any, key: str = "") -> str:
    """One line on the first mistake that was found in the value of `key`, whose type is `model`."""
    errors = error.errors()
    place = _path(errors[0]["loc"])
    # of a union's members the one that got furthest tells most
    first = max((e for e in errors if _path(e["loc"])[: len(place)] == place), key=lambda e: len(e["loc"]))
    if first["type"] == "missing":  # for a slip in its name, perhaps
        beside = (e for e in errors if e["type"] == "extra_forbidden" and e["loc"][:-1] == first["loc"][:-1])
        first = next(beside, first)
    parts = _path(first["loc"])
    path = ".".join([key, *parts] if key else parts)
    if first["type"] == "extra_forbidden":
        siblings = _fields_at(first["loc"][:-1], model)
        parent = path.rpartition(".")[0] or "the top level"
        return f"unknown key {path}: {did_you_mean(parts[-1], siblings, f'keys of {parent}')}"
    if first["type"] == "missing":
        return f"{path} is missing: {'set it' if key else 'every option of a group must give it'}"
    expected = first["msg"].removeprefix("Input should be ").removeprefix("a valid ").removeprefix("valid ").removeprefix("Value error, ")
    expected = expected.partition(", unable to parse")[0]
    value = first["input"]
    return f"{path}={value!r}: expected {expected}, got {type(value).__name__}"


def _path(loc: tuple[int | str, ...]) -> list[str]:
    return [str(part) for part in loc if not _is_branch(str(part))]


def _is_branch(part: str) -> bool:
    """Pydantic names the member of a union that it tried; a user has no such key."""
    return part in {"int", "str", "bool", "float", "constrained-int", "constrained-float", "Column"} or "[" in part


def _fields_at(loc: tuple[int | str, ...], model: Any) -> list[str]:
    """The keys of the part of `model` that lies at `loc`; items of lists and dicts have the type of their container's elements."""
    for part in loc:
        fields = getattr(model, "model_fields", {})
        model = _element(fields[str(part)].annotation if part in fields else model)
    return [f.alias or name for name, f in getattr(model, "model_fields", {}).items()]


def _element(annotation: Any) -> Any:
    inner = [a for a in getattr(annotation, "__args__", ()) if hasattr(a, "model_fields")]
    return inner[0] if inner else annotation
