"""`train`: prepared data and augmentation policy -> best.ckpt, last.ckpt and history.csv."""

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping

from seg.checkpoint import SECTIONS
from seg.datamodule import SegmentationData
from seg.environment import keep_freed_memory
from seg.errors import ConfigError, DataError, did_you_mean
from seg.hardware import choose_precision, device_of
from seg.models.finetune import check_finetune
from seg.rawdata import local_weights
from seg.schema import Config
from seg.scratch import Scratch, fingerprint, scratch_root
from seg.training.history import History
from seg.training.interruption import ended_by_signal
from seg.training.keeping import Keep
from seg.training.loggers import check_installed
from seg.training.outputs import write_outputs
from seg.training.overfit import FewImages, refuse_pipeline, verdict
from seg.training.parts import build_module, check_network, make_metrics, make_model
from seg.training.trainer import build_trainer, in_first_process, quiet
from seg.training.watching import watchers
from seg.transforms import load_policy


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
    refuse_pipeline(cfg, out)
    check_installed(cfg.logger.name)
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
        *watchers(cfg, data, folder, history),
        *([] if cfg.trainer.overfit else [best, Keep(filename="last", **keep)]),
    ]
    if cfg.trainer.patience:
        callbacks.insert(0, EarlyStopping(key, patience=cfg.trainer.patience, mode="max", check_on_train_epoch_end=False))
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
        if cfg.trainer.overfit:
            write_verdict(cfg, data, out, history)
        else:
            write_outputs(cfg, data, folder, out, history)
        scratch.clear()
    trainer.strategy.barrier()
    return max(row[key] for row in history.rows if key in row)


def write_verdict(cfg: Config, data: SegmentationData, out: Path, history: History) -> None:
    """overfit.json and history.csv of images that were learned by heart, and what they mean."""
    assert cfg.trainer.overfit
    found = verdict(history.rows, cfg.task.monitor, cfg.trainer.overfit.figure, data.num_training_images())
    out.mkdir(parents=True, exist_ok=True)
    (out / "overfit.json").write_text(json.dumps(found, indent=1) + "\n")
    history.write(out / "history.csv")
    print(found["said"])


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
    few = cfg.trainer.overfit
    return (partial(FewImages, batches=few.batches) if few else SegmentationData)(
        prepared=Path(cfg.paths.prepare),
        augmented_train=copies if copies.is_dir() else None,
        policy=policy,
        batch_size=cfg.trainer.batch_size,
        eval_batch_size=cfg.trainer.batch_size,
        workers=cfg.runtime.workers,
        seed=cfg.seed,
        with_instances=cfg.task.instances,
    )
