"""Whether each method of `seg explain` finds what decides an answer, on drawn scenes in which that is known.

    python benchmarks/explain.py --steps 300
    python benchmarks/explain.py --steps 300 --more --models 'one object decides all: unet_small'

Each scene has noise, gray squares that mean nothing, and one disc, which is red or green. For `one object decides all` the whole image is
of one of two classes, by the colour of the disc alone, wherever it lies; a U-Net learns it. The other models learn to find the disc as an
object of class red or green. The table has the share of each map that lies on the disc, in new scenes, beside the share of the image that
the disc has, and in brackets the same of the network with random weights.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import mean

import cv2
import numpy as np
import torch
from captum.attr import InputXGradient, NoiseTunnel, Saliency
from torch import Tensor
from torch.nn import functional as F

from seg.configure.compose import compose
from seg.configure.config import checked
from seg.core.environment import conf_folder
from seg.data.sample import ClassInfo, Sample
from seg.data.store import DatasetInfo
from seg.explain.methods import METHODS, Question, maps_of, question, randomised, share_inside
from seg.explain.subject import Explained
from seg.loading.batch import Batch, collate
from seg.models.base import SegmentationModel
from seg.models.build import build_model
from seg.models.finetune import find_encoder
from seg.models.tensor_file import tensors_in
from seg.settings.planned import with_examples

CLASSES = [ClassInfo("background", (0, 0, 0)), ClassInfo("red", (200, 40, 40)), ClassInfo("green", (40, 200, 40))]
SIDE = 64
MODELS = {
    "one object decides all: unet_small": ("model=unet_small", "loss=ce"),
    "distance": ("task=instance", "model=distance", "loss=distance"),
    "mask_rcnn_small": ("task=instance", "model=mask_rcnn_small", "loss=mask_rcnn"),
    "eomt_small": ("task=semantic", "model=eomt_small", "loss=masks"),
}


def scene(rng: np.random.Generator, whole: bool) -> tuple[Sample, np.ndarray]:
    """A scene, and the pixels of its disc (H, W) bool. whole: whether all pixels have the disc's class."""
    image = rng.normal(110, 12, (SIDE, SIDE, 3))
    for _ in range(3):
        x, y = rng.integers(4, SIDE - 14, 2)
        image[y : y + 10, x : x + 10] += rng.uniform(-40, 40)
    radius, kind = int(rng.integers(6, 10)), int(rng.integers(1, 3))
    centre = rng.integers(radius + 1, SIDE - radius - 1, 2)
    disc = cv2.circle(np.zeros((SIDE, SIDE), np.uint8), (int(centre[0]), int(centre[1])), radius, 1, -1).astype(bool)
    image[disc] = rng.normal((170, 90, 90) if kind == 1 else (90, 170, 90), 12, (int(disc.sum()), 3))
    semantic = np.where(disc | whole, kind, 0).astype(np.uint8)
    ids = disc.astype(np.int32)[..., None]
    sample = Sample("scene", image.clip(0, 255).astype(np.uint8), semantic, ids, np.array([kind], np.int32), np.zeros(1, bool))
    return sample, disc


