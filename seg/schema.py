"""The typed schema of a composed configuration: `validate` turns a plain dict into a `Config`, or says what is wrong with it.

No value has its default here: conf/ is the one place for those.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from seg.errors import ConfigError, did_you_mean

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Channel = Annotated[int, Field(ge=0, le=255)]
SplitName = Literal["train", "val", "test"]


class Section(BaseModel):
    """A part of the configuration with fixed keys."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Target(BaseModel):
    """A call: `_target_` names a class or function (see `seg.targets`), the other keys are its arguments."""

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


class Table(Section):
    file: str
    id: str


class Split(Section):
    by: Literal["ratios", "folders", "lists"]
    ratios: dict[str, Share] | None
    lists: dict[str, str] | None
    group: str | None
    table: Table | None
    stratify: bool | str
    seed: Count


class Data(Named):
    root: str | None
    obtain: str | None
    source: Target
    channels: Literal[1, 3]
    classes: Annotated[list[ClassConfig], Field(min_length=2, max_length=255)]
    split: Split


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


class Trainer(Named):
    accelerator: Literal["auto", "cpu", "gpu", "mps"]
    devices: Positive | list[Count] | Literal["auto"]
    num_nodes: Positive
    strategy: str
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
    channels_last: bool
    batch_size: Positive
    max_epochs: Positive
    validate_every: Positive
    patience: Positive | None
    gradient_clip: Annotated[float, Field(gt=0)] | None


class Evaluate(Named):
    split: SplitName
    checkpoint: Literal["best", "last"]
    batch_size: Positive
    num_overlays: Count
    score_threshold: Share


class Paths(Section):
    prepare: str
    augment: str
    train: str
    evaluate: str


class Runtime(Section):
    workers: Count | Literal["auto"]
    progress: Literal["auto", "bar", "lines", "none"]


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
    experiment: Named
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
        raise ConfigError(_explain(error, params)) from None


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


def _explain(error: ValidationError, params: dict[str, Any]) -> str:
    first = error.errors()[0]
    parts = [str(part) for part in first["loc"] if not _is_branch(str(part))]
    key = ".".join(parts)
    if first["type"] == "extra_forbidden":
        siblings = _fields_at(first["loc"][:-1])
        parent = ".".join(parts[:-1]) or "the top level"
        return f"unknown key {key}: {did_you_mean(parts[-1], siblings, f'keys of {parent}')}"
    if first["type"] == "missing":
        return f"{key} is missing: every option of a group must give it"
    expected = first["msg"].removeprefix("Input should be ").removeprefix("a valid ").removeprefix("valid ")
    value = first["input"]
    return f"{key}={value!r}: expected {expected}, got {type(value).__name__}"


def _is_branch(part: str) -> bool:
    """Pydantic names the member of a union that it tried; a user has no such key."""
    return part in {"int", "str", "bool", "float", "constrained-int", "constrained-float"} or "[" in part


def _fields_at(loc: tuple[int | str, ...]) -> list[str]:
    model: Any = Config
    for part in loc:
        annotation = model.model_fields[str(part)].annotation if hasattr(model, "model_fields") and part in model.model_fields else None
        if annotation is None:  # an item of a list: the list's element type
            continue
        inner = [a for a in getattr(annotation, "__args__", ()) if hasattr(a, "model_fields")]
        model = inner[0] if inner else annotation
    return [f.alias or name for name, f in getattr(model, "model_fields", {}).items()]
