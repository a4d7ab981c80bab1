"""From labelled images to a trained, evaluated segmentation model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seg.predict.api import Predictor

__all__ = ["load"]


def load(*paths: str | Path, **settings: Any) -> "Predictor":
    """Load the model in a file that `train` or `export` has written, or the models in several files as an ensemble.

    Args:
        paths: One or more model files: `.ckpt` of `train`, or `.onnx`, `.xml` of `export`.
        settings: Keys of conf/predict, such as `score_threshold=0.3` or `views=["flips"]`. docs/reference.md lists them.

    Returns:
        A predictor, ready to `predict` images.

    Raises:
        DataError: A file is missing, or is no model of this program.
        ConfigError: There is no such setting, or the models cannot answer together.
        UsageError: No path is given.
    """
    from seg.core.environment import prepare_environment

    prepare_environment()  # before torch and OpenCV are imported
    from seg.predict.api import load as load_model

    return load_model(*paths, **settings)
