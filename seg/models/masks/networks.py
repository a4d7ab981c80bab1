"""Networks of transformers that give masks with classes: Mask2Former (Cheng et al. 2022) and EoMT (Kerssies et al. 2025)."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seg.core.errors import ConfigError
from seg.models.attention import query_maps
from seg.models.masks.architecture import FAMILIES, LICENCES, WEIGHTS, architecture_of, configuration, fetched, library
from seg.models.weights import Loaded, take_channels

Queries = dict[str, list[Tensor]]
"""What a network says, of the last layer last: `classes`, logits (B, Q, K), of no object last, and `masks`, logits (B, Q, h, w)."""

QUARTERS = 4  # stages of a plain transformer, beside its stem


class QueryNetwork(nn.Module):
    """Images (B, C, H, W) float32 -> Queries, of all layers in training, of the last one alone otherwise.

    transformer: one of FAMILIES; its tensors keep the names that the library gives them. remarks: what is told of the weights that it was
    loaded with."""

    def __init__(self, transformer: nn.Module, remarks: list[str]) -> None:
        super().__init__()
        self.transformer, self.remarks = transformer, remarks
        parts: list[Any] = [part for part in transformer.modules() if hasattr(part, "get_reference_points")]
        for part in parts:
            part.get_reference_points = _centers

    def forward(self, x: Tensor) -> Queries:
        kind: Any = self.transformer
        if hasattr(kind, "made"):
            kind(pixel_values=x)
            made, kind.made = kind.made, []
            made = made if self.training else made[-1:]
            return {"classes": [classes for _, classes in made], "masks": [masks for masks, _ in made]}
        given = kind(pixel_values=x, output_auxiliary_logits=self.training)
        layers = [*(given.auxiliary_logits or []), given]
        return {kind: [layer[f"{name}_queries_logits"] for layer in layers] for kind, name in (("classes", "class"), ("masks", "masks"))}

    def attention_maps(self, x: Tensor) -> dict[str, Tensor]:
        """{name: (B, 1, H, W) float in 0..1}, the largest 1: where the queries look in images (B, C, H, W) float32, each as sure as it is
        that it has an object. Of Mask2Former in the last layer that looks at each stride; of EoMT in the last block, and in all blocks."""
        return query_maps(self, x)

    def encoder_within(self) -> tuple[str, nn.Module]:
        """As `seg.models.finetune.find_encoder`: the backbone, or all blocks where the encoder is the whole network."""
        if hasattr(self.transformer, "model"):
            place = "transformer.model.pixel_level_module.encoder"
            return place, self.get_submodule(place)
        parts = {name: self.transformer.get_submodule(name) for name in ("embeddings", "layers")}
        return "transformer", nn.ModuleDict(parts)

    def encoder_stages(self) -> dict[str, int]:
        """As `seg.models.finetune.stages_of`: by name; a plain transformer has a stem and four stages of equally many blocks."""
        names = [name for name, p in self.encoder_within()[1].named_parameters() if p.requires_grad]
        blocks = {name: re.search(r"(?:layers|stages)\.(\d+)\.", name) for name in names}
        count = 1 + max((int(found[1]) for found in blocks.values() if found), default=0)
        stages = {name: 2 + int(found[1]) * min(count, QUARTERS) // count if found else 1 for name, found in blocks.items()}
        norms = {name: 1 + int(found[1]) for name in names if (found := re.search(r"hidden_states_norms\.stage(\d+)\.", name))}
        return stages | norms


def query_network(architecture: dict[str, object], num_classes: int, in_channels: int, pretrained: str | None = None) -> QueryNetwork:
    """A network from its architecture, or with weights, which bring their own.

    architecture: `model_type`, a key of FAMILIES, and the keys of the library's configuration of that name. num_classes: the classes, and
    one for no object. in_channels: of the images; weights for others are adapted. pretrained: a folder that save_pretrained wrote, or a
    hub's name."""
    num_labels, modules = num_classes - 1, library()
    if pretrained is None:
        config = configuration(architecture, num_labels, in_channels)
        return QueryNetwork(_class_of(config, modules)(config), [])
    from safetensors import SafetensorError  # which transformers brings
    from safetensors.torch import load_file

    folder = fetched(pretrained)
    own = architecture_of(folder, pretrained)
    if own["model_type"] != architecture.get("model_type"):
        what = f"model.weights={pretrained}: are of {own['model_type']}, but model.network.architecture.model_type="
        raise ConfigError(f"{what}{architecture.get('model_type')}; set it to {own['model_type']}, or give other weights")
    place = own.get("backbone_config", own)
    channels = int(str(place.get("num_channels", 3))) if isinstance(place, Mapping) else 3
    config = configuration(own, num_labels, channels)
    try:
        state = {name: tensor for file in sorted(folder.glob(WEIGHTS)) for name, tensor in load_file(file).items()}
        transformer, told = _class_of(config, modules).from_pretrained(
            None, config=config, state_dict=state, ignore_mismatched_sizes=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ConfigError(f"model.weights={pretrained}: cannot be loaded ({' '.join(str(error).split())[:200]})") from None
    if channels != in_channels:
        _take_channels(transformer, channels, in_channels)
    names = set(transformer.state_dict())
    reshaped = {name: (tuple(old), tuple(new)) for name, old, new in told["mismatched_keys"]}
    missing, unused = set(told["missing_keys"]) - reshaped.keys(), set(told["unexpected_keys"])
    loaded = Loaded(folder, names - missing - reshaped.keys(), missing, unused, names, unused | names, reshaped=reshaped)
    licence = f"  licence: {LICENCES[str(own['model_type'])]}; of other weights: their authors'"
    return QueryNetwork(transformer, [loaded.summary().replace(str(folder), pretrained, 1), licence])


def _centers(shapes: list[tuple[int, int]], ratios: Tensor, device: Any) -> Tensor:
    """Mask2Former's reference points (B, cells, levels, 2), where nothing is padded: of each cell its centre, as shares of the image.

    The library's own way makes an exported graph one for images of a single size."""
    levels = []
    for height, width in shapes:
        y, x = ((torch.arange(side, dtype=ratios.dtype, device=device) + 0.5) / side for side in (height, width))
        levels.append(torch.stack([x[None].expand(height, width), y[:, None].expand(height, width)], dim=-1).flatten(0, 1))
    return torch.cat(levels)[None, :, None].expand(ratios.shape[0], -1, len(shapes), 2)


def _class_of(config: Any, modules: Any) -> Any:
    """The library's class of a configuration; EoMT's in a form that takes images of any size."""
    found = getattr(modules, FAMILIES[config.model_type])
    return found if config.model_type == "mask2former" else _any_size(found)


@cache
def _any_size(base: Any) -> Any:
    """EoMT for images of any multiple of its patches, whose position embeddings are interpolated to them as DINOv2 does it, and which
    gives what each of its last layers says."""

    class AnySize(base):
        def __init__(self, config: Any) -> None:
            self.made: list[tuple[Tensor, Tensor]] = []
            super().__init__(config)
            if hasattr(self.embeddings, "position_embeddings"):  # DINOv3's are rotations, for any size
                own: Any = type(self.embeddings)
                self.embeddings.__class__ = _any_size_embeddings(own)

        def forward(self, pixel_values: Tensor, **given: Any) -> Any:
            if not torch.compiler.is_exporting():
                self._note_masking()
            patch = self.config.patch_size
            self.grid_size = (pixel_values.shape[-2] // patch, pixel_values.shape[-1] // patch)
            return super().forward(pixel_values, **given)

        def train(self, mode: bool = True) -> Any:
            self._note_masking()
            return super().train(mode)

        def _note_masking(self) -> None:
            """Have plain numbers, by which a graph may branch, hide the buffer of which layers mask their attention."""
            buffer = self._buffers["attn_mask_probs"]
            self.__dict__["attn_mask_probs"] = [1.0] * len(buffer) if buffer.is_meta else buffer.tolist()

        def predict(self, logits: Tensor) -> Any:
            self.made.append(super().predict(logits))
            return self.made[-1]

    AnySize.__name__ = base.__name__  # which save_pretrained writes down
    return AnySize


@cache
def _any_size_embeddings(base: Any) -> Any:
    class AnySizeEmbeddings(base):
        def forward(self, pixel_values: Tensor) -> Tensor:
            embed = self.patch_embeddings
            patches = embed.projection(pixel_values)
            rows, columns = (whole // one for whole, one in zip(embed.image_size, embed.patch_size, strict=True))
            table = self.position_embeddings.weight.view(1, rows, columns, -1).permute(0, 3, 1, 2)
            placed = (patches + F.interpolate(table, patches.shape[-2:], mode="bicubic")).flatten(2).transpose(1, 2)
            before = [token.expand(placed.shape[0], -1, -1) for token in (self.cls_token, self.register_tokens)]
            return self.dropout(torch.cat([*before, placed], dim=1))

    return AnySizeEmbeddings


def _take_channels(transformer: nn.Module, old: int, new: int) -> None:
    """Adapt the first convolution, and what the library's modules and configuration say of the images' channels."""
    try:
        take_channels(transformer, new, pretrained=True)
    except ValueError as error:
        raise ConfigError(f"model.weights: {error}; data.channels={new} cannot be taken") from None
    parts: list[Any] = [part for part in transformer.modules() if getattr(part, "num_channels", None) == old]
    for part in parts:
        part.num_channels = new
    config: Any = transformer.config
    (getattr(config, "backbone_config", None) or config).num_channels = new