def trained(overrides: tuple[str, ...], whole: bool, steps: int) -> SegmentationModel:
    """A model that learned from so many batches of eight scenes."""
    config = checked(with_examples(compose(conf_folder(Path.cwd()), list(overrides))[0]))
    info = DatasetInfo("scenes", "", CLASSES, 3, [110.0] * 3, [30.0] * 3, {"train": {"class_pixels": [1, 1, 1]}}, "")
    torch.manual_seed(0)
    model = build_model(config, info, pretrained=False).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, steps)
    for batch in scenes(whole, steps):
        optimizer.zero_grad()
        torch.stack(list(model.losses(batch).values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def scenes(whole: bool, steps: int) -> Iterator[Batch]:
    rng = np.random.default_rng(0)
    for _ in range(steps):
        yield collate([scene(rng, whole)[0] for _ in range(8)])


def times_input(asked: Question) -> Tensor:
    """Gradient times input (Shrikumar et al. 2017, https://arxiv.org/abs/1704.02685); what speaks against the answer counts as 0."""
    found: Tensor = InputXGradient(asked.evidence).attribute(asked.x.clone().requires_grad_(True))
    return found[0].sum(dim=0).clamp(min=0).detach()


def smoothed(asked: Question, kind: str) -> Tensor:
    """SmoothGrad (Smilkov et al. 2017, https://arxiv.org/abs/1706.03825) of 16 images with noise of 0.3 standard deviations of the data."""
    torch.manual_seed(0)
    tunnel, x = NoiseTunnel(Saliency(asked.evidence)), asked.x.clone().requires_grad_(True)
    found: Tensor = tunnel.attribute(x, nt_type=kind, nt_samples=16, nt_samples_batch_size=4, stdevs=0.3, abs=False)
    return found[0].abs().amax(dim=0).detach()


def cam(asked: Question, stride: int, elementwise: bool) -> Tensor | None:
    """Grad-CAM of the encoder's features at a stride; elementwise: HiResCAM (Draelos and Carin 2020, https://arxiv.org/abs/2011.08891)."""
    found = find_encoder(asked.model.get_submodule("network"))
    kept: list[Tensor] = []
    module = found[1] if found else asked.model.body
    with module.register_forward_hook(lambda _, __, output: kept.extend(t for t in tensors_in(output) if t.dim() == 4)):
        evidence = asked.evidence(asked.x.clone().requires_grad_(True))
    features = [t for t in kept if round(asked.x.shape[2] / t.shape[2]) == stride]
    if not features:
        return None
    (derivative,) = torch.autograd.grad(evidence.sum(), features[0])
    weights = derivative if elementwise else derivative.mean(dim=(2, 3), keepdim=True)
    values = (weights * features[0]).sum(dim=1, keepdim=True).clamp(min=0)
    return F.interpolate(values, asked.x.shape[2:], mode="bilinear")[0, 0].detach()


MORE: dict[str, Callable[[Question], Tensor | None]] = {
    "gradient x input": times_input,
    "SmoothGrad": partial(smoothed, kind="smoothgrad"),
    "SmoothGrad, squared": partial(smoothed, kind="smoothgrad_sq"),
    **{f"Grad-CAM at stride {s}": partial(cam, stride=s, elementwise=False) for s in (8, 4, 2)},
    **{f"HiResCAM at stride {s}": partial(cam, stride=s, elementwise=True) for s in (16, 8, 4, 2)},
}
"""Methods that were tried, and that `seg explain` does not have."""


def main() -> None:
    """Train each model, explain new scenes, and print a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--more", action="store_true", help="methods that `seg explain` does not have, too")
    given = parser.parse_args()
    names = [*METHODS, *(MORE if given.more else [])]
    print(f"| model | {' | '.join(names)} | the disc's share of the image | seconds of training |\n|---|{'---:|' * (len(names) + 2)}")
    for name in given.models:
        whole, started = name.startswith("one object"), time.perf_counter()
        model = trained(MODELS[name], whole, given.steps)
        took, twin, rng = time.perf_counter() - started, randomised(model), np.random.default_rng(1)
        shares: dict[str, list[float]] = {}
        random: dict[str, list[float]] = {}
        sizes = []
        for _ in range(given.images):
            sample, disc = scene(rng, whole)
            images = torch.from_numpy(sample.image.transpose(2, 0, 1).copy())[None]
            explained = Explained(int(sample.categories[0]), np.ones_like(disc) if whole else disc)
            sizes.append(float(disc.mean()))
            for found, network in ((shares, model), (random, twin)):
                asked = question(network, images, explained)
                maps = maps_of(asked, (SIDE, SIDE))
                more = {name: method(asked) for name, method in MORE.items()} if given.more else {}
                for method, values in (maps | {n: v[:SIDE, :SIDE].numpy() for n, v in more.items() if v is not None}).items():
                    found.setdefault(method, []).append(float(np.nan_to_num(share_inside(values, disc))))
        cells = [f"{mean(shares[m]):.2f} ({mean(random[m]):.2f})" if m in shares else "no map" for m in names]
        print(f"| {name} | {' | '.join(cells)} | {mean(sizes):.2f} | {took:.0f} |", flush=True)


if __name__ == "__main__":
    main()
