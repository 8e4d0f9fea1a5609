"""A Gaussian over the members of each set whose sum can be made as certain as one likes."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.distributions import Normal, constraints, register_kl
from torch.distributions.utils import lazy_property

from compvae_pyg.distributions.normal import log_scale, root, standard_normal
from compvae_pyg.distributions.packed_distribution import PackedDistribution
from compvae_pyg.nn import checks
from compvae_pyg.nn.packed import PackedParts, sets_of

__all__ = ["Coupling", "ResidualSumControlledNormal", "SumControlledNormal"]

Coupling = Literal["paper", "scaled"]

_LOG_2PI = math.log(2.0 * math.pi)


class SumControlledNormal(PackedDistribution):
    r"""Normal distribution of packed sets coupled through their sums (paper, appendix C).

    Coordinate by coordinate, for the :math:`K` members of a set, with
    :math:`\rho_i > 0` and :math:`R = \sum_i \rho_i < 1`:

    .. math::
        \text{paper:}  \quad w_i &= \mu_i + \sigma_i \Bigl(
            \varepsilon_i - \rho_i \sum_j \varepsilon_j \Bigr) \\
        \text{scaled:} \quad w_i &= \mu_i + \sigma_i \varepsilon_i
            - \rho_i \sum_j \sigma_j \varepsilon_j \\
        \rho_i &= \frac{e^{\tilde\rho_i}}{1 + \sum_j e^{\tilde\rho_j}}, \qquad
        \varepsilon_i \sim \mathcal{N}(0, 1)

    With :math:`S = I - \rho \mathbf{1}^\top` and :math:`D = \mathrm{diag}(\sigma)` the covariance
    is :math:`D S S^\top D` (``"paper"``) or :math:`S D^2 S^\top` (``"scaled"``). The variance of
    the sum is :math:`\sum_j (\sigma_j - \sum_i \sigma_i \rho_i)^2` in the first (the paper's eq. 7
    holds only for equal scales) and :math:`(1 - R)^2 \sum_j \sigma_j^2` in the second, which goes
    to zero with :math:`1 - R` whatever the scales. All operations are :math:`O(N)`.

    Densities belong to sets: ``batch_shape``, and the shape of ``log_prob``, ``entropy`` and
    divergences, is ``[S, D]``. Samples are packed, ``[*, N, D]``. Sets differ in size, so that no
    batch and event shape gives both: ``expand``, ``Independent``, ``TransformedDistribution`` and
    ``MixtureSameFamily`` raise a ``NotImplementedError``.

    Args:
        loc: :math:`\mu`, ``[N, D]``.
        scale: :math:`\sigma > 0`, ``[N, D]``.
        coupling_logits: :math:`\tilde\rho`, ``[N, D]``; as they fall to :math:`-\infty` the
            members become independent.
        batch: Set of each member, ``[N]``, sorted; ``None`` means one set. Or packed parts, whose
            sets are taken on trust.
        batch_size: Number of sets :math:`S`; needed when sets are empty.
        coupling: ``"paper"`` or ``"scaled"``.
        validate_args: As in :class:`torch.distributions.Distribution`.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If shapes or devices differ, ``batch`` does not fit, ``coupling`` is unknown,
            or, with ``validate_args``, values are out of range.

    Example:
        >>> q = SumControlledNormal(torch.zeros(3, 4), torch.ones(3, 4), torch.zeros(3, 4),
        ...                         batch=torch.tensor([0, 0, 1]))
        >>> w = q.rsample()
        >>> w.shape, q.log_prob(w).shape
        (torch.Size([3, 4]), torch.Size([2, 4]))
        >>> torch.distributions.kl_divergence(q, Normal(torch.zeros(4), torch.ones(4))).shape
        torch.Size([2, 4])
    """

    arg_constraints = {  # noqa: RUF012 - the base class's way
        "loc": constraints.real,
        "scale": constraints.positive,
        "coupling_logits": constraints.real,
    }
    support = constraints.real

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor,
        coupling_logits: Tensor,
        batch: Tensor | PackedParts | None = None,
        batch_size: int | None = None,
        coupling: Coupling = "paper",
        validate_args: bool | None = None,
    ) -> None:
        checks.check_same_shape(("N", "D"), loc=loc, scale=scale, coupling_logits=coupling_logits)
        checks.check_choice(coupling, "coupling", get_args(Coupling))
        self.loc = loc
        self.scale = scale
        self.coupling_logits = coupling_logits
        self.coupling = coupling
        self.sets = sets_of(loc, "loc", batch, batch_size)
        # rho is the share of its set's total noise that each member gives back.
        self.rho, self.log_null = self.sets.softmax_with_null(coupling_logits)
        validates = self._validate_args if validate_args is None else bool(validate_args)
        super().__init__(self.log_null.shape, validate_args=False)
        self._validate_args = validates
        if validates:
            # Own checks of values, which say in a line what is wrong and where.
            checks.check_finite(loc, "loc")
            checks.check_finite(coupling_logits, "coupling_logits")
            checks.check_positive(scale, "scale")

    # Moments

    @property
    def mean(self) -> Tensor:
        r"""Mean :math:`\mu`, ``[N, D]``."""
        return self.loc

    mode = mean

    @property
    def variance(self) -> Tensor:
        """Variance of each member, ``[N, D]``: the diagonal of the covariance."""
        return self.stddev.square()

    @property
    def stddev(self) -> Tensor:
        """Standard deviation of each member, ``[N, D]``."""
        others = self.rho * self._noise_of_others * self.scale
        # Not none, where the gradient would be NaN.
        least = torch.finfo(others.dtype).tiny
        return torch.hypot(self._kept * self.scale, others.clamp(min=least))

    @property
    def marginals(self) -> Normal:
        """Distribution of each member by itself, a Normal over ``[N, D]``."""
        return Normal(self.loc, self.stddev, validate_args=False)

    @property
    def sum_mean(self) -> Tensor:
        r"""Mean of each set's sum, :math:`\sum_i \mu_i`, ``[S, D]``."""
        return self._sum(self.loc)

    @property
    def sum_variance(self) -> Tensor:
        """Variance of each set's sum, ``[S, D]``."""
        return self.sum_distribution.variance

    @property
    def sum_distribution(self) -> Normal:
        r"""Distribution of each set's sum :math:`\sum_i w_i`, a Normal over ``[S, D]``."""
        if self.coupling == "paper":
            scale = self._residual_norm(self.scale)
        else:
            scale = torch.exp(self.log_null) * root(self._sum(self.scale.square()))
        return Normal(self.sum_mean, scale, validate_args=False)

    def weighted_sum(self, weight: Tensor) -> Normal:
        r"""Distribution of each set's :math:`\sum_i a_i w_i`, a Normal over ``[S, D]``.

        Its mean is :math:`\sum_i a_i \mu_i`, and its variance

        .. math::
            \text{paper:} \; \sum_j \Bigl(a_j \sigma_j - \sum_i a_i \sigma_i \rho_i\Bigr)^2,
            \qquad
            \text{scaled:} \; \sum_j \sigma_j^2 \Bigl(a_j - \sum_i a_i \rho_i\Bigr)^2.

        Args:
            weight: :math:`a`, ``[N]``, of any sign.

        Raises:
            TypeError: If ``weight`` is not a tensor of real numbers.
            ValueError: If it is not ``[N]``, or, on the CPU, not finite.

        Example:
            >>> q = SumControlledNormal(torch.ones(2, 1), torch.ones(2, 1), torch.zeros(2, 1))
            >>> q.weighted_sum(torch.tensor([1.0, 0.5])).mean
            tensor([[1.5000]])
        """
        checks.check_type(weight, "weight", Tensor)
        checks.check_row_numbers(weight, "weight", self.batch)
        weights = weight.double().unsqueeze(-1)
        loc, scale, logits = self.loc.double(), self._wide_scale, self.coupling_logits.double()
        wide = SumControlledNormal(loc, scale, logits, self.sets, None, self.coupling, False)
        if self.coupling == "paper":
            total = wide._residual_norm(weights * scale)
        else:
            total = wide._residual_norm(weights.expand_as(scale), scale.square())
        mean, dtype = wide._sum(weights * loc), self.loc.dtype
        return Normal(mean.to(dtype), total.to(dtype), validate_args=False)

    # Maps between eps and values, densities

    def transform(self, eps: Tensor) -> Tensor:
        r"""Map standard normal :math:`\varepsilon`, ``[*, N, D]``, to a sample."""
        checks.check_packed(eps, "eps", self.loc)
        own = eps if self.coupling == "paper" else self.scale * eps
        deviation = self._kept * own - self.rho * self._sum_of_others(own)
        return self.loc + (self.scale * deviation if self.coupling == "paper" else deviation)

    def inverse(self, value: Tensor) -> Tensor:
        r"""The :math:`\varepsilon` that :meth:`transform` maps to ``value``, ``[*, N, D]``.

        By Sherman-Morrison, :math:`S^{-1} = I + \rho \mathbf{1}^\top / (1 - R)`.
        """
        # In 64 bits: the sum of what nearly cancels is divided by 1 - R.
        checks.check_packed(value, "value", self.loc)
        own = value.double() - self.loc.double()
        if self.coupling == "paper":
            own = own / self._wide_scale
        # rho / (1 - R) = exp(logit), in two factors that do not overflow. No sum remains none.
        largest = math.log(torch.finfo(torch.float64).max)
        half = torch.exp((0.5 * self.coupling_logits.double()).clamp(max=largest))
        eps = own + self._spread(self._sum(own)) * half * half
        return (eps if self.coupling == "paper" else eps / self._wide_scale).to(value.dtype)

    def rsample(self, sample_shape: Any = (), generator: torch.Generator | None = None) -> Tensor:
        """Draw samples through which gradients flow, ``[*sample_shape, N, D]``."""
        shape = checks.check_sample_shape(sample_shape) + self.loc.shape
        return self.transform(standard_normal(self.loc.expand(shape), generator))

    def log_prob(self, value: Tensor) -> Tensor:
        r"""Log-density of each set in nats, ``[*, S, D]``.

        .. math::
            \sum_i [\log \mathcal{N}(\varepsilon_i; 0, 1) - \log \sigma_i] - \log(1 - R)

        Raises:
            ValueError: If ``value`` is not ``[*, N, D]``, or, with validation, not finite.
        """
        checks.check_packed(value, "value", self.loc)
        if self._validate_args:
            checks.check_finite(value, "value")
        eps = self.inverse(value.double())
        terms = self._log_terms(eps, self._wide_scale.log())
        return (self._sum(terms) - self.log_null).to(value.dtype)

    def log_prob_from_eps(self, eps: Tensor) -> Tensor:
        r"""Log-density of ``transform(eps)`` in nats, ``[*, S, D]``.

        For one's own samples: it spares the inverse, which loses digits as :math:`1 - R` vanishes.
        """
        checks.check_packed(eps, "eps", self.loc)
        # By the determinant lemma, |S| = 1 - R.
        return self._sum(self._log_terms(eps, self._log_scale)) - self.log_null

    def _log_terms(self, eps: Tensor, log_scale: Tensor) -> Tensor:
        """Return what each member adds to the log-density of its set, ``[*, N, D]``."""
        return -0.5 * (eps.square() + _LOG_2PI) - log_scale

    def entropy(self) -> Tensor:
        r"""Differential entropy of each set in nats, ``[S, D]``.

        .. math::
            \tfrac{K}{2}(1 + \log 2\pi) + \sum_i \log \sigma_i + \log(1 - R)
        """
        return self._sum(0.5 * (1.0 + _LOG_2PI) + self._log_scale) + self.log_null

    def total_correlation(self) -> Tensor:
        r"""Information in nats that the members of a set have in common, ``[S, D]``.

        .. math::
            \mathrm{KL}\Bigl(q \Big\| \prod_i q_i\Bigr)
                = \sum_i \log \frac{\mathrm{sd}(w_i)}{\sigma_i} - \log(1 - R) \geq 0

        with :math:`q_i` of :attr:`marginals`. The divergence from a distribution of independent
        members :math:`p_i` is that of the marginals and this:
        :math:`\mathrm{KL}(q \| \prod_i p_i) = \sum_i \mathrm{KL}(q_i \| p_i)
        + \mathrm{KL}(q \| \prod_i q_i)`.

        Example:
            >>> one, logits = torch.ones(2, 1), torch.zeros(2, 1)
            >>> SumControlledNormal(one, one, logits).total_correlation()  # log(5 / 3)
            tensor([[0.5108]])
        """
        # A member alone has nothing in common with others, whose 1 - R may be no number.
        several = self.sets.sizes(self.loc.dtype).unsqueeze(-1) > 1.0
        return torch.where(several, self._sum(self._correlation_terms()) - self.log_null, 0.0)

    def _correlation_terms(self) -> Tensor:
        """Return what each member adds to the total correlation of its set, ``[N, D]``."""
        ratio = 1.0 + self._noise_of_others.square()
        minor = self.rho.masked_fill(self._is_major, 0.0)
        own = 0.5 * torch.log1p(minor * (minor * ratio - 2.0))
        return torch.where(self._is_major, (self.stddev / self.scale).log(), own)

    # A member of rho > 1/2, of which a set has one at most, may keep next to nothing of its own
    # noise: what it keeps, and what the others are, is not formed as a difference.

    @lazy_property
    def _is_major(self) -> Tensor:
        return self.rho.detach() > 0.5

    @lazy_property
    def _has_major(self) -> bool:
        """Whether there may be one: not where that can be looked at for free, and none is there."""
        return not checks.can_look(self.rho) or bool(self._is_major.any())

    @lazy_property
    def _kept(self) -> Tensor:
        r"""What a member keeps of its own noise, :math:`1 - \rho_i`."""
        if not self._has_major:
            return 1.0 - self.rho
        by_major = torch.exp(self.log_null) + self._sum(self.rho.masked_fill(self._is_major, 0.0))
        return torch.where(self._is_major, self._spread(by_major), 1.0 - self.rho)

    def _sum_of_others(self, value: Tensor) -> Tensor:
        others = self._sum(value.masked_fill(self._is_major, 0.0))
        rest = self._spread(self._sum(value)) - value
        return torch.where(self._is_major, self._spread(others), rest)

    @lazy_property
    def _noise_of_others(self) -> Tensor:
        """Standard deviation of the sum of the others' noise, in units of a member's scale."""
        if self.coupling == "paper":
            return root(self._spread(self.sets.sizes(self.loc.dtype).unsqueeze(-1)) - 1.0)
        return root(self._sum_of_others(self.scale.square()).clamp(min=0.0)) / self.scale

    def _residual_norm(self, own: Tensor, weight: Tensor | None = None) -> Tensor:
        r"""Return :math:`\sqrt{\sum_j b_j (x_j - \sum_i x_i \rho_i)^2}`, ``[S, D]``."""
        # As deviations from the largest of a set, so that equal ones leave 1 - R as it is, and in
        # units of the largest term. What is detached cancels from the result.
        high = self.sets.segments.max(own)
        less = own - self._spread(high)
        shared = high * torch.exp(self.log_null) - self._sum(less * self.rho)
        terms = less + self._spread(shared)
        unit = self.sets.segments.max(terms.abs()).clamp(min=torch.finfo(own.dtype).tiny)
        square = (terms / self._spread(unit)).square()
        return unit * root(self._sum(square if weight is None else weight * square))

    @property
    def _log_scale(self) -> Tensor:
        return self.scale.log()

    @property
    def _wide_scale(self) -> Tensor:
        return self.scale.double()

    def _sum(self, value: Tensor) -> Tensor:
        return self.sets.sum(value, dim=-2)

    def _spread(self, value: Tensor) -> Tensor:
        return self.sets.broadcast(value, dim=-2)

    def __repr__(self) -> str:
        sizes = f"{self.loc.shape[0]}, batch_size={self.batch_size}, channels={self.loc.shape[1]}"
        return f"{self.__class__.__name__}(num_parts={sizes}, coupling={self.coupling!r})"


