"""Edit an observed curve part by part.

A trained model is given curves and the frequencies of their waves. It infers a latent for each
wave, which holds its amplitude and its phase; then waves are removed, added, exchanged between
curves and interpolated, while the others keep their latents. How well that works is measured on
many curves, beside the ground truth.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from compvae_pyg.command_line import one_line_errors


@dataclass(kw_only=True)
class Options:
    model: str = "sines-small"
    """A folder with a model, or the name of a shipped one."""

    output: Path = Path("outputs/compose-sines")
    """Folder for the figures and the numbers."""

    seed: int = 0
    """Seed of what is drawn."""

    num_wholes: int = 500
    """Number of curves that each row of the table comes from."""


def main(options: Options) -> None:
    # Imported here, so that --help answers at once.
    import torch

    from compvae_pyg import CompVAE, Sines
    from compvae_pyg.evaluation import (
        evaluate_removal,
        format_legend,
        format_table,
        write_evaluation,
    )
    from compvae_pyg.models import attribute
    from compvae_pyg.plots import Operation, plot_attribution, plot_operations

    torch.manual_seed(options.seed)
    torch.set_grad_enabled(False)
    model, sines = CompVAE.from_pretrained(options.model), Sines()

    # Two curves are observed, and their categories given; amplitudes and phases are not.
    category = torch.tensor([0, 2, 5, 1, 3, 7])
    batch = torch.tensor([0, 0, 0, 1, 1, 1])
    amplitude, phase = sines.features(6, torch.Generator().manual_seed(options.seed))
    curves = sines.render(category, amplitude, phase, batch, 2)
    seen = model.infer(curves, {"category": category}, batch)
    first, second = seen.select(0), seen.select(1)

    # The true curve of some of the six waves.
    def true_curve(waves):
        chosen = torch.tensor(waves)
        alone = torch.zeros(len(waves), dtype=torch.long)
        return sines.render(category[chosen], amplitude[chosen], phase[chosen], alone, 1)[0]

    def operation(title, composition, waves):
        return Operation(title, true_curve(waves), composition.decode().mean[0])

    # Remove a wave, add one of the second curve, and exchange the first waves of both.
    of_first, of_second = {"category": category[:1]}, {"category": category[3:4]}
    operations = [
        operation("first, observed", first, [0, 1, 2]),
        operation(r"$\ell=3$ removed", first.remove(1), [0, 2]),
        operation(r"$\ell=2$ added", first.add(of_second, w=second.w[:1]), [0, 1, 2, 3]),
        operation("second, observed", second, [3, 4, 5]),
        operation("first, exchanged", first.replace(0, of_second, w=second.w[:1]), [3, 1, 2]),
        operation("second, exchanged", second.replace(0, of_first, w=first.w[:1]), [0, 4, 5]),
        operation("united", first + second, [0, 1, 2, 3, 4, 5]),
    ]

    # Interpolate from a wave to another of its category, with its own amplitude and phase.
    drawn = first.replace(1, {"category": category[1:2]})
    shares = torch.linspace(0, 1, len(operations))
    fading = [first.with_latents(w=first.w.lerp(drawn.w, share)) for share in shares]
    series = {r"$\ell=3$ fades over": torch.cat([step.decode().mean for step in fading])}
    options.output.mkdir(parents=True, exist_ok=True)
    plot_operations(operations, series).savefig(options.output / "operations.png")

    # How much of the information about a curve each of its waves carries.
    data = sines.sample(torch.tensor([1, 2, 4, 6]), torch.Generator().manual_seed(options.seed))
    shares = attribute(model, data.whole, sines.parts(data), data.batch, data.num_graphs)
    names = [rf"$\ell={number + 1}$" for number in data.category]
    plot_attribution(data.whole, shares, names).savefig(options.output / "attribution.png")

    # Of many curves: are the waves that stay unchanged?
    rows = evaluate_removal(model, sines, num_wholes=options.num_wholes, seed=options.seed)
    write_evaluation(options.output / "removal.json", rows, seed=options.seed)
    print(format_table(rows), format_legend(rows), sep="\n\n")
    print(f"\nIn {options.output}: operations.png, attribution.png, removal.json")


if __name__ == "__main__":
    with one_line_errors():
        main(tyro.cli(Options, description=__doc__))
