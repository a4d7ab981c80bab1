"""The picture of a receptive field."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from seg.describe.field import ReceptiveField
from seg.pictures.sheets import save_figure


def save_field(path: Path, field: np.ndarray, theoretical: ReceptiveField, side: float) -> None:
    """The effective field (h, w) as a map of colours, from its logarithm, with the theoretical field as a frame; and its middle row.

    side: in pixels, of the effective field.
    """
    size, start = theoretical.size, theoretical.start or 0.0
    height, width = field.shape
    figure = Figure(figsize=(9.5, 4.6))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1))
    logarithm = np.log10(np.maximum(field, 1e-4))
    extent = (-width / 2, width / 2, height / 2, -height / 2)
    shown = left.imshow(logarithm, cmap="viridis", vmin=-4, vmax=0, extent=extent)
    if size:
        left.add_patch(Rectangle((start - size / 2, start - size / 2), size, size, fill=False, edgecolor="#d55e00", linewidth=1.5))
    left.set_xlim(-width / 2, width / 2)
    left.set_ylim(height / 2, -height / 2)
    bar = figure.colorbar(shown, ax=left, shrink=0.8, ticks=[-4, -3, -2, -1, 0])
    bar.ax.set_yticklabels(["< 0.0001", "0.001", "0.01", "0.1", "1"])
    told = f"{size} pixels (frame)" if size else "the whole image"
    left.set_title(f"what one output pixel sees: {told}\neffective: as large as a square of {side:.0f} pixels", fontsize=9)
    left.set_xlabel("pixels of the network's input, from its middle")
    row = field.max(axis=0)
    right.semilogy(np.arange(width) - width / 2, np.maximum(row, 1e-6), color="#0072b2", linewidth=1)
    if size and size < width:
        for x in (start - size / 2, start + size / 2):
            right.axvline(x, color="#d55e00", linewidth=1.5)
    right.set_title("largest influence in each column of pixels", fontsize=9)
    right.set_xlabel("pixels of the network's input, from its middle")
    right.set_ylabel("size of the derivative, of its largest")
    right.grid(alpha=0.3)
    figure.tight_layout()
    save_figure(figure, path)
