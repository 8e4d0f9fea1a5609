"""Draw the pictures of the page on concepts, beside this file or into a folder that is given."""

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse, FancyArrowPatch, FancyBboxPatch, Rectangle

from compvae_pyg import Dots, SumControlledNormal
from compvae_pyg.problems import COLORS

GREEN, BLUE, ORANGE, BLACK, GREY = "#009E73", "#0072B2", "#E69F00", "#222222", "#AAAAAA"
DPI = 160


def draw_model():
    """Three sites, their latents, the sum, z and the image."""
    dots = Dots()
    color = torch.tensor([0, 2, 4])
    pos = torch.tensor([[-0.5, -0.4], [0.5, 0.3], [-0.2, 0.6]])
    batch = torch.zeros(3, dtype=torch.long)
    image = dots.render(color, pos, torch.tensor([7.0, 6.0, 9.0]), batch, 1)[0]
    palette = list(COLORS.values())

    figure = Figure(figsize=(8.4, 3.0), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 8.4), ylim=(0, 3.0), aspect="equal")
    axes.axis("off")
    for row, index in enumerate((0, 1, 2)):
        y = 2.6 - 0.9 * row
        x, height = pos[index].tolist()
        site = (0.95, y)
        axes.add_patch(
            Circle(site, 0.2, facecolor=palette[color[index]], edgecolor=BLACK, linewidth=1)
        )
        axes.text(0.95, y - 0.4, f"({x:.1f}, {height:.1f})", ha="center", fontsize=8, color=BLACK)
        box(axes, 2.9, y, rf"$w_{index + 1}$", GREEN)
        arrow(axes, (1.25, y), (2.5, y), rf"$p(w_{index + 1} \mid \ell_{index + 1})$")
        arrow(axes, (3.3, y), (4.15, 1.7 + 0.14 * (1 - row)))
    box(axes, 4.65, 1.7, r"$\tilde w = \Sigma w$", GREEN, width=0.9)
    box(axes, 5.9, 2.6, r"$z$", BLUE)
    arrow(axes, (4.75, 1.94), (5.5, 2.55), r"$p(z \mid \tilde w)$", shift=(-0.45, 0.12))
    arrow(axes, (5.16, 1.7), (6.65, 1.7), r"$p(x \mid z, \tilde w)$", shift=(0, -0.22))
    arrow(axes, (6.1, 2.37), (6.65, 1.95))
    axes.imshow(image.permute(1, 2, 0), extent=(6.75, 8.15, 1.0, 2.4), zorder=2)
    axes.set(xlim=(0, 8.4), ylim=(0, 3.0))
    for x, text in ((0.95, "parts"), (2.9, "latents of parts"), (7.45, "whole")):
        axes.text(x, 0.1, text, ha="center", fontsize=9, color=BLACK)
    return figure


def draw_packing():
    """Four sets of different sizes, padded and packed."""
    sizes, colors = (3, 1, 5, 2), (GREEN, ORANGE, BLUE, "#CC79A7")
    figure = Figure(figsize=(8.4, 2.3), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 18.2), ylim=(0, 4.98), aspect="equal")
    axes.axis("off")
    axes.text(0.6, 4.1, f"padded: {len(sizes) * max(sizes)} rows", fontsize=9)
    axes.text(6.5, 4.1, f"packed: N = {sum(sizes)} rows", fontsize=9)
    x = 6.5
    for row, (size, color) in enumerate(zip(sizes, colors, strict=True)):
        for column in range(max(sizes)):
            filled = (
                {"facecolor": color} if column < size else {"facecolor": "none", "hatch": "////"}
            )
            corner = (0.6 + 0.85 * column, 3.1 - 0.85 * row)
            axes.add_patch(Rectangle(corner, 0.75, 0.75, edgecolor=GREY, linewidth=0.8, **filled))
        for _ in range(size):
            axes.add_patch(Rectangle((x, 2.6), 0.75, 0.75, facecolor=color, edgecolor=GREY))
            axes.text(x + 0.375, 1.9, str(row), ha="center", fontsize=9, color=color)
            x += 0.85
    axes.text(x + 0.15, 2.8, "parts [N, …]", fontsize=8)
    axes.text(x + 0.15, 1.93, "batch [N]", fontsize=8)
    axes.text(6.5, 0.7, "No rows of padding, and no mask.", fontsize=8)
    return figure


