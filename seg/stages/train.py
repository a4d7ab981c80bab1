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
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from seg.callbacks import Console, History
from seg.checkpoint import Checkpoint, WholeCheckpointIO, save
from seg.config import AT_RUN_TIME
from seg.datamodule import SegmentationData, TrainingBatches
from seg.errors import ConfigError, DataError, did_you_mean
from seg.hardware import choose_precision, device_of, keep_freed_memory
from seg.metrics.base import Metrics
from seg.models.base import SegmentationModel
from seg.models.build import build_model
from seg.models.dry_run import check_sizes, freeze_unused
from seg.module import SegmentationModule
from seg.rawdata import local_weights
from seg.schema import Config
from seg.scratch import Scratch, fingerprint, scratch_root
from seg.targets import build
from seg.transforms import load_policy

SECTIONS = ("task", "model", "loss", "optimizer", "scheduler", "trainer", "seed")
"""The sections of the configuration that decide the result; dvc.yaml tracks the same."""

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
    if any(int(os.environ.get(variable, 0)) for variable in RANKS):  # rank 0 holds the lock for all
        return fit(cfg, data, out, scratch, scratch.folder)
    with scratch as folder:
        return fit(cfg, data, out, scratch, folder)


def fit(cfg: Config, data: SegmentationData, out: Path, scratch: Scratch, folder: Path) -> float:
    """Train, from the last checkpoint of an interrupted run if there is one, and write the outputs."""
    torch.manual_seed(cfg.seed)
    module = build_module(cfg, data)
    device = device_of(cfg.trainer.accelerator)
    precision = choose_precision(cfg.trainer.precision, device)
    history, key = History(), f"val_{cfg.task.monitor}"
    keep: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False, "save_on_train_epoch_end": True}
    best = ModelCheckpoint(filename="best", monitor=key, mode="max", every_n_epochs=cfg.trainer.validate_every, **keep)
    callbacks: list[Callback] = [
        Console(cfg.runtime.progress, cfg.task.monitor),
        history,
        best,
        ModelCheckpoint(filename="last", **keep),
    ]
    if cfg.trainer.patience:
        callbacks.insert(2, EarlyStopping(key, patience=cfg.trainer.patience, mode="max", check_on_train_epoch_end=False))
    trainer = build_trainer(cfg, callbacks, folder, device, precision)
    check_network(module.model, data, trainer.world_size)
    last = folder / "last.ckpt"
    if trainer.is_global_zero:
        millions = sum(p.numel() for p in module.parameters()) / 1e6
        print(f"{cfg.model.name} with {millions:.1f} M parameters on {device.type}, {precision}; {len(data.info.classes)} classes")
        if last.exists():
            print(f"resuming an interrupted run from {last}")
    with ended_by_signal(trainer):
        trainer.fit(module, data, ckpt_path=last if last.exists() else None, weights_only=True)
    if trainer.is_global_zero:
        write_outputs(cfg, data, folder, out, history)
        scratch.clear()
    trainer.strategy.barrier()
    return max(row[key] for row in history.rows if key in row)


def build_trainer(cfg: Config, callbacks: list[Callback], folder: Path, device: torch.device, precision: str) -> pl.Trainer:
    """Lightning's trainer; ConfigError where it cannot have the devices or the strategy."""
    try:
        return pl.Trainer(
            accelerator=cfg.trainer.accelerator,
            devices=cfg.trainer.devices,
            num_nodes=cfg.trainer.num_nodes,
            strategy=cfg.trainer.strategy,
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


def build_module(cfg: Config, data: SegmentationData) -> SegmentationModule:
    """The LightningModule with everything the configuration names."""
    allow, model = cfg.targets.allow, build_model(cfg, data.info)
    if cfg.trainer.channels_last:
        model = model.to(memory_format=torch.channels_last)

    def scheduler(optimizer: torch.optim.Optimizer, steps: int) -> Any:
        given = (optimizer, steps, steps, steps, optimizer.param_groups[0]["lr"])
        return build(cfg.scheduler, allow, "scheduler", dict(zip(AT_RUN_TIME["scheduler"], given, strict=True)))

    return SegmentationModule(
        model,
        lambda parameters: build(cfg.optimizer, allow, "optimizer", {"params": parameters}),
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
