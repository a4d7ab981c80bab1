"""`train`: prepared data and augmentation policy -> best.ckpt, last.ckpt and history.csv."""

import hashlib
import json
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from seg.callbacks import Console, History, Keep
from seg.checkpoint import SECTIONS, Checkpoint, WholeCheckpointIO, save
from seg.config import AT_RUN_TIME
from seg.datamodule import SegmentationData, TrainingBatches
from seg.environment import keep_freed_memory
from seg.errors import ConfigError, DataError, did_you_mean
from seg.hardware import choose_precision, device_of
from seg.metrics.base import Metrics
from seg.models.base import SegmentationModel
from seg.models.build import build_model
from seg.models.dry_run import check_sizes, freeze_unused
from seg.models.finetune import Group, check_finetune, make_plan, thaws
from seg.module import SegmentationModule
from seg.rawdata import local_weights
from seg.schema import Config
from seg.scratch import Scratch, fingerprint, scratch_root
from seg.targets import build
from seg.transforms import load_policy

RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
"""Variables by which launchers tell a process its place; all are 0 or unset in the first one."""


def run(cfg: Config, out: Path) -> float:
    """Returns the best value of the monitored figure."""
    quiet()
    keep_freed_memory()
    if cfg.trainer.max_epochs < cfg.trainer.validate_every:
        raise ConfigError(
            f"trainer.validate_every={cfg.trainer.validate_every}: expected at most trainer.max_epochs={cfg.trainer.max_epochs}, "
            "or no epoch is validated and no best checkpoint is kept"
        )
    check_finetune(cfg.finetune, cfg.model.weights, cfg.trainer.max_epochs)
    data = load_data(cfg)
    if cfg.task.monitor not in make_metrics(cfg, data).figures():
        raise ConfigError(
            f"task.monitor={cfg.task.monitor}: {did_you_mean(cfg.task.monitor, make_metrics(cfg, data).figures(), 'figures')}"
        )
    settings = {name: cfg.model_dump(mode="json", by_alias=True)[name] for name in SECTIONS}
    weights = local_weights(Path.cwd(), cfg.model)
    inputs = [data.info.digest, read_augmented(cfg, data)["digest"], hashlib.sha256(weights.read_bytes()).hexdigest() if weights else ""]
    name = fingerprint(settings, [*inputs, torch.__version__])
    scratch = Scratch(scratch_root(Path.cwd()) / "train", name)
    if not in_first_process():  # which holds the lock for all
        return fit(cfg, data, out, scratch, scratch.folder)
    with scratch as folder:
        return fit(cfg, data, out, scratch, folder)


def fit(cfg: Config, data: SegmentationData, out: Path, scratch: Scratch, folder: Path) -> float:
    """Train, from the last checkpoint of an interrupted run if there is one, and write the outputs."""
    device = device_of(cfg.trainer.accelerator)
    precision = choose_precision(cfg.trainer.precision, device)
    history, key = History(), f"val_{cfg.task.monitor}"
    keep: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False, "save_on_train_epoch_end": True}
    best = Keep(filename="best", monitor=key, mode="max", every_n_epochs=cfg.trainer.validate_every, **keep)
    callbacks: list[Callback] = [
        Console(cfg.runtime.progress, cfg.task.monitor),
        history,
        best,
        Keep(filename="last", **keep),
    ]
    if cfg.trainer.patience:
        callbacks.insert(2, EarlyStopping(key, patience=cfg.trainer.patience, mode="max", check_on_train_epoch_end=False))
    trainer = build_trainer(cfg, callbacks, folder, device, precision)
    torch.manual_seed(cfg.seed)
    model = make_model(cfg, data)
    check_network(model, data, trainer.world_size)
    module = build_module(cfg, data, model)
    last = folder / "last.ckpt"
    if trainer.is_global_zero:
        total, learned = (sum(p.numel() for p in module.parameters() if p.requires_grad or frozen) / 1e6 for frozen in (True, False))
        size = f"{total:.1f} M parameters" + (f", {learned:.1f} M of them learned," if learned < total else "")
        print(f"{cfg.model.name} with {size} on {device.type}, {precision}; {len(data.info.classes)} classes")
        for line in module.plan.table(cfg.optimizer.arguments.get("lr")):
            print(line)
        if last.exists():
            print(f"resuming an interrupted run from {last}")
    with ended_by_signal(trainer):
        trainer.fit(module, data, ckpt_path=last if last.exists() else None, weights_only=True)
    if trainer.is_global_zero:
        write_outputs(cfg, data, folder, out, history)
        scratch.clear()
    trainer.strategy.barrier()
    return max(row[key] for row in history.rows if key in row)


