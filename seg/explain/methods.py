"""Methods that say which pixels of an image a network's answer rests on. Each gives a map of its own scale: only its form means something.

All take the same function: how strongly the network is for the answer (`seg.models.base.SegmentationModel.evidence`)."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import IntegratedGradients, Occlusion, Saliency
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from seg.explain.subject import Explained
from seg.models.base import SegmentationModel, Size, Subject
from seg.models.finetune import find_encoder
from seg.models.tensor_file import tensors_in

STEPS = 32  # of the path from a gray image to the image
WINDOWS = 8  # that occlude, side by side, along the shorter side; they move by half of their own side
AT_ONCE = 8  # images that the network sees at once


@dataclass(frozen=True, slots=True)
class Question:
    """x: the input of the network (1, C, h, w). size: of the image in it without padding. subject: what is asked about. rival: another
    answer; then it is asked what speaks for the subject rather than for it."""

    model: SegmentationModel
    x: Tensor
    size: Size
    subject: Subject
    rival: Subject | None = None

    def evidence(self, x: Tensor) -> Tensor:
        """(B,) for inputs (B, C, h, w); with a rival, how far that of the subject lies above that of the rival."""
        own = self.model.evidence(x, self.size, self.subject)
        return own if self.rival is None else own - self.model.evidence(x, self.size, self.rival)


def question(model: SegmentationModel, images: Tensor, explained: Explained) -> Question:
    """What is asked of a model about an image (1, C, H, W) uint8."""
    x, (size, *_) = model.network_input(images)
    region = torch.from_numpy(explained.region.astype(np.float32))[None, None].to(x.device)
    seen = F.interpolate(region, size, mode="area")[0, 0]
    seen = (seen >= min(0.5, float(seen.max()))).float()
    rival = None if explained.instead is None else Subject(explained.instead, seen)
    return Question(model, x, size, Subject(explained.category, seen), rival)


def gradients(asked: Question) -> Tensor:
    """The size of the derivative by each pixel, the largest of its channels (Simonyan et al. 2014, https://arxiv.org/abs/1312.6034)."""
    found: Tensor = Saliency(asked.evidence).attribute(asked.x.clone().requires_grad_(True), abs=True)
    return found[0].amax(dim=0)


def integrated_gradients(asked: Question) -> Tensor:
    """The share of each pixel in the difference to an image of the mean colour (Sundararajan et al. 2017,
    https://arxiv.org/abs/1703.01365); what speaks against the answer counts as 0."""
    method = IntegratedGradients(asked.evidence)
    found: Tensor = method.attribute(asked.x, torch.zeros_like(asked.x), n_steps=STEPS, internal_batch_size=AT_ONCE)
    return found[0].sum(dim=0).clamp(min=0)


def grad_cam(asked: Question) -> Tensor | None:
    """Where the coarsest features of the encoder speak for the answer, each weighed by its mean derivative: Grad-CAM (Selvaraju et al.
    2017, https://arxiv.org/abs/1610.02391), of a region as Seg-Grad-CAM has it. None where the network has no map of features."""
    found = find_encoder(asked.model.get_submodule("network"))
    kept: list[Tensor] = []
    module = found[1] if found else asked.model.body
    hook = module.register_forward_hook(lambda _, __, output: kept.extend(t for t in tensors_in(output) if t.dim() == 4))
    try:
        evidence = asked.evidence(asked.x.clone().requires_grad_(True))
    finally:
        hook.remove()
    if not found or not kept:
        return None
    features = min(kept, key=lambda t: t.shape[2] * t.shape[3])
    (derivative,) = torch.autograd.grad(evidence.sum(), features, allow_unused=True)
    if derivative is None:
        return None
    weights = derivative.mean(dim=(2, 3), keepdim=True)
    return (weights * features).sum(dim=1).clamp(min=0)[0].detach()


def occlusion(asked: Question) -> Tensor:
    """How much the answer loses where a window of the mean colour hides the image (Zeiler and Fergus 2014,
    https://arxiv.org/abs/1311.2901)."""
    side = max(2, min(asked.size) // WINDOWS)
    channels = asked.x.shape[1]
    with torch.no_grad():
        found: Tensor = Occlusion(asked.evidence).attribute(
            asked.x, (channels, side, side), (channels, max(1, side // 2), max(1, side // 2)), perturbations_per_eval=AT_ONCE
        )
    return found[0, 0].clamp(min=0)


METHODS = {"gradients": gradients, "integrated gradients": integrated_gradients, "Grad-CAM": grad_cam, "occlusion": occlusion}
"""By the names that the page shows."""


def maps_of(asked: Question, size: Size, names: Iterable[str] = tuple(METHODS)) -> dict[str, np.ndarray]:
    """{method: (H, W) float32, 0 or more} at a size, without the methods that the network has nothing for. names: of METHODS. The model's
    weights get no derivatives from then on: these cost memory and are not asked for."""
    asked.model.requires_grad_(False)
    found = {}
    for name in names:
        if (values := METHODS[name](asked)) is not None:
            whole = F.interpolate(values.detach()[None, None].float(), asked.x.shape[2:], mode="bilinear")
            inside = F.interpolate(whole[..., : asked.size[0], : asked.size[1]], size, mode="bilinear")
            found[name] = inside[0, 0].cpu().numpy()
    return found


def randomised(model: SegmentationModel) -> SegmentationModel:
    """A copy with random weights of the same spread (Adebayo et al. 2018, https://arxiv.org/abs/1810.03292): a method whose map it leaves
    as it was shows the image's edges, and nothing of what the network learned."""
    twin = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for parameter in twin.get_submodule("network").parameters():
            if parameter.dim() > 1:
                spread = float(parameter.std()) if parameter.numel() > 1 else 1.0
                parameter.copy_(torch.randn(parameter.shape) * spread)
    return twin


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    """The rank correlation (Spearman) of two maps; 0 where one of them is the same everywhere."""
    if not np.ptp(first) or not np.ptp(second):
        return 0.0
    return float(spearmanr(first.ravel(), second.ravel()).statistic)


def share_inside(values: np.ndarray, region: np.ndarray) -> float:
    """The share of a map (H, W) of 0 or more that lies in a region (H, W) bool; NaN for a map of zeros."""
    total = float(values.sum())
    return float(values[region].sum()) / total if total else float("nan")
