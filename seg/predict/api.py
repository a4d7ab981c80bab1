"""In Python: `seg.load(path).predict(image)`. The command line runs the same code."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch

from seg.configure.read import read_group
from seg.core.errors import ConfigError, UsageError
from seg.data.sample import ClassInfo, Prediction
from seg.models.checkpoint import load as load_checkpoint
from seg.predict.exported import SUFFIXES, open_exported
from seg.predict.fusion import Ensemble
from seg.predict.settings import Predict, PredictSettings
from seg.predict.views import View, Views, views_of
from seg.tiles.checkpoint import CheckpointNetwork
from seg.tiles.grid import Tiling
from seg.tiles.network import Network
from seg.tiles.tiled import Tiled


class Predictor:
    """A trained model that predicts images. `seg.load` makes it.

    Args:
        network: The model, or several behind one interface.
        settings: The section `predict` of the configuration.
    """

    def __init__(self, network: Network, settings: Predict) -> None:
        self.network, self.settings = network, settings

    @property
    def task(self) -> str:
        """The task: `semantic`, `instance`, or the name of your own."""
        return self.network.facts.task

    @property
    def classes(self) -> list[ClassInfo]:
        """The classes, each with its name and colour. The place in the list is the class index."""
        return list(self.network.facts.classes)

    @overload
    def predict(self, image: np.ndarray) -> Prediction: ...
    @overload
    def predict(self, image: Sequence[np.ndarray]) -> list[Prediction]: ...
    def predict(self, image: np.ndarray | Sequence[np.ndarray]) -> Prediction | list[Prediction]:
        """Predict one image, or a list of images.

        Args:
            image: An array (H, W, C) uint8, RGB where C is 3, values 0 to 255; or (H, W) for a model of one channel. Images of
                a list may differ in size.

        Returns:
            The prediction, of the same height and width as its image. For a list of images, a list in the same order.

        Raises:
            ValueError: An image has another type, another shape, or another number of channels than the model.
        """
        if isinstance(image, np.ndarray):
            return next(self.stream([self._checked(image)]))[0]
        return [prediction for prediction, _ in self.stream(self._checked(one) for one in image)]

    def stream(self, images: Iterable[np.ndarray], probabilities: bool = False) -> Iterator[tuple[Prediction, np.ndarray | None]]:
        """Predict images one after another, without holding all of them in memory.

        Images of one size that follow each other are predicted as a batch of at most `predict.batch_size`.

        Args:
            images: Arrays (H, W, C) uint8. They are not checked.
            probabilities: Whether to give the probabilities of the classes. Only semantic models have them.

        Yields:
            The prediction of each image, and its probabilities (K, H, W) float32 in 0..1, or None.

        Raises:
            TypeError: Probabilities are asked of a model that has none.
        """
        batch: list[np.ndarray] = []
        for image in images:
            if batch and (len(batch) == self.settings.batch_size or image.shape != batch[0].shape):
                yield from self._predicted(batch, probabilities)
                batch = []
            batch.append(image)
        if batch:
            yield from self._predicted(batch, probabilities)

    def _predicted(self, batch: Sequence[np.ndarray], probabilities: bool) -> Iterator[tuple[Prediction, np.ndarray | None]]:
        images = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)
        if not probabilities:
            yield from ((prediction, None) for prediction in self.network.facts.finished(self.network.predict(images)))
            return
        from seg.models.semantic import predictions_of

        logits = self.network.logits(images)
        yield from zip(self.network.facts.finished(predictions_of(logits)), logits.softmax(dim=1).cpu().numpy(), strict=True)

    def _checked(self, image: np.ndarray) -> np.ndarray:
        channels = self.network.facts.channels
        shaped = image[..., None] if image.ndim == 2 else image
        if shaped.ndim != 3 or shaped.dtype != np.uint8 or shaped.shape[2] != channels or not shaped.size:
            raise ValueError(f"an image must be (H, W, {channels}) uint8, got {image.shape} {image.dtype}")
        return shaped


def load(*paths: str | Path, **settings: Any) -> Predictor:
    """As `seg.load`, which also prepares the process for it."""
    given = [f"predict.{key}={_written(value)}" for key, value in settings.items()]
    cfg = settings_of(given, Path.cwd())
    if cfg.predict.devices != 1:
        raise ConfigError(f"predict.devices={cfg.predict.devices}: `seg predict` alone has several devices; load a model for each of them")
    return predictor_of([Path(path) for path in paths], cfg)


def settings_of(overrides: Sequence[str], project: Path, command: str = "predict") -> PredictSettings:
    """What predicting is done with: conf/predict of the project, or, in a folder that is none, of the package."""
    return PredictSettings.of(read_group(project, "predict", overrides, command))


def predictor_of(paths: Sequence[Path], cfg: PredictSettings, threads: int | str | None = None) -> Predictor:
    """The models in files, by the settings of predicting: each sees the views, then their answers are merged. threads: as in
    `CheckpointNetwork`."""
    if not paths:
        raise UsageError("predict: name a model, such as artifacts/train/best.ckpt")
    settings = cfg.predict
    views = views_of(settings.views)
    networks: list[Network] = []
    for path in paths:
        network = _network(path, cfg, threads)
        if views != [View()]:
            network = Views(network, settings.views, settings.merge, settings.fusion_iou, settings.batch_size)
        networks.append(network)
    together: Network = (
        networks[0] if len(networks) == 1 else Ensemble(networks, [str(p) for p in paths], settings.merge, settings.fusion_iou)
    )
    if settings.tile:
        return Predictor(tiled(together, settings, settings.tile, "predict.tile"), settings)
    windows = {network.facts.window for network in networks}
    if len(windows) > 1:
        shown = ", ".join(f"{path}: {network.facts.window or 'whole images'}" for path, network in zip(paths, networks, strict=True))
        raise ConfigError(f"predict: the models learned to see windows of several sizes ({shown}); set predict.tile to the one for all")
    (window,) = windows
    return Predictor(tiled(together, settings, window, "model.window") if window else together, settings)


def tiled(network: Network, settings: Predict, size: int, key: str) -> Tiled:
    """The network behind tiles of a size. ConfigError where they do not go with its stride. key: of the size."""
    given = settings.tiling
    if size % network.facts.stride or size < 2 * network.facts.stride:
        way = "" if key == "predict.tile" else "; set predict.tile to one"
        raise ConfigError(f"{key}={size}: expected a multiple of the network's stride {network.facts.stride}, two times it or more{way}")
    tiling = Tiling((size, size), given.overlap, given.sigma, given.margin, given.padding)
    return Tiled(network, tiling, settings.batch_size, settings.merge, given.min_iou)


def _network(path: Path, cfg: PredictSettings, threads: int | str | None) -> Network:
    if path.suffix in (*SUFFIXES.values(), ".pt2"):  # which a stranger may have from torch.export, and open_exported refuses
        if cfg.predict.compile:
            raise ConfigError(f"{path}: is an exported file; predict.compile=true is for checkpoints, set it to false")
        return open_exported(path, cfg.predict.accelerator or "auto")
    given = cfg.predict
    return CheckpointNetwork(load_checkpoint(path, cfg.targets.allow), given.accelerator, given.precision, given.compile, threads)


def _written(value: Any) -> str:
    return "null" if value is None else f"[{','.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)