class ResidualSumControlledNormal(SumControlledNormal):
    r"""A :class:`SumControlledNormal` whose means and scales are relative to a prior.

    .. math::
        \mu_i = m_i + s_i \hat\mu_i, \qquad \sigma_i = s_i e^{\hat\nu_i / 2}

    It is the residual posterior of NVAE. Its divergence from the prior, :meth:`kl_to_prior`, is
    exact where the prior's scales are tiny.

    Args:
        prior: :math:`\mathcal{N}(m, s^2)`, whose shape broadcasts with ``[N, D]``.
        shift: :math:`\hat\mu`, ``[N, D]``.
        log_variance: :math:`\hat\nu`, ``[N, D]``.

    The others are those of :class:`SumControlledNormal`.

    Raises:
        TypeError, ValueError: As :class:`SumControlledNormal`, or if ``prior`` is no Normal of such
            a shape.

    Example:
        >>> zero = torch.zeros(2, 1)
        >>> prior = Normal(zero, torch.tensor([[1.0], [1e-6]]))
        >>> q = ResidualSumControlledNormal(prior, zero + 1.0, zero, zero - 100.0)
        >>> q.kl_to_prior()
        tensor([[1.]])
    """

    arg_constraints = {  # noqa: RUF012 - the base class's way
        "shift": constraints.real,
        "log_variance": constraints.real,
        "coupling_logits": constraints.real,
    }

    def __init__(
        self,
        prior: Normal,
        shift: Tensor,
        log_variance: Tensor,
        coupling_logits: Tensor,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        given = {"shift": shift, "log_variance": log_variance, "coupling_logits": coupling_logits}
        checks.check_same_shape(("N", "D"), **given)
        checks.check_normal(prior, "prior", shift.shape[0], shift.shape[1], shift.device)
        self.prior = prior
        self.shift = shift
        self.log_variance = log_variance
        self._ratio = torch.exp(0.5 * log_variance)
        loc, scale = prior.loc + prior.scale * shift, prior.scale * self._ratio
        super().__init__(loc, scale, coupling_logits, *args, **kwargs)

    def kl_to_prior(self) -> Tensor:
        r"""Return :math:`\mathrm{KL}(q \| \mathcal{N}(m, s^2))` in nats, ``[S, D]``."""
        return _divergence(self, self.prior, self.shift, self._ratio, self.log_variance)

    @property
    def _log_scale(self) -> Tensor:
        return log_scale(self.prior) + 0.5 * self.log_variance

    @property
    def _wide_scale(self) -> Tensor:
        return self.prior.scale.double() * torch.exp(0.5 * self.log_variance.double())


@register_kl(SumControlledNormal, Normal)
def _kl_sum_controlled_normal_normal(p: SumControlledNormal, q: Normal) -> Tensor:
    _check_other(p, q)
    # Ratios of scales are formed before they are squared, to spare small scales an underflow.
    ratio = p.scale / q.scale
    return _divergence(p, q, (p.loc - q.loc) / q.scale, ratio, 2.0 * ratio.log())


@register_kl(ResidualSumControlledNormal, Normal)
def _kl_residual_sum_controlled_normal_normal(p: ResidualSumControlledNormal, q: Normal) -> Tensor:
    _check_other(p, q)
    unit = p.prior.scale / q.scale
    shift = torch.addcmul((p.prior.loc - q.loc) / q.scale, unit, p.shift)
    return _divergence(p, q, shift, unit * p._ratio, p.log_variance + 2.0 * unit.log())


def _check_other(p: SumControlledNormal, q: Normal) -> None:
    checks.check_normal(q, "q", p.loc.shape[0], p.loc.shape[1], p.loc.device)
    if p._validate_args:
        checks.check_positive(q.scale, "q's scale")


def _divergence(
    p: SumControlledNormal, q: Normal, shift: Tensor, ratio: Tensor, log_variance: Tensor
) -> Tensor:
    r"""Return the divergence from a factorised Gaussian, of what is in units of its scales.

    Twice that of a set is
    :math:`\sum_i [\hat\mu_i^2 + r_i^2 - 1 - \hat\nu_i - 2 \rho_i r_i^2] + \sum_i b_i - 2 \log(1-R)`
    with :math:`b_i = K (\rho_i r_i)^2` or :math:`\rho_i^2 \sum_j \sigma_j^2 / s_i^2`.
    """
    share = p.rho * ratio
    own = torch.expm1(log_variance) - share * (2.0 * ratio - share)
    if p._has_major:
        own = torch.where(p._is_major, (p._kept * ratio).square() - 1.0, own)
    others = (share * p._noise_of_others).square()
    return 0.5 * p._sum(own + others - log_variance + shift * shift) - p.log_null
