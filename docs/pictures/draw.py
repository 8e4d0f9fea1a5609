"""Draw the pictures of the page on concepts, beside this file or into a folder that is given."""

import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse, FancyArrowPatch, FancyBboxPatch, Rectangle

from compvae_pyg import Dots, SumControlledNormal
from compvae_pyg.plots.style import BLACK, BLUE, GREEN, ORANGE
from compvae_pyg.problems import COLORS

GREY = "#AAAAAA"
DPI = 160


def draw_model():
    """Above, how parts make a whole; below, how their latents are inferred from it."""
    dots = Dots()
    color = torch.tensor([0, 2, 4])
    pos = torch.tensor([[-0.5, -0.4], [0.5, 0.3], [-0.2, 0.6]])
    batch = torch.zeros(3, dtype=torch.long)
    image = dots.render(color, pos, torch.tensor([7.0, 6.0, 9.0]), batch, 1)[0]
    fills = [list(COLORS.values())[number] for number in color]

    figure = Figure(figsize=(8.4, 6.0), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1), aspect="equal")
    axes.axis("off")
    rows = (5.0, 4.2, 3.4)
    axes.text(0.15, 5.72, "Generation: from parts to a whole", fontsize=10, weight="bold")
    for index, y in enumerate(rows):
        site(axes, 0.95, y, fills[index], pos[index])
        box(axes, 2.9, y, rf"$w_{index + 1}$", GREEN)
        arrow(axes, (1.25, y), (2.5, y), rf"$p(w_{index + 1} \mid \ell_{index + 1})$")
        arrow(axes, (3.3, y), (4.15, 4.2 + 0.14 * (1 - index)))
    box(axes, 4.65, 4.2, r"$\tilde w = \Sigma_i\, w_i$", GREEN, width=0.9)
    box(axes, 5.9, 5.0, r"$z$", BLUE)
    arrow(axes, (4.75, 4.44), (5.5, 4.95), r"$p(z \mid \tilde w)$", shift=(-0.45, 0.12))
    arrow(axes, (5.16, 4.2), (6.65, 4.2), r"$p(x \mid z, \tilde w)$", shift=(0, -0.22))
    arrow(axes, (6.1, 4.77), (6.65, 4.45))
    picture(axes, image, 6.75, 3.55)
    for x, text in (
        (0.95, r"parts $\ell_i$: given"),
        (2.9, "latents of the parts"),
        (4.65, "their sum"),
        (5.9, "latent of the whole"),
        (7.4, r"whole $x$"),
    ):
        axes.text(x, 5.4 if x == 5.9 else 2.9, text, ha="center", fontsize=8.5, color=BLACK)
    axes.axhline(2.68, color=GREY, linewidth=0.8, linestyle=":")

    axes.text(0.15, 2.38, "Inference: from a whole and its parts to latents", fontsize=10)
    axes.texts[-1].set_weight("bold")
    picture(axes, image, 0.3, 0.75)
    box(axes, 2.9, 1.9, r"$z$", BLUE)
    arrow(axes, (1.68, 1.6), (2.5, 1.85), r"$q(z \mid x)$", shift=(-0.05, 0.2))
    for index, y in enumerate((1.9, 1.15, 0.4)):
        site(axes, 4.4, y, fills[index])
        box(axes, 7.4, y, rf"$w_{index + 1}$", GREEN)
        arrow(axes, (4.66, y), (6.98, y))
    # Messages: each part receives the sum of all others.
    for start, end in (((4.25, 1.68), (4.25, 1.37)), ((4.25, 0.93), (4.25, 0.62))):
        two_way(axes, start, end)
    two_way(axes, (4.12, 1.72), (4.12, 0.58), bend=0.55)
    arrow(axes, (3.3, 1.9), (4.12, 1.9))
    arrow(axes, (1.68, 1.15), (3.75, 1.15))
    box(axes, 5.8, 1.15, "graph blocks,\ncoupled Gaussian", BLACK, width=1.35, size=8, height=2.0)
    axes.text(5.8, 2.3, r"$q(w_1, w_2, w_3 \mid x, z, \ell_1, \ell_2, \ell_3)$", ha="center")
    axes.texts[-1].set_fontsize(9)
    for x, text in (
        (0.95, "whole"),
        (4.4, "parts exchange messages"),
        (7.4, "latents of the parts"),
    ):
        axes.text(x, -0.25, text, ha="center", fontsize=8.5, color=BLACK)
    axes.set(xlim=(0, 8.4), ylim=(-0.4, 6.0), aspect="auto")
    return figure


def site(axes, x, y, fill, pos=None):
    """Draw a site, with its position."""
    axes.add_patch(Circle((x, y), 0.18, facecolor=fill, edgecolor=BLACK, linewidth=1))
    if pos is not None:
        text = f"({pos[0]:.1f}, {pos[1]:.1f})"
        axes.text(x - 0.28, y, text, ha="right", va="center", fontsize=7, color=BLACK)


def picture(axes, image, x, y):
    """Draw an image."""
    axes.imshow(image.permute(1, 2, 0), extent=(x, x + 1.3, y, y + 1.3), zorder=2)
    axes.add_patch(Rectangle((x, y), 1.3, 1.3, fill=False, edgecolor=GREY, zorder=3))


def two_way(axes, start, end, bend=0.0):
    """Draw messages in both directions."""
    look = {"arrowstyle": "<|-|>", "mutation_scale": 7, "color": ORANGE, "linewidth": 0.9}
    axes.add_patch(FancyArrowPatch(start, end, connectionstyle=f"arc3,rad={bend}", **look))


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
        axes.set_title(f"{'coupled' if share else 'independent'}, R = {share:g}", fontsize=9)
    panels[0].annotate("$w_1 + w_2 = 0$", (-2.6, 2.6), (-3.2, -3.1), fontsize=7.5, color=ORANGE)
    shares = np.linspace(0.0, 0.99, 40)
    for num_parts, dashes in ((8, "--"), (2, ":")):
        alike = torch.zeros(num_parts, dtype=torch.long)
        each = [float(coupled(r, num_parts, alike).variance[0].sqrt()) for r in shares]
        panels[2].plot(shares, each, dashes, color=BLUE, label=f"one of {num_parts} parts")
    pair = [coupled(r, 2, batch) for r in shares]
    of_sum = [float((w.sum_variance / 2).sqrt()) for w in pair]
    panels[2].plot(shares, of_sum, color=ORANGE, label="their sum, of any number")
    panels[2].set(xlabel="coupling R", ylim=(0, 1.05))
    panels[2].set_title("standard deviation, relative to R = 0", fontsize=9)
    panels[2].legend(fontsize=7.5, frameon=False, loc="lower left")
    panels[2].spines[["top", "right"]].set_visible(False)
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


def box(axes, x, y, text, color, width=0.7, size=10, height=0.4):
    """Draw a rounded box with a label."""
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0.03",
            facecolor="white",
            edgecolor=color,
            linewidth=1.6,
        )
    )
    axes.text(x, y, text, ha="center", va="center", fontsize=size)


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