def draw_coupling():
    """Samples of two latents, and the spread of the sum as the coupling grows."""
    torch.manual_seed(0)
    figure = Figure(figsize=(8.4, 2.9), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, 3)
    batch = torch.zeros(2, dtype=torch.long)
    for axes, share in zip(panels[:2], (0.0, 0.9), strict=True):
        w = coupled(share, 2, batch).rsample((1500,)).squeeze(-1)
        axes.scatter(*w.T, s=3, color=BLUE, alpha=0.35, linewidths=0)
        for radius in (1.0, 2.0):
            axes.add_patch(
                Ellipse((0, 0), *axes_of(share, radius), angle=-45, fill=False, color=BLACK)
            )
        axes.axline((0, 0), slope=-1, color=ORANGE, linewidth=1)
        axes.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal", xlabel="$w_1$")
        axes.set_ylabel("$w_2$", labelpad=0)
        axes.set_title(f"R = {share:g}", fontsize=9)
    shares = np.linspace(0.0, 0.99, 40)
    for num_parts, color in ((2, BLUE), (8, GREEN)):
        alike = torch.zeros(num_parts, dtype=torch.long)
        distributions = [coupled(share, num_parts, alike) for share in shares]
        panels[2].plot(
            shares,
            [float((w.sum_variance / num_parts).sqrt()) for w in distributions],
            color=color,
            label=f"sum of {num_parts}",
        )
        panels[2].plot(
            shares,
            [float(w.variance[0].sqrt()) for w in distributions],
            color=color,
            linestyle=":",
        )
    panels[2].plot([], [], color=GREY, linestyle=":", label="one part")
    panels[2].set(xlabel="R", ylim=(0, 1.05))
    panels[2].set_title("standard deviation / uncoupled", fontsize=9)
    panels[2].legend(fontsize=7, frameon=False, loc="lower left")
    return figure


def coupled(share, num_parts, batch):
    """Return the coupled Gaussian of unit scales with R = share."""
    ones = torch.ones(num_parts, 1, dtype=torch.float64)
    # softmax over the parts and a null logit 0: R = n exp(l) / (1 + n exp(l))
    logit = np.log(share / (1.0 - share) / num_parts) if share > 0 else -np.inf
    return SumControlledNormal(0 * ones, ones, max(logit, -60.0) * ones, batch)


def axes_of(share, radius):
    """Return the diameters of the ellipse of two parts: of the difference, and of the sum."""
    return 2.0 * radius, 2.0 * radius * (1.0 - share)


def box(axes, x, y, text, color, width=0.7):
    """Draw a rounded box with a label."""
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - 0.2),
            width,
            0.4,
            boxstyle="round,pad=0.03",
            facecolor="white",
            edgecolor=color,
            linewidth=1.6,
        )
    )
    axes.text(x, y, text, ha="center", va="center", fontsize=10)


def arrow(axes, start, end, text="", shift=(0.0, 0.14)):
    """Draw an arrow with a label in its middle."""
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=9, color=BLACK, linewidth=0.9)
    )
    middle = [(a + b) / 2 + c for a, b, c in zip(start, end, shift, strict=True)]
    axes.text(*middle, text, ha="center", va="center", fontsize=8)


PICTURES = {"model": draw_model, "packing": draw_packing, "coupling": draw_coupling}


def main(folder):
    """Draw them all."""
    for name, draw in PICTURES.items():
        draw().savefig(folder / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
