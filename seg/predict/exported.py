"""Networks of exported files, by the libraries that run them: onnxruntime and OpenVINO. No checkpoint is needed."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seg.core.errors import ConfigError, DataError
from seg.data.sample import Prediction
from seg.models.base import first_label
from seg.models.detector import prediction_of_boxes
from seg.models.distance import prediction_of_logits
from seg.models.postprocess import calibrated
from seg.models.roi_masks import prediction_of
from seg.models.semantic import predictions_of
from seg.predict.description import OUTPUTS, Description

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}
"""How a file of each format ends. OpenVINO keeps the weights in a second file, which ends in .bin."""

TELEMETRY = "openvino_telemetry"  # OpenVINO's package that looks up a host, and writes an identifier into the user's home


def library(name: str, purpose: str, *beside: str) -> Any:
    """An optional package; ConfigError with the command that installs it, and those beside it, which will be needed too."""
    try:
        with _without(TELEMETRY):
            package = import_module(name)
    except ImportError:
        raise ConfigError(f"{purpose}: needs the package {name}; pip install {' '.join([name, *beside])}") from None
    if name == "onnxruntime":
        package.disable_telemetry_events()
    return package


@contextmanager
def _without(name: str) -> Iterator[None]:
    """Around an import: a package that others import where it is there, and do without where not."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


def open_exported(path: Path, accelerator: str = "auto") -> "ExportedNetwork":
    """The network of a file that `seg export` wrote, known by its suffix. DataError where it is none, ConfigError for a missing package.

    accelerator: as in the configuration's trainer; onnxruntime takes a CUDA GPU where it can, OpenVINO the CPU."""
    kinds: dict[str, Callable[[Path, str], ExportedNetwork]] = {".onnx": OnnxNetwork, ".xml": OpenvinoNetwork}
    if path.suffix not in kinds:
        fix = f"expected a name that ends in {' or '.join(kinds)}: export the checkpoint with format=onnx or format=openvino"
        raise DataError(f"{path}: is no file of a format that is read here; {fix}")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; make it with `seg export CHECKPOINT`")
    return kinds[path.suffix](path, accelerator)


