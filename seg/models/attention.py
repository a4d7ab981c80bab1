"""Where transformers look: the weights of their attention, caught by hooks while an image passes. Training computes it in faster ways."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

USUAL = "sdpa"  # the attention that transformers computes by default


@contextmanager
def caught(parts: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """The attention (B, N, M) of each run of modules that give it (B, heads, N, M) or (B, N, M), alone or after their output; the mean over
    the heads."""
    kept: list[Tensor] = []

    def keep(_: Any, __: Any, given: Any) -> None:
        weights = given[1] if isinstance(given, tuple) else given
        kept.append((weights.mean(dim=1) if weights.dim() == 4 else weights).float())

    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(part.register_forward_hook(keep))
        yield kept


def query_maps(network: Any, x: Tensor) -> dict[str, Tensor]:
    """As `attention_maps` of a `seg.models.masks.networks.QueryNetwork`, which it is for."""
    transformer = network.transformer
    crossing = [part.cross_attn for part in transformer.modules() if hasattr(part, "cross_attn")]
    try:
        if not crossing:
            transformer.set_attn_implementation("eager")  # others give no weights
        with caught(crossing or [layer.attention for layer in transformer.layers]) as kept:
            sure = 1 - network(x)["classes"][-1].float().softmax(dim=-1)[..., -1:]
    finally:
        if not crossing:
            transformer.set_attn_implementation(USUAL)
    if crossing:
        return dict(_placed((sure * weights).sum(dim=1), x) for weights in kept)  # of several layers the last
    first = sure.shape[1] + transformer.embeddings.num_prefix_tokens
    rows = {"the last block": kept[-1], "all blocks": rolled_out(kept)}
    return {name: _placed((sure * w[:, : sure.shape[1], first:]).sum(dim=1), x)[1] for name, w in rows.items()}


def rolled_out(kept: Sequence[Tensor]) -> Tensor:
    """(B, N, N): how much of each token of the image is in each token after the last block, of the attention (B, N, N) of all blocks, half
    of which counts as each token's own (attention rollout, Abnar and Zuidema 2020, https://arxiv.org/abs/2005.00928). Tokens that join
    later, as queries do, stand before the others."""
    total = torch.eye(kept[0].shape[1], device=kept[0].device).repeat(len(kept[0]), 1, 1)
    for weights in kept:
        new = weights.shape[1] - total.shape[1]
        total = F.pad(total, (new, 0, new, 0))
        total[:, range(new), range(new)] = 1
        total = (weights @ total + total) / 2
    return total


def encoder_maps(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """As a network's `attention_maps`: how much attention each place gets from all others in the last block of a Mix Transformer
    (SegFormer's encoder, of segmentation_models_pytorch); empty for networks without one."""
    with caught(parts := [part.get_submodule("attn_drop") for part in network.modules() if hasattr(part, "sr_ratio")][-1:]) as kept:
        _ = parts and network(x)
    return dict(_placed(weights.mean(dim=1), x) for weights in kept)


def _placed(weights: Tensor, x: Tensor) -> tuple[str, Tensor]:
    """(B, N) of the cells of a grid over images (B, C, H, W) -> the grid's stride, and its map (B, 1, H, W), the largest of an image 1."""
    stride = round((x[0, 0].numel() / weights.shape[1]) ** 0.5)
    grid = weights.unflatten(1, (1, x.shape[2] // stride, -1)) / weights.amax(dim=1).clamp(min=1e-12)[:, None, None, None]
    return f"stride {stride}", F.interpolate(grid, x.shape[2:], mode="bilinear")
