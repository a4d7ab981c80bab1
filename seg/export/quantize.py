"""Weights and activations as integers of 8 bits, their scales chosen on images (Jacob et al. 2018, Quantization and Training of Neural
Networks for Efficient Integer-Arithmetic-Only Inference): of ONNX models by ONNX Runtime, of OpenVINO's by NNCF."""

import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from seg.core.errors import ConfigError
from seg.predict.exported import library


@contextmanager
def quiet() -> Iterator[None]:
    """Without the lines of progress and advice that the libraries print."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)


def quantized_onnx(proto: Any, images: Sequence[np.ndarray]) -> Any:
    """An onnx.ModelProto of the same inputs and outputs. images: (1, C, H, W) uint8. ConfigError where it cannot be made."""
    library("onnxruntime", "precision=int8")
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        left = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            found = next(self.left, None)
            return None if found is None else {"images": found}

    def quantize() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            kinds = {"weight_type": QuantType.QInt8, "activation_type": QuantType.QUInt8}
            own = onnx.ModelProto()
            own.CopyFrom(proto)  # it moves the weights of what it is given into files
            quantize_static(own, path, Reader(), per_channel=True, **kinds)
            return onnx.load(path)

    return _tried(quantize)


def quantized_openvino(model: Any, images: Sequence[np.ndarray]) -> Any:
    """The same of an openvino.Model."""
    nncf = library("nncf", "precision=int8")
    nncf.set_log_level(logging.ERROR)
    mixed = nncf.QuantizationPreset.MIXED  # activations of either sign get an asymmetric range
    return _tried(lambda: nncf.quantize(model, nncf.Dataset(images), subset_size=len(images), preset=mixed))


def _tried(quantize: Callable[[], Any]) -> Any:
    try:
        with quiet():
            return quantize()
    except Exception as error:  # each library has classes of its own
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"precision=int8: the network cannot be quantized ({reason}); use precision=float32") from None
