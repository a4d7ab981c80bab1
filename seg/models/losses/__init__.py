"""Losses on class logits (B, K, H, W) and class maps (B, H, W) uint8, where 255 is ignored -> scalar float32.

All of them are computed in float32, also under autocast; they weight classes, and where every pixel is ignored, or no class
that occurs has a weight, they are 0 and move nothing."""

from seg.models.losses.pixels import CrossEntropy, Focal, HardExamples, weights_of
from seg.models.losses.regions import Boundary, Dice, FocalTversky, GeneralisedDice, Jaccard, LovaszSoftmax, Tversky
from seg.models.losses.sum import DistanceLoss, Sum

__all__ = ["Boundary", "CrossEntropy", "Dice", "DistanceLoss", "Focal", "FocalTversky", "GeneralisedDice", "HardExamples", "Jaccard"]
__all__ += ["LovaszSoftmax", "Sum", "Tversky", "weights_of"]
