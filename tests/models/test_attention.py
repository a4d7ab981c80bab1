"""Where transformers look, against the library's own weights of attention and rollout by its definition."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from untrained import untrained

from seg.models.base import SegmentationModel
from seg.models.checkpoint import restore

SEMANTIC = ("task=semantic", "model=eomt_small", "loss=masks")
INSTANCE = ("task=instance", "model=mask2former_small", "loss=masks")


def model_of(path: Path, *overrides: str) -> tuple[SegmentationModel, Any, Tensor]:
    """A model, its transformer, and images (2, 3, 64, 96) uint8, as large as the network sees them."""
    model = restore(untrained(path / "m.ckpt", *overrides)).eval()
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return model, getattr(model.get_submodule("network"), "transformer", None), images


def scaled(rows: Tensor, side: int) -> Tensor:
    """(B, N) of a grid -> (B, 64, 96), the largest 1 before the grid is enlarged."""
    grid = rows.reshape(2, 1, 64 // side, 96 // side) / rows.max(dim=1).values.view(2, 1, 1, 1)
    return F.interpolate(grid, (64, 96), mode="bilinear")[:, 0]


@torch.no_grad()
def test_queries_of_eomt(tmp_path: Path) -> None:
    """The library's `output_attentions`; rollout as the product of all blocks, in which a query is there from the first block on and looks
    at itself alone until it joins."""
    model, transformer, images = model_of(tmp_path, *SEMANTIC)
    found = model.attention_maps(images)
    assert transformer.config._attn_implementation == "sdpa"  # that of training is left as it was
    assert list(found) == ["the last block", "all blocks"]
    transformer.set_attn_implementation("eager")
    given = transformer(pixel_values=model.network_input(images)[0], output_attentions=True)
    transformer.made.clear()
    assert [w.shape[-1] for w in given.attentions] == [8 * 12 + 5] * 4 + [32 + 8 * 12 + 5] * 2
    sure = given.class_queries_logits.softmax(-1)[..., :-1].sum(-1)
    last = torch.einsum("bq,bhqn->bn", sure, given.attentions[-1][:, :, :32, 37:])
    torch.testing.assert_close(found["the last block"], scaled(last, 8), rtol=1e-4, atol=1e-5)
    product = torch.eye(133).expand(2, -1, -1)
    for weights in given.attentions:
        whole = torch.eye(133).repeat(2, 1, 1)
        whole[:, -weights.shape[-1] :, -weights.shape[-1] :] = weights.mean(dim=1)
        product = (0.5 * whole + 0.5 * torch.eye(133)) @ product
    torch.testing.assert_close(product.sum(dim=-1), torch.ones(2, 133))
    torch.testing.assert_close(found["all blocks"], scaled(torch.einsum("bq,bqn->bn", sure, product[:, :32, 37:]), 8), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_queries_of_mask2former(tmp_path: Path) -> None:
    """What the library's decoder gives with `output_attentions`, of the last of its layers at each stride."""
    model, transformer, images = model_of(tmp_path, *INSTANCE)
    found, kept = model.attention_maps(images), []
    layers = transformer.model.transformer_module.decoder.layers
    hooks = [layer.register_forward_hook(lambda _, __, output: kept.append(output[2])) for layer in layers]
    given = transformer(pixel_values=model.network_input(images)[0], output_attentions=True)
    for hook in hooks:
        hook.remove()
    sure = given.class_queries_logits.softmax(-1)[..., :-1].sum(-1)
    by_stride = {side: w for w in kept for side in (8, 16, 32) if w.shape[-1] == (64 // side) * (96 // side)}
    assert set(found) == {f"stride {side}" for side in by_stride} == {"stride 8", "stride 16", "stride 32"}
    for side, weights in by_stride.items():
        expected = scaled(torch.einsum("bq,bqn->bn", sure, weights), side)
        torch.testing.assert_close(found[f"stride {side}"], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_last_block_of_segformer(tmp_path: Path) -> None:
    """The softmax of queries and keys, by torch's own attention of the values 1, 0, 0, ... for each key."""
    model, _, images = model_of(tmp_path, "model=segformer")
    (part,) = [m for name, m in model.named_modules() if name == "network.encoder.block4.1.attn"]
    found, seen = model.attention_maps(images), list[Tensor]()
    with part.register_forward_hook(lambda _, given, __: seen.append(given[0])):
        model.get_submodule("network")(model.network_input(images)[0])
    heads = (2, 6, part.num_heads, -1)
    queries, keys = (v.reshape(heads).transpose(1, 2) for v in (part.q(seen[0]), part.kv(seen[0])[..., : seen[0].shape[-1]]))
    weights = F.scaled_dot_product_attention(queries, keys, torch.eye(6).expand(2, part.num_heads, 6, 6))
    torch.testing.assert_close(found["stride 32"], scaled(weights.mean(dim=(1, 2)), 32), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("overrides", [("model=unet_small",), ("task=instance", "model=mask_rcnn_small")])
def test_other_networks_have_none(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    model, _, images = model_of(tmp_path, *overrides)
    assert model.attention_maps(images) == {}
