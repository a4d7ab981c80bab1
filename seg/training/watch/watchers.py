"""The callbacks that watch a training; none of them changes what it makes."""

from pathlib import Path

from lightning.pytorch.callbacks import Callback

from seg.console.speed import Speed
from seg.console.starvation import Starvation
from seg.console.training import Console
from seg.settings.schema import Config
from seg.training.loading.datamodule import SegmentationData
from seg.training.resume.history import History
from seg.training.resume.outputs import kept_settings
from seg.training.watch.guard import Guard, Kept
from seg.training.watch.log import Log
from seg.training.watch.pictures import PredictionPictures


def watchers(cfg: Config, data: SegmentationData, scratch: Path, history: History) -> list[Callback]:
    """In the order in which they act: what measures first, then what may end the training, what keeps and logs, what says."""
    speed = Speed()
    chosen: list[Callback] = [speed]
    if cfg.runtime.divergence:
        chosen.append(Guard(cfg.runtime.divergence, scratch, Kept(kept_settings(cfg), data.info)))
    chosen.append(history)
    if cfg.logger.name != "none":
        log = Log(cfg, scratch, history, speed)
        chosen.append(log)
        if cfg.logger.pictures:
            chosen.append(PredictionPictures(cfg.logger.pictures, log, data.info.classes, cfg.evaluate.score_threshold))
    return [*chosen, Starvation(cfg.runtime.data_wait, speed), Console(cfg.runtime.progress, cfg.task.monitor, speed)]
