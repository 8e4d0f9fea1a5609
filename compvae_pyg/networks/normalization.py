"""Units of the data: wholes and continuous fields are read, and written, in units of their own."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Independent
from torch_geometric.data import Data

from compvae_pyg.distributions import LogVarianceNormal, NormalNetwork
from compvae_pyg.nn.checks import (
    can_look,
    check_counts,
    check_real,
    check_shape,
    check_type,
    check_values,
    takes_context,
)

__all__ = ["Conditions", "DataUnits", "Normalization", "fit_normalization"]


class Normalization(nn.Module):
    r"""Subtract the mean of the training data and divide by its standard deviation.

    .. math::
        y = (x - \mu) / \sigma

    Both are buffers, saved with the model. They are 0 and 1, which change nothing, until
    :func:`fit_normalization` sets them.

    Args:
        name: What is normalised, an attribute of ``Data``: ``"whole"``, or the name of a field.
        shape: Shape of the moments. It broadcasts with one whole, or with one row of the field; a
            size of 1 stands for moments that are shared along a dimension. ``(T,)`` for a vector
            whose T coordinates have units of their own; ``(1,)`` for a curve, since dividing each
            time by its own deviation would distort it, and blow up noise where it hardly varies;
            ``(C, 1)`` and ``(C, 1, 1)`` for channels of curves and of images, which are alike at
            all places; ``(C,)`` for a field of C numbers.

    Attributes:
        num_rows: How many rows the moments were taken of; 0 before.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If a size is not positive.

    Example:
        >>> power = Normalization("power", (2,))
        >>> fit_normalization(power, [Data(power=torch.tensor([[1.0, 40.0], [3.0, 40.0]]))])
        >>> power.mean, power.std  # what is constant is not divided by
        (tensor([ 2., 40.]), tensor([1., 1.]))
        >>> power(torch.tensor([[3.0, 40.0]]))
        tensor([[1., 0.]])
    """

    mean: Tensor
    std: Tensor
    num_rows: Tensor

    def __init__(self, name: str, shape: Sequence[int]) -> None:
        super().__init__()
        check_type(name, "name", str)
        check_counts(shape, "shape")
        self.name = name
        self.shape = tuple(shape)
        self.register_buffer("mean", torch.zeros(self.shape))
        self.register_buffer("std", torch.ones(self.shape))
        self.register_buffer("num_rows", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        """Return data in units of the training data, of the shape of ``x``."""
        return (x - self.mean) / self.std

    def inverse(self, y: Tensor) -> Tensor:
        """Return in units of the data what :meth:`forward` gives ``y`` for."""
        return y * self.std + self.mean

    def extra_repr(self) -> str:
        """Show what is normalised."""
        return f"{self.name!r}, {self.shape}"


class Conditions(Normalization):
    """Normalise the context of wholes, and warn where it lies outside of that of the training data.

    It warns on the CPU, once fitted, and not while training.

    Args:
        channels: How many numbers the context of a whole has.
        name: As in :class:`Normalization`.

    Raises:
        TypeError, ValueError: As :class:`Normalization`; when called, if the context is not ``[S,
            channels]`` of floating-point numbers.

    Example:
        >>> weather = Conditions(1)
        >>> fit_normalization(weather, [Data(context=torch.tensor([[-8.0], [12.0]]))])
        >>> weather.eval()(torch.tensor([[2.0]]))
        tensor([[0.]])
    """

    low: Tensor
    high: Tensor

    def __init__(self, channels: int, name: str = "context") -> None:
        super().__init__(name, (channels,))
        self.register_buffer("low", torch.full(self.shape, -math.inf))
        self.register_buffer("high", torch.full(self.shape, math.inf))

    def forward(self, x: Tensor) -> Tensor:
        """Return conditions in units of the training data, of the shape of ``x``."""
        check_real(x, self.name)
        check_shape(x, self.name, ("S", *self.shape))
        if not self.training and can_look(x) and len(x):
            slack = 1e-4 * (self.high - self.low)
            outside = (x < self.low - slack) | (x > self.high + slack)
            if bool(outside.any()):
                row, k = outside.nonzero()[0].tolist()
                warnings.warn(
                    f"{self.name}[:, {k}] must lie in the range of the training data, "
                    f"[{self.low[k]:g}, {self.high[k]:g}], to be more than a guess (got "
                    f"{x[row, k]:g})",
                    stacklevel=2,
                )
        return super().forward(x)


class DataUnits(nn.Module):
    r"""A Gaussian over normalised wholes, as the one over wholes in units of the data that it is.

    .. math::
        \mathcal{N}(y; m, s^2) \mapsto \mathcal{N}(x; \sigma m + \mu, \sigma^2 s^2)

    so that log-likelihoods are in nats per unit of the data.

    Args:
        network: A decoder whose Gaussian is over normalised wholes.
        normalization: Of the wholes.

    Example:
        >>> decoder = NormalNetwork(nn.Linear(3, 10), min_scale=0.01, event_dims=1)
        >>> DataUnits(decoder, Normalization("whole", (1,)))(torch.randn(4, 3)).event_shape
        torch.Size([5])
    """

    def __init__(self, network: NormalNetwork, normalization: Normalization) -> None:
        super().__init__()
        self.network = network
        self.normalization = normalization

    @property
    def takes_context(self) -> bool:
        """Whether the network takes the context of the wholes."""
        return takes_context(self.network)

    def forward(self, *args: Any, **kwargs: Any) -> LogVarianceNormal | Independent:
        """Return the Gaussian in units of the data."""
        out = self.network(*args, **kwargs)
        inner = cast(LogVarianceNormal, out.base_dist if isinstance(out, Independent) else out)
        std = self.normalization.std
        normal = LogVarianceNormal(
            self.normalization.inverse(inner.loc),
            inner.log_variance + 2.0 * std.log(),
            validate_args=False,
        )
        dims = out.reinterpreted_batch_ndims if isinstance(out, Independent) else 0
        return Independent(normal, dims, validate_args=False) if dims else normal


class _Moments:
    """Mean and variance of rows that come in batches (Chan, Golub & LeVeque 1979), in 64 bits."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self.name = name
        self.shape = shape
        self.rows = self.count = 0
        self.mean = torch.zeros(shape, dtype=torch.float64)
        self.squares = torch.zeros_like(self.mean)
        self.low, self.high = torch.full(shape, math.inf), torch.full(shape, -math.inf)

    def add(self, data: Data) -> None:
        if self.name not in data:
            raise ValueError(f"data must have {self.name!r} (got {sorted(data.keys())})")
        x = data[self.name]
        check_real(x, self.name)
        x = x.detach().to("cpu", torch.float64)
        if x.dim() == 1 and self.shape == (1,):  # one number for each row needs no dimension
            x = x.unsqueeze(1)
        letters = ("R", *("N" if size == 1 else size for size in self.shape))
        check_shape(x, self.name, letters)
        if x.numel() == 0:
            return
        check_values(x, torch.isfinite(x), f"{self.name} must be finite")
        shared = [0, *(d + 1 for d, size in enumerate(self.shape) if size == 1)]
        variance, mean = (
            v.view(self.shape) for v in torch.var_mean(x, shared, correction=0, keepdim=True)
        )
        self.low = torch.minimum(self.low, x.amin(shared, keepdim=True).view(self.shape))
        self.high = torch.maximum(self.high, x.amax(shared, keepdim=True).view(self.shape))
        count = math.prod(x.shape[d] for d in shared)
        step, share = mean - self.mean, count / (self.count + count)
        self.squares += count * variance + step.square() * (self.count * share)
        self.mean += share * step
        self.count += count
        self.rows += x.shape[0]

    def std(self) -> Tensor:
        """Return the standard deviation, 1 where what varies is no more than a rounding error."""
        std = (self.squares / self.count).sqrt()
        constant = std <= torch.finfo(torch.float32).eps * self.mean.abs()
        return torch.where(constant, 1.0, std)


