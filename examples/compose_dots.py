"""Take an observed image apart, and put it together otherwise.

A trained model is shown an image and told where its coloured sites are. It finds a latent for each,
and then sites go, come, change places and fade over, while what is not touched stays as it was
seen. How well that works is measured on many images, beside the ground truth.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from compvae_pyg import CompVAE, Dots
from compvae_pyg.evaluation import evaluate_removal, format_table, write_evaluation
from compvae_pyg.plots import Operation, plot_attribution, plot_operations
from compvae_pyg.problems import COLORS

RED, GREEN, BLUE, BLACK, WHITE = range(5)
PALETTE = torch.tensor(list(COLORS.values()))


@dataclass(kw_only=True)
class Options:
    model: str = "dots-small"
    """A folder with a model, or the name of one that the package ships."""

    output: Path = Path("outputs/compose-dots")
    """Folder for the figures and the numbers."""

    seed: int = 0
    """Seed of what is drawn."""

    num_wholes: int = 500
    """Number of images that each row of the table comes from."""


@torch.no_grad()
def main(options: Options) -> None:
    torch.manual_seed(options.seed)
    model, dots = CompVAE.from_pretrained(options.model), Dots()

    # An image is observed. Its sites are told, their intensities are not.
    sites = {
        "color": torch.tensor([RED, GREEN, BLUE, WHITE]),
        "pos": torch.tensor([[0.5, -0.45], [-0.5, -0.6], [-0.45, 0.5], [0.55, 0.6]]),
    }
    intensity = torch.tensor([6.0, 8.0, 9.0, 7.0])
    image = render(dots, sites, intensity)
    seen = model.infer(image, sites)

    # A site goes, and another comes.
    without_red = seen.remove(RED)
    # What the red site hid was never seen: the others settle when they are inferred once more.
    settled = model.infer(without_red.decode().mean, without_red.parts)
    black = {"color": torch.tensor([BLACK]), "pos": torch.tensor([[0.05, 0.0]])}
    with_black = seen.add(black)

    # Some change place and are otherwise what they were: they keep the noise of their latents.
    exchanged = {"color": sites["color"][[1, 2]], "pos": sites["pos"][[2, 1]]}
    swapped = seen.replace([1, 2], exchanged, keep_noise=True)
    below = {"color": torch.tensor([RED]), "pos": torch.tensor([[0.0, 0.85]])}
    moved = seen.replace(RED, below, keep_noise=True)
    fading = [seen.with_latents(w=seen.w.lerp(moved.w, share)) for share in torch.linspace(0, 1, 7)]

    # The sites of another image join, and could go again: united - other is what was seen.
    others = {"color": torch.tensor([BLACK, GREEN]), "pos": torch.tensor([[-0.1, 0.0], [0.9, 0.1]])}
    other_intensity = torch.tensor([6.0, 9.0])
    other = model.infer(render(dots, others, other_intensity), others)
    united = seen + other

    one = torch.tensor([7.5])
    operations = [
        operation("observed", seen, image),
        operation("red removed", without_red, render(dots, without_red.parts, intensity[1:])),
        operation("settled", settled, render(dots, without_red.parts, intensity[1:])),
        operation(
            "black added", with_black, render(dots, with_black.parts, torch.cat([intensity, one]))
        ),
        operation("exchanged", swapped, render(dots, swapped.parts, intensity)),
        operation("red moved", moved, render(dots, moved.parts, intensity)),
        operation(
            "united", united, render(dots, united.parts, torch.cat([intensity, other_intensity]))
        ),
    ]
    series = {"red moves": torch.cat([one.decode().mean for one in fading])}
    options.output.mkdir(parents=True, exist_ok=True)
    plot_operations(operations, series).savefig(options.output / "operations.png")

    # How much of the information about an image each of its sites carries.
    data = dots.sample(torch.tensor([1, 3, 5, 7]), torch.Generator().manual_seed(options.seed))
    shares = model.attribute(data.whole, dots.parts(data), data.batch, data.num_graphs)
    names = [list(COLORS)[color] for color in data.color]
    plot_attribution(data.whole, shares, names, colors=PALETTE[data.color], pos=data.pos).savefig(
        options.output / "attribution.png"
    )

    # Many images: do the sites that stay show their colour where they are?
    rows = evaluate_removal(model, dots, num_wholes=options.num_wholes, seed=options.seed)
    write_evaluation(options.output / "removal.json", rows, seed=options.seed)
    print(format_table(rows))
    print(f"\nIn {options.output}: operations.png, attribution.png, removal.json")


def render(dots, sites, intensity):
    """Draw the true image of sites of these intensities."""
    batch = torch.zeros(len(intensity), dtype=torch.long)
    return dots.render(**sites, intensity=intensity, batch=batch, batch_size=1)


def operation(title, composition, truth):
    """Pair what a composition decodes to with the truth."""
    parts = composition.parts
    return Operation(
        title, truth[0], composition.decode().mean[0], parts["pos"], PALETTE[parts["color"]]
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
