"""Canvases of digits that are edited and drawn (extra ``plots``)."""

from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from compvae_pyg.models import Composition, CompVAE
from compvae_pyg.plots import Operation, plot_operations
from compvae_pyg.problems.digits.problem import Digits
from compvae_pyg.problems.repeatable import isolated

__all__ = ["plot_compositions"]


def plot_compositions(model: CompVAE, problem: Digits, seed: int) -> Figure:
    """Draw an observed canvas that is edited part by part, and new ones.

    Example:
        >>> digits = Digits()
        >>> type(plot_compositions(digits.build("small"), digits, seed=0)).__name__
        'Figure'
    """
    source = torch.Generator().manual_seed(seed)

    def parts(*digits: tuple[int, float, float]) -> dict[str, Tensor]:
        category, x, y = zip(*digits, strict=True)
        fields = {"category": torch.tensor(category), "pos": torch.tensor([x, y]).T}
        return {name: value.to(device) for name, value in fields.items()}

    def render(fields: Any, ink: Tensor) -> Tensor:
        category, pos = (fields[name].cpu() for name in problem.part_fields)
        return problem.render(category, pos, ink, torch.zeros_like(category), 1)

    def operation(title: str, composition: Composition, ink: Tensor) -> Operation:
        truth = render(composition.parts.fields, ink)
        return Operation(title, truth[0], composition.decode().mean[0].cpu())

    with isolated(model, seed) as device:
        three = parts((2, -0.5, -0.5), (5, 0.1, 0.0), (8, 0.5, 0.55))
        seven, six = parts((7, 0.55, -0.5)), parts((6, 0.1, 0.0))
        two, five, eight, of_seven, of_six = problem.ink(
            torch.tensor([2, 5, 8, 7, 6]), source
        ).split(1)
        ink = torch.cat([two, five, eight])
        seen = model.infer(render(three, ink).to(device), three)
        operations = [
            operation("2, 5, 8 observed", seen, ink),
            operation("2 removed", seen.remove(0), ink[1:]),
            operation("7 added", seen.add(seven), torch.cat([ink, of_seven])),
            operation("6 for 5", seen.replace(1, six), torch.cat([two, of_six, eight])),
        ]
        drawn = problem.sample(torch.tensor([6]), source).to(device)
        complete = model.compose(problem.parts(drawn))
        growing = [complete.remove(list(range(k, 6))).decode().mean for k in range(1, 7)]
        series = {
            "2, 5, 8 drawn": torch.cat([model.generate(three) for _ in range(6)]).cpu(),
            "one by one": torch.cat(growing).cpu(),
        }
    return plot_operations(operations, series)
