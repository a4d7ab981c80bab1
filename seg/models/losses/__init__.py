"""Losses on class logits (B, K, H, W) and class maps (B, H, W) uint8, where 255 is ignored -> scalar float32.

All of them are computed in float32, also under autocast; they weight classes, and where every pixel is ignored, or no class
that occurs has a weight, they are 0 and move nothing.
"""

from seg.models.losses.boundary import Boundary
from seg.models.losses.classes import weights_of
from seg.models.losses.cross_entropy import CrossEntropy, Focal, HardExamples
from seg.models.losses.distance import DistanceLoss
from seg.models.losses.lovasz import LovaszSoftmax
from seg.models.losses.overlap import Dice, FocalTversky, GeneralisedDice, Jaccard, Tversky
from seg.models.losses.sum import Sum

__all__ = [
    "Boundary",
    "CrossEntropy",
    "Dice",
    "DistanceLoss",
    "Focal",
    "FocalTversky",
    "GeneralisedDice",
    "HardExamples",
    "Jaccard",
    "LovaszSoftmax",
    "Sum",
    "Tversky",
    "weights_of",
]