@torch.no_grad()
def fit_normalization(model: nn.Module, data: Iterable[Data]) -> None:
    """Set the moments of all :class:`Normalization` modules of a model, in one pass over data.

    The pass is streaming, and stable for data far from zero; each row counts once. What is constant
    keeps the standard deviation 1. Without such modules, ``data`` is not read. Nothing is set
    before all of the data were read.

    Args:
        model: Any module.
        data: The training split: PyG ``Data`` or ``Batch`` objects, such as those of a loader, with
            wholes ``whole``, ``[S, *event]``, and the fields of the parts; or one of these.

    Raises:
        TypeError: If an argument is of another type, or what is to be normalised holds no
            floating-point numbers.
        ValueError: If it is missing, of another shape, not finite, or there is none of it.

    Example:
        >>> whole = Normalization("whole", (1,))
        >>> fit_normalization(whole, [Data(whole=torch.tensor([[1.0, 1.0, 5.0, 5.0]]))])
        >>> whole.mean, whole.std
        (tensor([3.]), tensor([2.]))
    """
    check_type(model, "model", nn.Module)
    modules = [module for module in model.modules() if isinstance(module, Normalization)]
    moments = {(m.name, m.shape): _Moments(m.name, m.shape) for m in modules}
    if not moments:
        return
    for one in [data] if isinstance(data, Data) else data:
        check_type(one, "data", Data)
        for found in moments.values():
            found.add(one)
    for found in moments.values():
        if found.count == 0:
            raise ValueError(f"data must hold some {found.name!r} (got none)")
    for module in modules:
        found = moments[module.name, module.shape]
        module.mean.copy_(found.mean)
        module.std.copy_(found.std())
        module.num_rows.fill_(found.rows)
        if isinstance(module, Conditions):
            module.low.copy_(found.low)
            module.high.copy_(found.high)
