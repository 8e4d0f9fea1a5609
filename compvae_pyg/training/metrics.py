"""Averages over the wholes seen since they were last read."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from compvae_pyg.models import Elbo
from compvae_pyg.training.objective import squared_error

__all__ = ["RunningMetrics"]


class RunningMetrics:
    """Accumulates the terms of the bound on the device, without waiting for it.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> likelihood = Independent(Normal(torch.zeros(2, 3), torch.ones(2, 3)), 1)
        >>> whole, one = torch.full((2, 3), 2.0), torch.ones(2)
        >>> metrics = RunningMetrics()
        >>> metrics.add(Elbo(-4 * one, 2 * one, 1 * one, likelihood), whole)
        >>> values = metrics.read()
        >>> values["elbo_nats"], values["rmse"]
        (-7.0, 2.0)
    """

    def __init__(self) -> None:
        self.sums = torch.zeros(5)
        """Wholes, and the sums over them of kl_w, kl_z, log likelihood and mean squared error."""

    @torch.no_grad()
    def add(self, terms: Elbo, whole: Tensor, skip: Tensor | None = None) -> None:
        """Add the wholes of a batch.

        Args:
            terms: Terms of the bound at these wholes.
            whole: Wholes, ``[S, *event]``.
            skip: Leaves the batch out where true; a boolean on the device.
        """
        values = [
            torch.ones_like(terms.kl_w),
            terms.kl_w,
            terms.kl_z,
            terms.log_likelihood,
            squared_error(terms, whole) / math.prod(whole.shape[1:]),
        ]
        sums = torch.stack(values).sum(dim=1)
        self.sums = self.sums + (sums if skip is None else torch.where(skip, 0.0, sums))

    def read(self, reduce: Callable[[Tensor], Tensor] | None = None) -> dict[str, float]:
        r"""Return the averages and start over. Waits for the device.

        Divergences, reconstruction :math:`-\log p(x \mid z, \tilde w)` and bound come in nats and
        in bits; ``rmse`` is the root of the mean squared error of the likelihood's mean. All are
        NaN if there was no whole.

        Args:
            reduce: Sums a tensor over all ranks; by default there is one.
        """
        sums = self.sums if reduce is None else reduce(self.sums)
        self.sums = torch.zeros_like(self.sums)
        count, *totals = sums.tolist()
        kl_w, kl_z, log_likelihood, mse = (total / count if count else math.nan for total in totals)
        nats = {
            "kl_w": kl_w,
            "kl_z": kl_z,
            "reconstruction": -log_likelihood,
            "elbo": log_likelihood - kl_w - kl_z,
        }
        values = {}
        for name, value in nats.items():
            values[f"{name}_nats"] = value
            values[f"{name}_bits"] = value / math.log(2.0)
        values["rmse"] = math.sqrt(mse)
        return values
