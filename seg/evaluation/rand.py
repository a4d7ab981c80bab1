"""Whether regions that a class separates are the same ones in truth and prediction: the adapted Rand error of connected components.

Foreground-restricted: pixels whose truth is the separating class count nowhere. In the prediction, the separating class is first given
to the nearest region, as the challenge ISBI 2012 thins borders (Arganda-Carreras et al. 2015), so that a border's width costs nothing.
"""

import numpy as np

from seg.data.sample import IGNORE


def rand_error(truth: np.ndarray, predicted: np.ndarray, separating: int) -> float:
    """1 less the F1 of pairs of pixels that share a region, of two class maps (H, W) uint8; NaN where no two pixels share one.

    Regions hang together along sides of pixels. 255 in the truth counts nowhere, and separates regions of both maps.
    """
    from skimage.measure import label
    from skimage.metrics import adapted_rand_error
    from skimage.segmentation import expand_labels

    ignored = truth == IGNORE
    true, found = (label(np.where(ignored, separating, m), background=separating, connectivity=1) for m in (truth, predicted))
    if np.bincount(true.ravel())[1:].max(initial=0) < 2:
        return float("nan")
    return float(adapted_rand_error(true, expand_labels(found, np.inf) if found.any() else found)[0])