class ExportedNetwork(ABC):
    """A `seg.tiles.network.Network`. An image smaller than the file takes is padded by its edge, and its prediction cropped."""

    device = torch.device("cpu")

    def __init__(self, path: Path, description: Description) -> None:
        self.path, self.description, self.facts = path, description, description.facts

    @abstractmethod
    def outputs(self, images: Tensor) -> Sequence[Tensor]:
        """Images (B, C, H, W) uint8 as the file takes them -> its outputs, named by `seg.predict.description.OUTPUTS`."""

    def logits(self, images: Tensor) -> Tensor:
        gives = self.description.gives
        if gives in ("instances", "maps", "boxes"):
            raise TypeError(f"a network of task {self.facts.task} has no logits of pixels")
        if gives == "classes":
            raise ConfigError(f"{self.path}: gives classes without their scores; export the checkpoint again without argmax=true")
        return self._pixels(images) / self.facts.postprocess.temperature

    def predict(self, images: Tensor) -> list[Prediction]:
        if self.description.gives == "scores":
            return predictions_of(self.logits(images))
        if self.description.gives == "classes":
            return [Prediction(semantic=classes) for classes in self._pixels(images).cpu().numpy()]
        height, width = images.shape[-2:]
        if self.description.gives == "maps":
            label, peak = first_label([c.name for c in self.facts.classes]), self.description.peak or 0.15
            logits, distances = self.maps(images)
            found = [prediction_of_logits(p, d, peak, label) for p, d in zip(logits, distances, strict=True)]
        else:
            found = [self._instances(image[None], height, width) for image in images]
        return [calibrated(prediction, self.facts.postprocess.temperature) for prediction in found]

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Of a file that gives maps: logits (B, K, H, W) and distances (B, H, W) of images (B, C, H, W) uint8."""
        height, width = images.shape[-2:]
        logits, distances = self._run(images)
        return logits[..., :height, :width], distances[..., :height, :width]

    def _pixels(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        return self._run(images)[0][..., :height, :width]

    def _instances(self, image: Tensor, height: int, width: int) -> Prediction:
        boxes, scores, classes, *masks = self._run(image)
        if not masks:
            return prediction_of_boxes(boxes, scores, classes, height, width)
        return prediction_of(boxes, scores, classes, masks[0], height, width)

    def _run(self, images: Tensor) -> Sequence[Tensor]:
        fitted = self._fitted(images)
        try:
            return self.outputs(fitted)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # each library has classes of its own
            size, reason = "x".join(map(str, images.shape)), " ".join(str(error).split())[:300]
            fix = "use the checkpoint, or another format"
            raise DataError(f"{self.path}: cannot be run on images of shape {size} ({reason}); {fix}") from None

    def _fitted(self, images: Tensor) -> Tensor:
        height, width = size = (images.shape[-2], images.shape[-1])
        if (channels := images.shape[1]) != self.facts.channels:
            raise DataError(f"{self.path}: takes images of {self.facts.channels} channels, got {channels}")
        if (only := self.description.size) is not None and size != only:
            fix = f"export the checkpoint again with size={height}x{width}, or without size"
            raise DataError(f"{self.path}: takes images of {only[0]}x{only[1]} pixels alone, got {height}x{width}; {fix}")
        least = self.description.minimum
        rows, columns = (torch.arange(max(n, m)).clamp(max=n - 1) for n, m in zip(size, least, strict=True))
        return images if height >= least[0] and width >= least[1] else images[:, :, rows[:, None], columns]


class OnnxNetwork(ExportedNetwork):
    """By onnxruntime, on a CUDA GPU where its package has one, with as many threads as torch."""

    def __init__(self, path: Path, accelerator: str) -> None:
        runtime = library("onnxruntime", str(path))
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        cuda = accelerator != "cpu" and "CUDAExecutionProvider" in runtime.get_available_providers()
        providers = ["CUDAExecutionProvider"] * cuda + ["CPUExecutionProvider"]
        try:
            self.session = runtime.InferenceSession(path, options, providers=providers)
        except Exception as error:  # the library has a class for each kind of damage
            raise unreadable(path, error) from None
        super().__init__(path, Description.of_text(self.session.get_modelmeta().custom_metadata_map, path))

    def outputs(self, images: Tensor) -> Sequence[Tensor]:
        names = OUTPUTS[self.description.gives]
        return [torch.from_numpy(array) for array in self.session.run(names, {"images": images.cpu().contiguous().numpy()})]


class OpenvinoNetwork(ExportedNetwork):
    """By OpenVINO on the CPU, in the precision that the file names, with as many threads as torch."""

    def __init__(self, path: Path, accelerator: str) -> None:
        core = library("openvino", str(path)).Core()
        try:
            model = core.read_model(path)
            text = {key: value.astype(str) for key, value in model.get_rt_info(["seg"]).astype(dict).items()}
            hint = "bf16" if text.get("precision") == "bfloat16" else "f32"  # without one it would choose
            settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
            self.compiled = core.compile_model(model, "CPU", settings)
        except Exception as error:  # RuntimeError, most often
            raise unreadable(path, error) from None
        super().__init__(path, Description.of_text(text, path))

    def outputs(self, images: Tensor) -> Sequence[Tensor]:
        found = self.compiled(images.cpu().contiguous().numpy())
        return [torch.from_numpy(np.array(found[name])) for name in OUTPUTS[self.description.gives]]


def unreadable(path: Path, error: Exception) -> DataError:
    """What is said of a file that its library refuses."""
    return DataError(f"{path}: cannot be loaded ({' '.join(str(error).split())[:200]}); export the checkpoint again")