def in_first_process() -> bool:
    """Whether this is rank 0, known before Lightning is asked."""
    return not any(int(os.environ.get(variable, 0)) for variable in RANKS)


def build_trainer(cfg: Config, callbacks: list[Callback], folder: Path, device: torch.device, precision: str) -> pl.Trainer:
    """Lightning's trainer; ConfigError where it cannot have the devices or the strategy."""
    try:
        return pl.Trainer(
            accelerator=cfg.trainer.accelerator,
            devices=cfg.trainer.devices,
            num_nodes=cfg.trainer.num_nodes,
            strategy=strategy_of(cfg),
            precision=precision,  # type: ignore[arg-type]
            max_epochs=cfg.trainer.max_epochs,
            check_val_every_n_epoch=cfg.trainer.validate_every,
            gradient_clip_val=cfg.trainer.gradient_clip,
            deterministic=device.type == "cpu",
            callbacks=callbacks,
            plugins=[WholeCheckpointIO()],
            default_root_dir=folder,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"trainer (accelerator={cfg.trainer.accelerator}, devices={cfg.trainer.devices}, strategy={cfg.trainer.strategy}): {reason}"
        ) from None


def strategy_of(cfg: Config) -> str:
    """Lightning's name of the strategy.

    DDP waits for the gradient of every parameter that it was built with. It is built before the first epoch, while all
    parameters still have one, and asked to look for those that are frozen in a step.
    """
    name = cfg.trainer.strategy
    several = cfg.trainer.devices != 1 or cfg.trainer.num_nodes > 1
    if not thaws(cfg.finetune) or name.endswith("find_unused_parameters_true") or (name == "auto" and not several):
        return name
    if name in ("auto", "ddp", "ddp_spawn", "ddp_fork", "ddp_notebook"):
        return f"{'ddp' if name == 'auto' else name}_find_unused_parameters_true"
    raise ConfigError(
        f"finetune={cfg.finetune.name}: parts of the network learn from a later epoch on, which trainer.strategy={name} cannot; set "
        "trainer.strategy=ddp, or finetune.freeze_epochs=0 and finetune.unfreeze_every=0"
    )


def make_model(cfg: Config, data: SegmentationData) -> SegmentationModel:
    """The model to train, with the weights that it starts from."""
    model = build_model(cfg, data.info, say=print if in_first_process() else lambda _: None)
    return model.to(memory_format=torch.channels_last) if cfg.trainer.channels_last else model


def build_module(cfg: Config, data: SegmentationData, model: SegmentationModel) -> SegmentationModule:
    """The LightningModule of a model, with everything else that the configuration names."""
    allow = cfg.targets.allow

    def optimizer(groups: list[Group]) -> Any:
        parts = [{"params": group.parameters, "name": group.name} for group in groups]
        made = build(cfg.optimizer, allow, "optimizer", {"params": parts})
        for part, group in zip(made.param_groups, groups, strict=True):
            part["lr"] *= group.lr_share
        return made

    def scheduler(optimizer: torch.optim.Optimizer, steps: int) -> Any:
        known: dict[str, Any] = dict.fromkeys(("total_steps", "T_max", "total_iters"), steps)
        known |= {"optimizer": optimizer, "max_lr": [group["lr"] for group in optimizer.param_groups]}
        return build(cfg.scheduler, allow, "scheduler", {name: known[name] for name in AT_RUN_TIME["scheduler"]})

    return SegmentationModule(
        model,
        make_plan(model.get_submodule("network"), model, cfg.finetune, data.info.channels, cfg.trainer.max_epochs),
        optimizer,
        scheduler,
        lambda: make_metrics(cfg, data),
        cfg.seed,
    )


