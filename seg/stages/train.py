"""`train`: prepared data and augmentation policy -> best.ckpt, last.ckpt and history.csv."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from seg.augment.policy import load_policy
from seg.core.environment import in_first_process, keep_freed_memory
from seg.core.errors import ConfigError, DataError, did_you_mean, plural
from seg.core.outputs import replaced_files, write_whole
from seg.core.scratch import Scratch, fingerprint, scratch_root
from seg.core.urls import place_of
from seg.data.store import read_info
from seg.metrics.base import metrics_of
from seg.models.build import with_architecture
from seg.models.checkpoint import Checkpoint, save
from seg.models.finetune import check_finetune
from seg.models.hardware import choose_precision, device_of, hints
from seg.settings.inputs import digest_of, local_weights
from seg.training.callbacks import callbacks_of
from seg.training.choosing.choose import Choose, Chosen, chooser
from seg.training.loading.datamodule import SegmentationData
from seg.training.loading.sample_cache import CacheSettings
from seg.training.module import build_module, check_network, make_limits, make_model
from seg.training.overfit import FewImages, refuse_pipeline, verdict
from seg.training.ranks.ranks import ending_together, following_rank_0
from seg.training.ranks.signals import StopSignals, ended_by_signal
from seg.training.resume.checkpoints import ResumePoint, resume_point_of
from seg.training.resume.history import History
from seg.training.settings import SECTIONS, TrainingSettings, kept_settings
from seg.training.step.limits import check_batch_sizes, check_strategy, described_lr, images_per_device, lr_factor
from seg.training.step.recomputation import accelerate, check_acceleration
from seg.training.trainer import Sharded, build_trainer, quiet
from seg.training.watch.log import check_installed
from seg.training.watch.study import end_if_pruned

Settings = TrainingSettings


@following_rank_0()
def run(cfg: TrainingSettings, out: Path) -> float:
    """Returns the best value of the monitored figure."""
    quiet()
    keep_freed_memory()
    if cfg.trainer.max_epochs < cfg.trainer.validate_every:
        most = f"at most trainer.max_epochs={cfg.trainer.max_epochs}, or no epoch is validated and no best checkpoint is kept"
        raise ConfigError(f"trainer.validate_every={cfg.trainer.validate_every}: expected {most}")
    check_batch_sizes(cfg.trainer)
    check_acceleration(cfg.trainer, device_of(cfg.trainer.accelerator))
    check_finetune(cfg.finetune, cfg.model.weights, cfg.trainer.max_epochs)
    refuse_pipeline(cfg, out)
    check_installed(cfg.logger.name)
    data, cfg = load_data(cfg), with_architecture(cfg)
    if cfg.task.monitor not in (figures := metrics_of(cfg.task, cfg.targets.allow, data.info).figures()):
        raise ConfigError(f"task.monitor={cfg.task.monitor}: {did_you_mean(cfg.task.monitor, figures, 'figures')}")
    settings = {name: cfg.model_dump(mode="json", by_alias=True)[name] for name in SECTIONS}
    weights = local_weights(Path.cwd(), cfg.model.weights)
    inputs = [data.info.digest, read_augmented(cfg, data)["digest"], digest_of(weights) if weights else ""]
    name = fingerprint(settings, [*inputs, torch.__version__, pl.__version__])
    scratch = Scratch(scratch_root(Path.cwd()) / "train", name)
    if not in_first_process():  # which holds the lock for all
        return fit(cfg, data, out, scratch, scratch.folder)
    with scratch as folder:
        for line in scratch.note(settings):
            print(line)
        return fit(cfg, data, out, scratch, folder)


def fit(cfg: TrainingSettings, data: SegmentationData, out: Path, scratch: Scratch, folder: Path) -> float:
    """Train, from the last checkpoint of an interrupted run if there is one, and write the outputs."""
    device = device_of(cfg.trainer.accelerator)
    precision = choose_precision(cfg.trainer.precision, device)
    limits = make_limits(cfg, data)
    history, signals = History(), StopSignals(in_first_process())
    last = folder / "last.ckpt"
    resumed = last if last.exists() else None
    callbacks = callbacks_of(cfg, data, folder, history, limits, signals)
    trainer = build_trainer(cfg, callbacks, folder, device, precision)
    start = resume_point_of(resumed) if resumed else ResumePoint()
    start.check(folder, trainer.world_size)
    data.first = start.epoch, start.step
    check_strategy(trainer, cfg.trainer)
    data.batch_size = images_per_device(cfg.trainer, trainer.world_size)
    torch.manual_seed(cfg.seed)
    model = make_model(cfg, data)
    check_network(model, data, trainer.world_size, limits.training)
    lr, factor = cfg.optimizer.arguments.get("lr"), lr_factor(cfg.trainer, trainer.world_size)
    module = build_module(cfg, data, model, limits, precision, factor, isinstance(trainer.strategy, Sharded))
    accelerate(cfg.trainer, model, data, device)
    if trainer.is_global_zero:
        total, learned = (sum(p.numel() for p in module.parameters() if p.requires_grad or frozen) / 1e6 for frozen in (True, False))
        size = f"{total:.1f} M parameters" + (f", {learned:.1f} M of them learned," if learned < total else "")
        print(f"{cfg.model.name} with {size} on {device.type}, {precision}; {len(data.info.classes)} classes")
        if line := described_lr(cfg.trainer, trainer.world_size, lr):
            print(line)
        for line in [*module.plan.table(lr and lr * factor), *hints(cfg.trainer.precision, device, trainer.num_devices)]:
            print(line)
        if resumed:
            print(f"resuming an interrupted run from {last}, epoch {start.epoch + 1}, after step {start.step}")
    choose = chooser(cfg, data, None if isinstance(trainer.strategy, Sharded) else model, limits, device, precision)
    with ending_together(trainer):
        with ended_by_signal(trainer, signals):
            trainer.fit(module, data, ckpt_path=resumed, weights_only=True)
        end_if_pruned(trainer, scratch)
        if trainer.is_global_zero:
            if cfg.trainer.overfit:
                write_verdict(cfg, data, out, history)
            else:
                write_outputs(cfg, data, folder, out, history, choose)
            scratch.clear()
        trainer.strategy.barrier()
    key = f"val_{cfg.task.monitor}"
    return max(row[key] for row in history.rows if key in row)


def write_outputs(cfg: TrainingSettings, data: SegmentationData, folder: Path, out: Path, history: History, choose: Choose) -> None:
    """best.ckpt, last.ckpt and history.csv: all, or, with DiskFullError, none."""
    config, found = kept_settings(cfg), dict[int, Chosen]()
    with replaced_files(out) as partial:
        for name in ("best", "last"):
            content = torch.load(folder / f"{name}.ckpt", map_location="cpu", weights_only=True)
            state = {k.removeprefix("model."): v for k, v in content["state_dict"].items()}
            epoch = int(content["epoch"]) + 1
            if epoch not in found:
                found[epoch] = choose(state)
                for line in (choice := found[epoch].choice).lines():
                    print(f"{name}.ckpt, chosen on {plural(choice.images, 'validation image')}: {line}")
            figures = {k: v for row in history.rows if row["epoch"] == epoch for k, v in row.items() if k.startswith("val_")}
            its = found[epoch]
            save(partial / f"{name}.ckpt", Checkpoint(state, config, data.info, epoch, figures, its.postprocess, its.choice))
        history.write(partial / "history.csv")


def write_verdict(cfg: TrainingSettings, data: SegmentationData, out: Path, history: History) -> None:
    """overfit.json and history.csv of images that were learned by heart, and what they mean."""
    assert cfg.trainer.overfit
    found = verdict(history.rows, cfg.task.monitor, cfg.trainer.overfit.figure, data.num_training_images())
    write_whole(out / "overfit.json", json.dumps(found, indent=1) + "\n")
    history.write(out / "history.csv")
    print(found["said"])


def read_augmented(cfg: TrainingSettings, data: SegmentationData) -> dict[str, Any]:
    """The summary that `augment` wrote; DataError where it is missing, or was made of another data set."""
    path = Path(cfg.paths.augment) / "augmented.json"
    try:
        summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise DataError(f"{path}: is missing; run `dvc repro` or `seg augment`, or set paths.augment") from None
    if summary["prepared"] != data.info.digest:
        raise DataError(f"{path}: was made of another data set than {cfg.paths.prepare}; run `seg augment` again, or set paths.augment")
    return summary


def load_data(cfg: TrainingSettings) -> SegmentationData:
    """The prepared data with the augmentation that `augment` compiled."""
    augmented = Path(cfg.paths.augment)
    try:
        text = (augmented / "policy.json").read_text(encoding="utf-8")
    except OSError:
        raise DataError(f"{augmented / 'policy.json'}: is missing; run `dvc repro` or `seg augment`, or set paths.augment") from None
    prepared, copies, images = place_of(cfg.paths.prepare), augmented / "train", images_per_device(cfg.trainer, 1)
    few = cfg.trainer.overfit
    return (partial(FewImages, batches=few.batches) if few else SegmentationData)(
        prepared=prepared,
        augmented_train=copies if copies.is_dir() else None,
        policy=load_policy(text, read_info(prepared).classes),
        batch_size=images,
        eval_batch_size=images if cfg.trainer.batch_size == "auto" else cfg.trainer.batch_size,
        workers=cfg.runtime.workers,
        seed=cfg.seed,
        with_instances=cfg.task.instances,
        cache=CacheSettings(cfg.runtime.cache, cfg.runtime.cache_gb),
        epoch_steps=cfg.trainer.epoch_steps,
        window=cfg.model.window,
        stuff=cfg.task.stuff,
    )
