"""From labelled images to a trained, evaluated segmentation model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seg.predict.api import Predictor

__all__ = ["load"]


def load(*paths: str | Path, **settings: Any) -> "Predictor":
    """The model in a file that `train` has written, or several as an ensemble, ready to `predict` images: see `seg.predict.api.load`."""
    from seg.core.environment import prepare_environment

    prepare_environment()  # before torch and OpenCV are imported
    from seg.predict.api import load as load_model

    return load_model(*paths, **settings)
