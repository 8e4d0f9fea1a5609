"""Terms of the evidence lower bound by the number of parts, for any problem."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch_geometric.data import Batch

from compvae_pyg.evaluation.estimate import Estimate
from compvae_pyg.evaluation.measuring import measure_wholes
from compvae_pyg.models import CompVAE
from compvae_pyg.problems import Problem

__all__ = ["ElboRow", "elbo_estimates", "elbo_values", "evaluate_elbo", "mean_square"]

NATS_TO_BITS = 1.0 / math.log(2.0)


@dataclass(frozen=True)
class ElboRow:
    r"""The bound on wholes of one number of parts, per whole, in nats.

    Attributes:
        num_parts: Number :math:`K` of parts of each whole.
        num_wholes: Number of wholes that the estimates come from.
        log_likelihood: :math:`\log p(x \mid z, \tilde w)` at latents drawn from the posterior.
        kl_w: Divergence of the parts' latents.
        kl_z: Divergence of the whole's latent.
        elbo: The bound, ``log_likelihood - kl_w - kl_z``.
        reconstruction_rmse: Root mean squared difference of a whole to the mean of
            :math:`p(x \mid z, \tilde w)`, at the same latents.
    """

    num_parts: int
    num_wholes: int
    log_likelihood: Estimate
    kl_w: Estimate
    kl_z: Estimate
    elbo: Estimate
    reconstruction_rmse: Estimate

    @property
    def kl_w_bits(self) -> Estimate:
        """Information in the latents of the parts, in bits."""
        return self.kl_w.scaled(NATS_TO_BITS)

    @property
    def kl_z_bits(self) -> Estimate:
        """Information in the latent of the whole, in bits."""
        return self.kl_z.scaled(NATS_TO_BITS)

    def cells(self) -> dict[str, str]:
        """Return what :func:`~compvae_pyg.evaluation.format_table` shows, by column."""
        return {
            "K": str(self.num_parts),
            "rec. rmse": f"{self.reconstruction_rmse.mean:.3f}",
            "log-lik.": f"{self.log_likelihood.mean:.0f}",
            "KL_w (bits)": f"{_tenths(self.kl_w)} ({_tenths(self.kl_w_bits)})",
            "KL_z (bits)": f"{_tenths(self.kl_z)} ({_tenths(self.kl_z_bits)})",
            "ELBO": f"{self.elbo.mean:.0f}",
        }


def mean_square(difference: Tensor) -> Tensor:
    """Return the mean square of each whole's values, ``[S, *event]`` to ``[S]``.

    Example:
        >>> import torch
        >>> mean_square(torch.tensor([[3.0, 3.0], [0.0, 2.0]]))
        tensor([9., 2.])
    """
    return difference.square().flatten(1).mean(dim=1)


def elbo_values(model: CompVAE, problem: Problem, data: Batch) -> dict[str, Tensor]:
    """Return what :class:`ElboRow` estimates for each whole of a batch, ``[S]`` each.

    The last, ``reconstruction``, is the mean *square* of the reconstruction's error.
    """
    terms = model.elbo(data.whole, problem.parts(data), data.batch, data.num_graphs)
    return {
        "log_likelihood": terms.log_likelihood,
        "kl_w": terms.kl_w,
        "kl_z": terms.kl_z,
        "elbo": terms.elbo,
        "reconstruction": mean_square(terms.likelihood.mean - data.whole),
    }


def elbo_estimates(values: Mapping[str, Tensor]) -> dict[str, Estimate]:
    """Return the fields of :class:`ElboRow` that :func:`elbo_values` of all wholes give."""
    estimates = {
        name: Estimate.of(values[name]) for name in ("log_likelihood", "kl_w", "kl_z", "elbo")
    }
    return {**estimates, "reconstruction_rmse": Estimate.root_mean(values["reconstruction"])}


def evaluate_elbo(
    model: CompVAE,
    problem: Problem,
    *,
    num_parts: Sequence[int] = (1, 2, 4, 8, 12, 16),
    num_wholes: int = 1000,
    seed: int = 0,
    batch_size: int = 250,
) -> list[ElboRow]:
    r"""Estimate the terms of the bound for wholes of each number of parts.

    The result depends on the arguments alone: wholes and latents are drawn from ``seed``, a row
    does not depend on the other rows, and the global random number generators stay as they are.

    Args:
        model: The model, on the device that is to be used.
        problem: Source of the wholes.
        num_parts: Numbers :math:`K` of parts, one row each.
        num_wholes: Number of wholes for each :math:`K`.
        seed: Seed of the wholes and of the latents.
        batch_size: Number of wholes at a time; bounds the memory.

    Returns:
        One row for each :math:`K`.

    Raises:
        ValueError: If a number of parts, ``num_wholes`` or ``batch_size`` is not positive.

    Example:
        >>> from compvae_pyg.problems import Dots
        >>> dots = Dots()
        >>> row, = evaluate_elbo(dots.build("small"), dots, num_parts=[3], num_wholes=8)
        >>> row.kl_w.mean > 0.0
        True
    """
    measured = measure_wholes(
        model,
        problem,
        lambda data, _: elbo_values(model, problem, data),
        num_parts=num_parts,
        num_wholes=num_wholes,
        seed=seed,
        batch_size=batch_size,
    )
    return [
        ElboRow(num_parts=size, num_wholes=num_wholes, **elbo_estimates(values))
        for size, values in measured
    ]


def _tenths(estimate: Estimate) -> str:
    # The sum turns a negative zero into a positive one.
    return f"{round(estimate.mean, 1) + 0.0:.1f}"
