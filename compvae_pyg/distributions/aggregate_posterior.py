"""Whether the codes of many parts, taken together, fill their prior."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal

from compvae_pyg.distributions.sum_controlled_normal import SumControlledNormal
from compvae_pyg.nn import PackedParts
from compvae_pyg.nn.checks import check_annotations

__all__ = ["code_distance", "code_figures", "code_variance"]


@check_annotations
def code_distance(
    w: SumControlledNormal,
    prior: Normal,
    parts: PackedParts,
    num_codes: int = 2000,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return the energy distance of codes to their prior, a scalar, with gradients.

    .. math::
        2\,\mathbb{E} \lVert u - v \rVert^{1/2} - \mathbb{E} \lVert u - u' \rVert^{1/2}
            - \mathbb{E} \lVert v - v' \rVert^{1/2}, \qquad
        u = \frac{f}{\sqrt n} \sum_{i=1}^{n} \frac{w_i - m_\ell}{s_\ell}, \quad
        v \sim \mathcal{N}(0, f^2)

    of the :math:`n` equal parts of a set, whose sum alone a decoder sees: equal are parts that have
    integer fields alone, and the same in them. :math:`w` is drawn from the posterior, and
    :math:`f`, of each coordinate, is 1 less the mean ratio of its variance to the prior's, in
    [0, 1]: where the posterior says nothing, it is the prior already. What is compared has equal
    integer fields and, rounded down, the same binary logarithms of :math:`n` and of the size of the
    set; the mean over these kinds is taken, by the root of how many there are.

    It is zero, but for the error of sampling, of either sign, if and only if each kind fills the
    prior, for which :math:`\mathrm{KL}(q \| p)` of single wholes does not ask. The exponent of the
    norms (Székely and Rizzo, 2013) weighs what is near more than 1 does.

    Args:
        w: Posterior of the parts' latents, over ``[N, D_w]``.
        prior: Their prior.
        parts: The parts.
        num_codes: Number of codes that are compared, and of draws from the prior.
        generator: Source of the randomness; by default the global one.

    Raises:
        TypeError: If an argument is of another type.

    Example:
        >>> zero = torch.zeros(2000, 1)
        >>> parts, prior = PackedParts(zero, torch.arange(2000), 2000), Normal(zero, zero + 1.0)
        >>> for scale in (1.0, 0.1):
        ...     q = SumControlledNormal(zero, zero + scale, zero - 100.0, parts)
        ...     print(bool(code_distance(q, prior, parts).abs() < 0.1))
        True
        False
    """
    equal, number, kind = _equal_parts(parts)
    code = (w.rsample(generator=generator) - prior.mean) / prior.stddev
    ratio = w.variance.detach() / prior.variance.detach()
    count = number.to(code.dtype).unsqueeze(1)
    zero = code.new_zeros(number.shape[0], code.shape[1])
    code = zero.index_add(0, equal, code) / count.sqrt()
    ratio = zero.index_add(0, equal, ratio) / count
    _, kind, size = kind.unique(return_inverse=True, return_counts=True)
    order, start = kind.argsort(), size.cumsum(0) - size
    each = max(2, num_codes // max(1, size.shape[0]))
    given: dict[str, Any] = {"device": code.device, "generator": generator}
    drawn = torch.rand(size.shape[0], each, **given) * size.unsqueeze(1)
    chosen = order[start.unsqueeze(1) + drawn.long()]
    factor = (1.0 - ratio[chosen].mean(dim=1, keepdim=True)).clamp(0.0, 1.0)
    u = factor * code[chosen]
    v = factor * torch.randn(u.shape, **given)
    others = (chosen.unsqueeze(2) != chosen.unsqueeze(1)).to(u.dtype)
    own = (_distances(u, u) * others).sum(dim=(1, 2)) / others.sum(dim=(1, 2)).clamp(min=1.0)
    drawn_apart = _distances(v, v).sum(dim=(1, 2)) / (each * (each - 1))
    distance = 2.0 * _distances(u, v).mean(dim=(1, 2)) - own - drawn_apart
    # A kind with one code has no distance of its own.
    share = torch.where(size > 1, size, 0).to(u.dtype).sqrt()
    return (share * distance).sum() / share.sum().clamp(min=1.0)


@check_annotations
def code_variance(w: SumControlledNormal, prior: Normal) -> Tensor:
    r"""Return the variance of codes about the means of their priors, a scalar: 1 if they fill it.

    .. math::
        \mathbb{E}\bigl[\textstyle\sum_d (w_d - m_{\ell d})^2 / \sum_d s_{\ell d}^2 \bigr]

    Raises:
        TypeError: If an argument is of another type.

    Example:
        >>> zero = torch.zeros(2, 3)
        >>> q = SumControlledNormal(zero + 2.0, zero + 1.0, zero - 100.0)
        >>> code_variance(q, Normal(zero, zero + 1.0))
        tensor(5.)
    """
    square = (w.loc - prior.mean).square() + w.variance
    return (square.sum(dim=1) / prior.variance.sum(dim=1)).mean()


@torch.no_grad()
def code_figures(w: SumControlledNormal, prior: Normal, parts: PackedParts) -> dict[str, Tensor]:
    """Return both of these by their names, with the same random numbers each time."""
    source = torch.Generator(w.loc.device)
    distance = code_distance(w, prior, parts, generator=source)
    return {"code_variance": code_variance(w, prior), "code_distance": distance}


def _equal_parts(parts: PackedParts) -> tuple[Tensor, Tensor, Tensor]:
    """Return which of the groups of equal parts each is in; their numbers of parts and kinds."""
    fields, many = parts.fields, parts.num_parts
    columns = [fields] if isinstance(fields, Tensor) else list(fields.values())
    whole = [column for column in columns if not column.is_floating_point()]
    label = torch.zeros_like(parts.batch)
    for column in whole:
        for value in column.reshape(many, -1).unbind(dim=1):
            label = label * many + value.unique(return_inverse=True)[1]
            label = label.unique(return_inverse=True)[1]
    row = parts.batch * many + label
    if len(whole) < len(columns):
        row = torch.arange(many, device=parts.device)
    _, equal, number = row.unique(return_inverse=True, return_counts=True)
    sizes = parts.broadcast(parts.sizes())
    kind = (label * 64 + number[equal].to(sizes.dtype).log2().long()) * 64 + sizes.log2().long()
    return equal, number, torch.zeros_like(number).scatter(0, equal, kind)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    square = x.square().sum(dim=2).unsqueeze(2) + y.square().sum(dim=2).unsqueeze(1)
    # Not zero, where the root has no derivative.
    return (square - 2.0 * x @ y.mT).clamp(min=1e-8).pow(0.25)
