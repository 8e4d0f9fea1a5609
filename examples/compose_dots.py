"""Edit an observed image part by part.

A trained model is given an image and its coloured sites. It infers a latent for each; then sites
are removed, added, exchanged and interpolated, while the others keep their latents. How well that
works is measured on many images, beside the ground truth.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from compvae_pyg.command_line import one_line_errors

RED, GREEN, BLUE, BLACK, WHITE = range(5)


@dataclass(kw_only=True)
class Options:
    model: str = "dots-small"
    """A folder with a model, or the name of a shipped one."""

    output: Path = Path("outputs/compose-dots")
    """Folder for the figures and the numbers."""

    seed: int = 0
    """Seed of what is drawn."""

    num_wholes: int = 500
    """Number of images that each row of the table comes from."""


def main(options: Options) -> None:
    # Imported here, so that --help answers at once.
    import torch

    from compvae_pyg import CompVAE, Dots
    from compvae_pyg.evaluation import (
        evaluate_removal,
        format_legend,
        format_table,
        write_evaluation,
    )
    from compvae_pyg.models import attribute
    from compvae_pyg.plots import Operation, plot_attribution, plot_operations
    from compvae_pyg.problems import COLORS

    palette = torch.tensor(list(COLORS.values()))
    torch.manual_seed(options.seed)
    torch.set_grad_enabled(False)
    model, dots = CompVAE.from_pretrained(options.model), Dots()

    def render(sites, intensity):
        """Draw the true image of sites of these intensities."""
        batch = torch.zeros(len(intensity), dtype=torch.long)
        return dots.render(**sites, intensity=intensity, batch=batch, batch_size=1)

    def operation(title, composition, intensity):
        """Pair the mean image of a composition with the true image of its sites."""
        sites = composition.parts.fields
        truth, image = render(sites, intensity)[0], composition.decode().mean[0]
        return Operation(title, truth, image, sites["pos"], palette[sites["color"]])

    # An image is observed, and its sites are given; their intensities are not.
    sites = {
        "color": torch.tensor([RED, GREEN, BLUE, WHITE]),
        "pos": torch.tensor([[0.5, -0.45], [-0.5, -0.6], [-0.45, 0.5], [0.55, 0.6]]),
    }
    intensity = torch.tensor([6.0, 8.0, 9.0, 7.0])
    image = render(sites, intensity)
    seen = model.infer(image, sites)

    # Remove a site, and add another.
    without_red = seen.remove(RED)
    # What the red site hid was never observed: infer the latents of the others once more.
    settled = model.infer(without_red.decode().mean, without_red.parts)
    black = {"color": torch.tensor([BLACK]), "pos": torch.tensor([[0.05, 0.0]])}
    with_black = seen.add(black)

    # Sites that change place keep the noise of their latents.
    exchanged = {"color": sites["color"][[1, 2]], "pos": sites["pos"][[2, 1]]}
    swapped = seen.replace([1, 2], exchanged, keep_noise=True)
    below = {"color": torch.tensor([RED]), "pos": torch.tensor([[0.0, 0.85]])}
    moved = seen.replace(RED, below, keep_noise=True)
    fading = [seen.with_latents(w=seen.w.lerp(moved.w, share)) for share in torch.linspace(0, 1, 7)]

    # Add the sites of another image; united - other is seen again.
    others = {"color": torch.tensor([BLACK, GREEN]), "pos": torch.tensor([[-0.1, 0.0], [0.9, 0.1]])}
    other_intensity = torch.tensor([6.0, 9.0])
    other = model.infer(render(others, other_intensity), others)
    united = seen + other

    one = torch.tensor([7.5])
    operations = [
        operation(*shown)
        for shown in (
            ("observed", seen, intensity),
            ("red removed", without_red, intensity[1:]),
            ("settled", settled, intensity[1:]),
            ("black added", with_black, torch.cat([intensity, one])),
            ("exchanged", swapped, intensity),
            ("red moved", moved, intensity),
            ("united", united, torch.cat([intensity, other_intensity])),
        )
    ]
    series = {"red moves": torch.cat([one.decode().mean for one in fading])}
    options.output.mkdir(parents=True, exist_ok=True)
    plot_operations(operations, series).savefig(options.output / "operations.png")

    # How much of the information about an image each of its sites carries.
    data = dots.sample(torch.tensor([1, 3, 5, 7]), torch.Generator().manual_seed(options.seed))
    shares = attribute(model, data.whole, dots.parts(data), data.batch, data.num_graphs)
    names = [list(COLORS)[color] for color in data.color]
    plot_attribution(data.whole, shares, names, colors=palette[data.color], pos=data.pos).savefig(
        options.output / "attribution.png"
    )

    # Of many images: do the sites that stay show their colour where they are?
    rows = evaluate_removal(model, dots, num_wholes=options.num_wholes, seed=options.seed)
    write_evaluation(options.output / "removal.json", rows, seed=options.seed)
    print(format_table(rows), format_legend(rows), sep="\n\n")
    print(f"\nIn {options.output}: operations.png, attribution.png, removal.json")


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Options, description=__doc__))
