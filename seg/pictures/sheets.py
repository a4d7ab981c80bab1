"""Pictures for people, as PNG files: the augmentation preview, and one evaluated image beside its truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke

from seg.core.outputs import whole_file
from seg.data.sample import IGNORE, ClassInfo, Sample
from seg.pictures.draw import IGNORED_GRAY, INSTANCE_COLORS, error_map, heat_map, outlined_at, overlay, rgb


def save_preview(path: Path, rows: Sequence[Sequence[Sample]], classes: Sequence[ClassInfo]) -> None:
    """A row an image: first the sample as stored, then as drawn; instances outlined where there are any, else classes overlaid."""
    columns = max(len(row) for row in rows)
    heights = [max(sample.size[0] / sample.size[1] for sample in row) for row in rows]  # in widths of a picture
    cell = 2.0
    with_instances = any(len(sample.categories) for row in rows for sample in row)
    figure = Figure(figsize=(cell * columns, cell * sum(heights) + 0.9))
    axes = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for axis in axes.flat:
        axis.set_axis_off()
    for line, row in enumerate(rows):
        for column, sample in enumerate(row):
            picture = outlined_at(sample, STORED_SIDE) if with_instances else overlay(sample.image, sample.semantic, classes)
            axes[line, column].imshow(picture)
            if line == 0:
                axes[line, column].set_title("as stored" if column == 0 else f"draw {column}", fontsize=9)
        first = axes[line, 0]
        first.text(-0.04, 0.5, row[0].image_id[-24:], rotation=90, ha="right", va="center", fontsize=7, transform=first.transAxes)
    title = "Augmentation: what training draws from these images"
    if with_instances:
        own, gray = (f"#{bytes(color).hex()}" for color in (INSTANCE_COLORS[0], [IGNORED_GRAY] * 3))
        handles = [
            Patch(facecolor="none", edgecolor=own, linewidth=2, label="an object; each has a colour of its own"),
            Patch(facecolor="none", edgecolor=gray, hatch="////", label="ignored: a crowd, or an object of which little is left"),
        ]
        _finish(figure, path, handles, title)
    else:
        _finish(figure, path, _legend(classes), f"{title}. Without colour: ignored")


COLUMNS = 4  # panels side by side
STORED_SIDE = 240  # pixels at which the preview shows an image, about


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture (H, W, 3) uint8 with its name, and (x, y, text) labels in its pixels."""

    name: str
    picture: np.ndarray
    texts: Sequence[tuple[float, float, str]] = ()


def semantic_panels(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray, classes: Sequence[ClassInfo]) -> list[Panel]:
    """Image, true and predicted classes, and where they differ."""
    wrong = "errors (red); ignored (white)" if (truth == IGNORE).any() else "errors (red)"
    return [
        Panel("image", rgb(image)),
        Panel("truth", overlay(image, truth, classes, 0.6)),
        Panel("prediction", overlay(image, predicted, classes, 0.6)),
        Panel(wrong, error_map(image, truth, predicted)),
    ]


def attention_panels(image: np.ndarray, maps: Mapping[str, np.ndarray]) -> list[Panel]:
    """Over the image, where the network looks: maps (H, W) by name, each with its own range of colours."""
    return [
        Panel(f"attention at {name}: {values.min():.2f} (dark) to {values.max():.2f} (bright)", heat_map(image, values))
        for name, values in maps.items()
    ]


def save_panels(path: Path, title: str, panels: Sequence[Panel], classes: Sequence[ClassInfo]) -> None:
    """Panels of one image side by side, in rows of four, with a legend of the classes."""
    height, width = panels[0].picture.shape[:2]
    columns, rows = min(COLUMNS, len(panels)), -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(3.4 * columns, 3.4 * rows * height / width + 0.8 + 0.3 * rows))
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, panel in zip(axes.flat, panels, strict=False):
        axis.imshow(panel.picture)
        axis.set_title(panel.name, fontsize=10 if len(panel.name) < 30 else 7.5)
        axis.set_axis_off()
        for x, y, text in panel.texts:
            label = axis.text(x, y, text, fontsize=6, color="white", ha="center", va="center", clip_on=True)
            label.set_path_effects([Stroke(linewidth=1.5, foreground="black"), Normal()])
    _finish(figure, path, _legend(classes), title)


def _legend(classes: Sequence[ClassInfo]) -> list[Patch]:
    return [Patch(facecolor=f"#{bytes(c.color).hex()}", edgecolor="0.4", label=c.name) for c in classes]


def _finish(figure: Figure, path: Path, handles: Sequence[Patch], title: str) -> None:
    figure.suptitle(title, fontsize=11)
    figure.legend(handles=handles, loc="lower center", ncols=min(8, len(handles)), fontsize=8, frameon=False)
    rows = -(-len(handles) // 8)
    inches = figure.get_size_inches()[1]
    figure.tight_layout(rect=(0, 0.26 * rows / inches, 1, 1))
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, whole or not at all; it does not name matplotlib's version, so the same picture has the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, sync=False) as file:
        figure.savefig(file, format="png", dpi=110, metadata={"Software": None}, pil_kwargs={"compress_level": 4})
