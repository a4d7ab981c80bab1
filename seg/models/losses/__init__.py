"""Losses on class logits (B, K, H, W) and class maps (B, H, W) uint8, where 255 is ignored -> scalar float32.

All of them are computed in float32, also under autocast; they weight classes, and where every pixel is ignored, or no class
that occurs has a weight, they are 0 and move nothing.
"""

from seg.models.losses.boundary import Boundary as Boundary
from seg.models.losses.classes import weights_of as weights_of
from seg.models.losses.cross_entropy import CrossEntropy as CrossEntropy
from seg.models.losses.cross_entropy import Focal as Focal
from seg.models.losses.cross_entropy import HardExamples as HardExamples
from seg.models.losses.overlap import Dice as Dice
from seg.models.losses.overlap import FocalTversky as FocalTversky
from seg.models.losses.overlap import GeneralisedDice as GeneralisedDice
from seg.models.losses.overlap import Jaccard as Jaccard
from seg.models.losses.overlap import LovaszSoftmax as LovaszSoftmax
from seg.models.losses.overlap import Tversky as Tversky
from seg.models.losses.sum import DistanceLoss as DistanceLoss
from seg.models.losses.sum import Sum as Sum
