"""Whether the codes of many parts, taken together, fill their prior."""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal

from compvae_pyg.distributions.sum_controlled_normal import SumControlledNormal
from compvae_pyg.nn import PackedParts
from compvae_pyg.nn.checks import check_annotations

__all__ = ["code_distance", "code_variance"]


@check_annotations
def code_distance(
    w: SumControlledNormal,
    prior: Normal,
    parts: PackedParts,
    num_codes: int = 1000,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Return the energy distance of codes to their prior, a scalar, with gradients to the codes.

    .. math::
        2\,\mathbb{E} \lVert u - v \rVert - \mathbb{E} \lVert u - u' \rVert
            - \mathbb{E} \lVert v - v' \rVert, \qquad
        u_i = \frac{w_i - m_{\ell_i}}{\max_d s_{\ell_i d}}, \quad
        v_i \sim \mathcal{N}\Bigl(0, \frac{s_{\ell_i}^2}{\max_d s_{\ell_i d}^2}\Bigr)

    with :math:`w_i` drawn from its marginal of the posterior. Parts are compared whose integer
    fields are equal, and the mean over these kinds is taken: of labels by which a code may be told,
    each is to fill its own prior. It is zero, but for the error of sampling, of either sign, if and
    only if it does: what :math:`\mathrm{KL}(q \| p)` of single parts does not ask for.

    Args:
        w: Posterior of the parts' latents, over ``[N, D_w]``.
        prior: Their prior, to which no gradients flow.
        parts: The parts.
        num_codes: Number of codes that are compared, and of draws from the prior.
        generator: Source of the randomness; by default the global one.

    Example:
        >>> zero = torch.zeros(2000, 1)
        >>> parts, prior = PackedParts(torch.arange(2000) // 1000), Normal(zero, zero + 1.0)
        >>> for scale in (1.0, 0.1):
        ...     q = SumControlledNormal(zero, zero + scale, zero - 100.0)
        ...     print(bool(code_distance(q, prior, parts).abs() < 0.1))
        True
        False
    """
    order, start, number = _by_kind(parts)
    each = max(2, num_codes // number.shape[0])
    given: dict[str, Any] = {"device": w.loc.device, "generator": generator}
    drawn = torch.rand(number.shape[0], each, **given) * number.unsqueeze(1)
    chosen = order[start.unsqueeze(1) + drawn.long()]
    deviation, loc = w.variance.sqrt()[chosen], w.loc[chosen]
    scale, mean = prior.stddev.detach()[chosen], prior.mean.detach()[chosen]
    unit = scale.amax(dim=2, keepdim=True)
    noise = torch.randn(2, *loc.shape, **given)
    u, v = (loc - mean + deviation * noise[0]) / unit, scale / unit * noise[1]
    others = (chosen.unsqueeze(2) != chosen.unsqueeze(1)).to(u.dtype)
    apart = others.sum(dim=(1, 2)).clamp(min=1.0)
    own = (_distances(u, u) * others).sum(dim=(1, 2)) / apart
    drawn_apart = _distances(v, v).sum(dim=(1, 2)) / (each * (each - 1))
    return (2.0 * _distances(u, v).mean(dim=(1, 2)) - own - drawn_apart).mean()


@check_annotations
def code_variance(w: SumControlledNormal, prior: Normal) -> Tensor:
    r"""Return the variance of codes about the means of their priors, a scalar: 1 if they fill it.

    .. math::
        \mathbb{E}\bigl[\textstyle\sum_d (w_d - m_{\ell d})^2 / \sum_d s_{\ell d}^2 \bigr]

    Example:
        >>> zero = torch.zeros(2, 3)
        >>> q = SumControlledNormal(zero + 2.0, zero + 1.0, zero - 100.0)
        >>> code_variance(q, Normal(zero, zero + 1.0))
        tensor(5.)
    """
    square = (w.loc - prior.mean).square() + w.variance
    return (square.sum(dim=1) / prior.variance.sum(dim=1)).mean()


def _by_kind(parts: PackedParts) -> tuple[Tensor, Tensor, Tensor]:
    """Return an order of the parts by their integer fields; first part and number of each kind."""
    fields = parts.fields
    columns = [fields] if isinstance(fields, Tensor) else list(fields.values())
    whole = [column for column in columns if not column.is_floating_point()]
    if not whole:
        return (
            torch.arange(parts.num_parts, device=parts.device),
            torch.zeros(1, dtype=torch.long, device=parts.device),
            torch.full((1,), parts.num_parts, device=parts.device),
        )
    table = torch.cat([column.reshape(parts.num_parts, -1).long() for column in whole], dim=1)
    one = table.shape[1] == 1  # sorted faster than rows
    found = table[:, 0].unique if one else partial(table.unique, dim=0)
    _, kind, number = found(return_inverse=True, return_counts=True)
    return kind.argsort(), number.cumsum(0) - number, number


def _distances(x: Tensor, y: Tensor) -> Tensor:
    square = x.square().sum(dim=2).unsqueeze(2) + y.square().sum(dim=2).unsqueeze(1)
    # Not zero, where the root has no derivative.
    return (square - 2.0 * x @ y.mT).clamp(min=1e-6).sqrt()
