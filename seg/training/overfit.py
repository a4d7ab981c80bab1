"""Can this network, with this loss and these data, learn anything? A few batches, learned by heart."""

from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from seg.core.errors import ConfigError
from seg.data.sample import Sample
from seg.loading.dataset import RankPlacement, SampleDataset, Size
from seg.training.loading.datamodule import SegmentationData
from seg.training.settings import TrainingSettings


class FewImages(SegmentationData):
    """The first images that training would draw, as they are stored: the same ones in each epoch, and in validation."""

    def __init__(self, *arguments: Any, batches: int, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.augmented_train, self.policy, self.batches = None, None, batches

    def num_training_images(self) -> int:
        return len(self.few())

    def few(self) -> SampleDataset:
        """The images; all of a training split that has no more."""
        dataset = self.split_dataset("train")
        order = np.random.default_rng([self.seed, 0]).permutation(len(dataset))
        _, world_size = self._rank()
        dataset.rows = [dataset.rows[i] for i in sorted(order[: self.batches * self.batch_size * world_size].tolist())]
        return dataset

    def image_sizes(self) -> tuple[list[Size], list[Size]]:
        sizes = list(dict.fromkeys((entry.height, entry.width) for _, entry in self.few().rows))
        return sizes, sizes

    def train_dataloader(self) -> DataLoader[Sample]:
        dataset = self.few()
        return self._loader(dataset, self.training_batches(len(dataset), *self._rank()), self.image_sizes()[0])

    def val_dataloader(self) -> DataLoader[Sample]:
        return self.stored(self.few(), RankPlacement.of(self.trainer))


def refuse_pipeline(cfg: TrainingSettings, out: Path) -> None:
    """Raise ConfigError where the pipeline would take what a few images taught for a trained model."""
    if cfg.trainer.overfit and out.resolve() == Path(cfg.paths.train).resolve():
        problem = f"trainer={cfg.trainer.name}: learns a few images by heart and leaves no model, so it is no stage of the pipeline; run"
        raise ConfigError(f"{problem} `seg train trainer=overfit` by hand, and give the pipeline another trainer")


def verdict(rows: list[dict[str, float]], monitor: str, enough: float, images: int) -> dict[str, Any]:
    """Of the epochs' figures: what was reached, whether that is enough, and in words what it means."""
    first, last = rows[0]["train_loss"], rows[-1]["train_loss"]
    reached = [row[f"val_{monitor}"] for row in rows if f"val_{monitor}" in row][-1]
    share = last / first if first else float("nan")
    learned = reached >= enough
    said = f"{images} images, {len(rows)} epochs: the loss fell to {share:.1%} of its start ({first:.4g} -> {last:.4g})"
    if not share < 1:
        said = f"{images} images, {len(rows)} epochs: the loss did not fall ({first:.4g} -> {last:.4g})"
    said += f", and {monitor} on these images is {reached:.3f}; "
    said += "this network, loss and data can learn" if learned else f"warning: less than {enough:g}: {_causes(share)}"
    found: dict[str, Any] = {"images": images, "epochs": len(rows), "first_loss": first, "last_loss": last}
    return found | {monitor: reached, "learned": learned, "said": said}


def _causes(share: float) -> str:
    """What mostly lies behind a network that does not learn a few images by heart, the likeliest first."""
    labels = "labels that do not fit their images (data/augmented/preview.png, `seg doctor`)"
    if not share < 0.9:
        rate = "optimizer.lr far too high or too low (auto: the plan chooses it)"
        other = "a frozen network (finetune); a loss whose class_weights leave the classes out"
        return f"nothing was learned. Likely causes: {rate}; {labels}; {other}"
    if share > 0.3:
        causes = "too few epochs (trainer.max_epochs) or a low optimizer.lr; strong weight_decay or dropout; a frozen encoder (finetune)"
        return f"it learns, but not by heart. Likely causes: {causes}; {labels}"
    return (
        "the loss falls, the figure does not follow. Likely causes: batch norms whose running statistics lag behind (more epochs, or a "
        "larger trainer.batch_size); objects smaller than the network resolves (model.scale, its stride); a loss that gives rare classes "
        f"no weight (class_weights, loss=ce_dice); {labels}"
    )