def check_network(model: SegmentationModel, data: SegmentationData, world_size: int) -> None:
    """Raise ConfigError where the network does not take the images that it will see; freeze what its output does not depend on."""
    drawn, predicted = data.image_sizes()
    batch_size = TrainingBatches(data.num_training_images(), data.batch_size, data.seed, 0, world_size).batch_size
    check_sizes(model, data.info.channels, batch_size, drawn, predicted)
    freeze_unused(model, data.info.channels, drawn[0])


def make_metrics(cfg: Config, data: SegmentationData) -> Metrics:
    """Fresh streaming figures of the task."""
    metrics: Metrics = build(cfg.task.metrics, cfg.targets.allow, "task.metrics", {"class_names": [c.name for c in data.info.classes]})
    return metrics


def read_augmented(cfg: Config, data: SegmentationData) -> dict[str, Any]:
    """The summary that `augment` wrote; DataError where it is missing, or was made of another data set."""
    path = Path(cfg.paths.augment) / "augmented.json"
    try:
        summary: dict[str, Any] = json.loads(path.read_text())
    except OSError:
        raise DataError(f"{path}: is missing; run `dvc repro` or `seg augment`, or set paths.augment") from None
    if summary["prepared"] != data.info.digest:
        raise DataError(f"{path}: was made of another data set than {cfg.paths.prepare}; run `seg augment` again, or set paths.augment")
    return summary


def load_data(cfg: Config) -> SegmentationData:
    """The prepared data with the augmentation that `augment` compiled."""
    augmented = Path(cfg.paths.augment)
    try:
        policy = load_policy((augmented / "policy.json").read_text())
    except OSError:
        raise DataError(f"{augmented / 'policy.json'}: is missing; run `dvc repro` or `seg augment`, or set paths.augment") from None
    copies = augmented / "train"
    return SegmentationData(
        prepared=Path(cfg.paths.prepare),
        augmented_train=copies if copies.is_dir() else None,
        policy=policy,
        batch_size=cfg.trainer.batch_size,
        eval_batch_size=cfg.trainer.batch_size,
        workers=cfg.runtime.workers,
        seed=cfg.seed,
        with_instances=cfg.task.instances,
    )


def write_outputs(cfg: Config, data: SegmentationData, folder: Path, out: Path, history: History) -> None:
    """From Lightning's checkpoints in the scratch folder to ours in the output folder."""
    out.mkdir(parents=True, exist_ok=True)
    config = cfg.model_dump(mode="json", by_alias=True)
    config["data"]["root"], config["overrides"] = None, []  # where the data lay does not belong to the model
    for name in ("best", "last"):
        content = torch.load(folder / f"{name}.ckpt", map_location="cpu", weights_only=True)
        state = {k.removeprefix("model."): v for k, v in content["state_dict"].items()}
        epoch = int(content["epoch"]) + 1
        figures = {k: v for row in history.rows if row["epoch"] == epoch for k, v in row.items() if k.startswith("val_")}
        save(out / f"{name}.ckpt", Checkpoint(state, config, data.info, epoch, figures))
    history.write(out / "history.csv")


@contextmanager
def ended_by_signal(trainer: pl.Trainer) -> Iterator[None]:
    """Exit with 143 after SIGTERM and 130 after Ctrl-C, all ranks with it.

    Lightning alone would end with 0 after SIGTERM, and DVC would record a half-trained model as done.
    """
    received: list[int] = []

    def stop(number: int, _: Any) -> None:
        received.append(number)
        print("stopped by SIGTERM; the same command goes on from the last finished epoch", file=sys.stderr, flush=True)
        sys.exit(143)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except SystemExit:
        launcher = trainer.strategy.launcher
        if isinstance(launcher, _SubprocessScriptLauncher):
            launcher.kill(signal.SIGKILL)
        sys.exit(143 if received else 130)  # Lightning ends with 1 after Ctrl-C
    finally:
        signal.signal(signal.SIGTERM, before)
    if received:
        sys.exit(143)


def quiet() -> None:
    """Silence what a user can do nothing about."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(lightning|torch|segmentation_models_pytorch|timm)\b.*")
    warnings.filterwarnings("ignore", message=r".*(does not have many workers|LeafSpec|lr_scheduler\.step).*")
