"""Weights to start from: a local file's, for a whole network or for its encoder."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seg.errors import ConfigError


def load_local(network: nn.Module, path: Path) -> str:
    """Copy every tensor of the file that fits by name and shape; returns a line that says how many did.

    The file holds a state dict, or one of our checkpoints, of the network or of its encoder (or backbone). ConfigError
    where nothing fits.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ConfigError(f"model.weights={path}: cannot be read ({error.strerror})") from None
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"model.weights={path}: expected a file of tensors alone, as torch.save writes a state dict ({reason})") from None
    state = {name.removeprefix("network."): t for name, t in _tensors(content).items()}
    best: tuple[str, dict[str, Tensor]] = ("network", {})
    for part in ("", "encoder", "backbone"):
        module = getattr(network, part, None) if part else network
        if isinstance(module, nn.Module):
            own = module.state_dict()
            fitting = {n: t for n, t in state.items() if n in own and own[n].shape == t.shape}
            if len(fitting) > len(best[1]):
                best = (part or "network", fitting)
    part, fitting = best
    if not fitting:
        raise ConfigError(f"model.weights={path}: no tensor of it fits the network by name and shape; is it for another model?")
    module = network if part == "network" else getattr(network, part)
    module.load_state_dict(fitting, strict=False)
    return f"weights: {len(fitting)} of the {len(module.state_dict())} tensors of the {part} from {path}"


def _tensors(content: Any) -> dict[str, Tensor]:
    if isinstance(content, dict):
        for key in ("state_dict", "model", "model_state_dict"):
            if isinstance(content.get(key), dict):
                content = content[key]
        return {str(n): t for n, t in content.items() if isinstance(t, Tensor)}
    return {}
