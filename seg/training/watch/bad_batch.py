"""The batch at which a training broke off, as files to look at."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from seg.core.outputs import replaced_folder
from seg.data.sample import ClassInfo
from seg.loading.batch import Batch
from seg.models.checkpoint import Checkpoint, save
from seg.pictures.draw import colorize, rgb

WEIGHTS = "weights.ckpt"


def save_bad_batch(
    folder: Path, batch: Batch, keys: Sequence[Sequence[int]], facts: dict[str, Any], classes: Sequence[ClassInfo], weights: Checkpoint
) -> None:
    """Write the folder, which is replaced: batch.json, weights.ckpt, and for each image, padded as the network saw it,

    <n>_image.png (RGB), <n>_labels.png (class indices, 255 = ignore), <n>_colors.png, <n>_image.npy (H, W, C) where it has neither one
    channel nor three, and <n>_instances.npy (H, W, L) int32 where it has instances. keys: (index, seed) of each image.
    """
    if folder.exists():
        shutil.rmtree(folder)
    with replaced_folder(folder, ()) as partial:
        images = batch.images.permute(0, 2, 3, 1).cpu().numpy()
        rows = []
        for n, (image_id, image, labels) in enumerate(zip(batch.image_ids, images, batch.semantic.cpu().numpy(), strict=True)):
            index, seed = keys[n]
            instances = batch.instances[n].cpu().numpy()
            _write(partial / f"{n}_image.png", rgb(image)[..., ::-1])
            _write(partial / f"{n}_labels.png", labels)
            _write(partial / f"{n}_colors.png", colorize(labels, classes)[..., ::-1])
            if image.shape[2] not in (1, 3):
                np.save(partial / f"{n}_image.npy", image)
            if instances.size:
                np.save(partial / f"{n}_instances.npy", instances)
            row = {"n": n, "image": image_id, "index": index, "seed": seed, "size": list(batch.sizes[n])}
            counts = np.bincount(labels.ravel(), minlength=256)
            names = {i: c.name for i, c in enumerate(classes)} | {255: "ignored"}
            row["pixels"] = {names.get(i, str(i)): int(counts[i]) for i in np.flatnonzero(counts).tolist()}
            rows.append(row | {"instances": len(batch.categories[n])})
        (partial / "batch.json").write_text(json.dumps(facts | {"images": rows}, indent=1) + "\n", encoding="utf-8")
        save(partial / WEIGHTS, weights)


def _write(path: Path, picture: np.ndarray) -> None:
    done, data = cv2.imencode(".png", np.ascontiguousarray(picture))
    assert done
    path.write_bytes(data.tobytes())


def cpu_copy(tensor: torch.Tensor, into: torch.Tensor | None = None) -> torch.Tensor:
    """The tensor's values in the host's memory, on CUDA in page-locked memory and without waiting for them; `into` is reused."""
    if into is None:
        into = torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda)
    return into.copy_(tensor.detach(), non_blocking=tensor.is_cuda)
