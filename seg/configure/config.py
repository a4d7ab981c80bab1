"""The whole configuration: every room's sections, checked together."""

from operator import attrgetter

from seg.augment.settings import Augment
from seg.core.errors import ConfigError
from seg.evaluation.settings import Evaluate
from seg.export.settings import Export
from seg.models.settings import LOSS_ARGUMENTS, METRICS_ARGUMENTS, MODEL_ARGUMENTS, NETWORK_ARGUMENTS, NetworkSettings
from seg.plan.settings import PlanSettings
from seg.predict.settings import Predict
from seg.review.settings import Review
from seg.runtime.settings import Paths, Runtime
from seg.settings.planned import with_examples
from seg.settings.section import Count, Named, NamedTarget, Params, Section, Target, forbid_others, leaves
from seg.settings.targets import check_allowed, check_arguments, nested
from seg.sources.settings import SOURCE_ARGUMENTS, Data
from seg.sweep.settings import Sweep
from seg.training.settings import OPTIMIZER_ARGUMENTS, SCHEDULER_ARGUMENTS, Logger, Trainer

AT_RUN_TIME = {
    "data.source": SOURCE_ARGUMENTS,
    "task.model": MODEL_ARGUMENTS,
    "task.metrics": METRICS_ARGUMENTS,
    "model.adapter": MODEL_ARGUMENTS,
    "model.network": NETWORK_ARGUMENTS,
    "loss": LOSS_ARGUMENTS,
    "optimizer": OPTIMIZER_ARGUMENTS,
    "scheduler": SCHEDULER_ARGUMENTS,
}
"""The arguments that the program passes to each `_target_`, and to those within it, where their signatures have them."""


class Plots(Section):
    """What dvc.yaml's plots show; no stage reads it."""

    curve: list[str]
    title: str
    table: str
    template: str
    x: str
    y: str | list[str]
    y_label: str


class Folds(Section):
    """The numbers of which dvc.yaml makes a stage each; no stage reads them."""

    each: list[Count]
    all: list[Count]


class Config(NetworkSettings):
    model_config = forbid_others
    plots: Plots
    folds: Folds
    data: Data
    augment: Augment
    optimizer: NamedTarget
    scheduler: NamedTarget
    trainer: Trainer
    plan: PlanSettings
    evaluate: Evaluate
    predict: Predict
    export: Export
    sweep: Sweep
    experiment: Named
    logger: Logger
    review: Review
    paths: Paths
    runtime: Runtime
    seed: Count
    overrides: list[str]


def checked(params: Params) -> Config:
    """The typed configuration, its targets inside the allowed modules; values that are yet to be planned are examples. ConfigError names
    the first key that is wrong."""
    params = with_examples(params)
    if missing := [key for key, value in leaves(params).items() if value == "???"]:
        obtain = params["data"].get("obtain") if missing[0] == "data.root" else None
        value = "<value>" if missing[0] != "data.root" else "<folder of the data set>" + (f" (to be had from {obtain})" if obtain else "")
        raise ConfigError(f"{missing[0]} has no value yet: set {missing[0]}={value}")
    config = Config.of(params)
    if config.task.name not in config.model.tasks:
        tasks = " or ".join(config.model.tasks)
        fix = f"choose another model, or task={tasks}"
        raise ConfigError(f"model={config.model.name}: is for task={tasks}, but task={config.task.name}; {fix}")
    for key, target in targets_of(config).items():
        check_allowed(target.target, config.targets.allow, key)
    return config


def targets_of(config: Config) -> dict[str, Target]:
    """Every `_target_` node, by its key; one that lies within another comes after it."""
    outermost: dict[str, Target | None] = {key: attrgetter(key)(config) for key in AT_RUN_TIME}
    outermost |= {f"augment.transforms[{i}]": transform for i, transform in enumerate(config.augment.transforms)}
    return {key: target for start, outer in outermost.items() if outer is not None for key, target in nested(outer, start)}


def check_signatures(config: Config, known: Config | None = None) -> None:
    """Compare the arguments of every `_target_` with its signature, which imports it; those of `known` were compared before."""
    if config.optimizer.arguments.get("fused") == "auto":  # which training replaces
        config = config.model_copy(update={"optimizer": config.optimizer.model_copy(update={"fused": None})})
    before = [t.model_dump() for t in targets_of(known).values()] if known else []
    for key, target in targets_of(config).items():
        if target.model_dump() not in before:
            given = next((names for start, names in AT_RUN_TIME.items() if f"{key}.".startswith(f"{start}.")), ())
            check_arguments(target, config.targets.allow, key, given)
