"""A Gaussian over the members of each set whose sum can be made as certain as one likes."""

from __future__ import annotations

import math
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal, constraints, register_kl
from torch.distributions.utils import lazy_property

from compvae_pyg.distributions.normal import log_scale, root
from compvae_pyg.nn.checks import (
    check_choice,
    check_device,
    check_generator,
    check_normal,
    check_real,
    check_row_numbers,
    check_shape,
    check_type,
    check_values,
)
from compvae_pyg.nn.packed import PackedParts

__all__ = ["Coupling", "ResidualSumControlledNormal", "SumControlledNormal"]

Coupling = Literal["paper", "scaled"]

_LOG_2PI = math.log(2.0 * math.pi)
_REFUSAL = (
    "SumControlledNormal cannot be expanded or wrapped: its sets are packed, so that samples are "
    "[*, N, D] and densities [*, S, D]"
)


class _PackedShape(tuple[int, ...]):
    """The shape of densities, which must not be taken for one of samples.

    Wrappers of distributions begin with a sum or a part of the shape.
    """

    def __add__(self, other: Any) -> Any:
        raise NotImplementedError(_REFUSAL)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            raise NotImplementedError(_REFUSAL)
        return super().__getitem__(index)


class SumControlledNormal(Distribution):
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
    has_rsample = True

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
        _check_parameters(loc=loc, scale=scale, coupling_logits=coupling_logits)
        check_choice(coupling, "coupling", get_args(Coupling))
        self.loc = loc
        self.scale = scale
        self.coupling_logits = coupling_logits
        self.coupling = coupling
        if isinstance(batch, PackedParts):
            self.sets = PackedParts.of(batch, None, batch_size)
        else:
            self.sets = PackedParts(loc, batch, batch_size)
        # rho is the share of its set's total noise that each member gives back.
        self.rho, self.log_null = self.sets.softmax_with_null(coupling_logits)
        shape = torch.Size([self.batch_size, loc.shape[1]])
        super().__init__(batch_shape=shape, validate_args=False)
        # Its own checks, which say in a line what is wrong and where.
        self._validate_args = (
            Distribution._validate_args if validate_args is None else bool(validate_args)
        )
        self._check_finite(loc=loc, scale=scale, coupling_logits=coupling_logits)
        if self._validate_args and _can_look(scale):
            check_values(scale, scale > 0, "scale must be positive")

    @property
    def batch(self) -> Tensor:
        """Set of each member, ``[N]``."""
        return self.sets.batch

    @property
    def batch_size(self) -> int:
        """Number of sets :math:`S`."""
        return self.sets.batch_size

    @property
    def batch_shape(self) -> torch.Size:
        """The shape of densities, ``[S, D]``."""
        return cast(torch.Size, _PackedShape(self._batch_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> SumControlledNormal:
        """Raise a ``NotImplementedError``: packed sets cannot be broadcast."""
        raise NotImplementedError(_REFUSAL)

    # Moments

    @property
    def mean(self) -> Tensor:
        r"""Mean :math:`\mu`, ``[N, D]``."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        r"""Mode :math:`\mu`, ``[N, D]``."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """Variance of each member, ``[N, D]``: the diagonal of the covariance."""
        return self.stddev.square()

    @property
    def stddev(self) -> Tensor:
        """Standard deviation of each member, ``[N, D]``."""
        kept = 1.0 - self.rho
        if self.coupling == "paper":
            others = root(self._spread(self._sizes()) - 1.0) * self.scale
        else:
            own = self.scale.square()
            others = root((self._spread(self._total_variance) - own).clamp(min=0.0))
        if self._major is not None:
            kept = torch.lerp(kept, self._spread(self._kept_by_major), self._major.expand_as(kept))
            if self.coupling == "scaled":
                rest = root(self._sum(_minor(own, self._major)))
                others = torch.lerp(others, self._spread(rest), self._major)
        return _hypot(kept * self.scale, self.rho * others)

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
            scale = torch.exp(self.log_null) * root(self._total_variance)
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
        check_type(weight, "weight", Tensor)
        check_row_numbers(weight, "weight", self.batch)
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
        self._check_packed(eps, "eps")
        own = eps if self.coupling == "paper" else self.scale * eps
        noise = self._sum(_minor(own, self._major))
        if self._major is None:
            deviation = own - self.rho * self._spread(noise)
        else:
            kept, by_major = self._kept_by_major, self._sum(own * self._major)
            deviation = own - self.rho * self._spread(noise + by_major)
            of_major = self._spread(kept * by_major - (1.0 - kept) * noise)
            deviation = torch.lerp(deviation, of_major, self._major.expand_as(deviation))
        return self.loc + (self.scale * deviation if self.coupling == "paper" else deviation)

    def inverse(self, value: Tensor) -> Tensor:
        r"""The :math:`\varepsilon` that :meth:`transform` maps to ``value``, ``[*, N, D]``.

        By Sherman-Morrison, :math:`S^{-1} = I + \rho \mathbf{1}^\top / (1 - R)`.
        """
        return self._inverse(value).to(value.dtype)

    def _inverse(self, value: Tensor) -> Tensor:
        # In 64 bits: the sum of what nearly cancels is divided by 1 - R.
        self._check_packed(value, "value")
        own = value.double() - self.loc.double()
        if self.coupling == "paper":
            own = own / self._wide_scale
        # rho / (1 - R) = exp(logit), in two factors that do not overflow. No sum remains none.
        largest = math.log(torch.finfo(torch.float64).max)
        half = torch.exp((0.5 * self.coupling_logits.double()).clamp(max=largest))
        eps = own + self._spread(self._sum(own)) * half * half
        return eps if self.coupling == "paper" else eps / self._wide_scale

    def rsample(self, sample_shape: Any = (), generator: torch.Generator | None = None) -> Tensor:
        """Draw samples through which gradients flow, ``[*sample_shape, N, D]``."""
        check_generator(generator, self.loc.device)
        try:
            shape = torch.Size(sample_shape) + self.loc.shape
        except TypeError as error:
            raise TypeError(
                f"sample_shape must be a tuple of integers (got {sample_shape!r})"
            ) from error
        if any(size < 0 for size in shape):
            raise ValueError(f"sample_shape must not be negative (got {sample_shape})")
        # A generator that is None does not compile for shapes that change.
        source: dict[str, Any] = {} if generator is None else {"generator": generator}
        dtype, device = self.loc.dtype, self.loc.device
        return self.transform(torch.randn(shape, dtype=dtype, device=device, **source))

    def sample(self, sample_shape: Any = (), generator: torch.Generator | None = None) -> Tensor:
        """Draw samples, ``[*sample_shape, N, D]``."""
        with torch.no_grad():
            return self.rsample(sample_shape, generator)

    def log_prob(self, value: Tensor) -> Tensor:
        r"""Log-density of each set in nats, ``[*, S, D]``.

        .. math::
            \sum_i [\log \mathcal{N}(\varepsilon_i; 0, 1) - \log \sigma_i] - \log(1 - R)

        Raises:
            ValueError: If ``value`` is not ``[*, N, D]``, or, with validation, not finite.
        """
        eps = self._inverse(value)
        self._check_finite(value=value)
        return self._log_density(eps, self._wide_scale.log()).to(value.dtype)

    def log_prob_from_eps(self, eps: Tensor) -> Tensor:
        r"""Log-density of ``transform(eps)`` in nats, ``[*, S, D]``.

        For one's own samples: it spares the inverse, which loses digits as :math:`1 - R` vanishes.
        """
        self._check_packed(eps, "eps")
        return self._log_density(eps, self._log_scale)

    def _log_density(self, eps: Tensor, log_scale: Tensor) -> Tensor:
        # By the determinant lemma, |S| = 1 - R.
        return self._sum(-0.5 * (eps.square() + _LOG_2PI) - log_scale) - self.log_null

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
        if self.coupling == "paper":
            ratio = self._spread(self._sizes())
        else:
            ratio = self._spread(self._total_variance) / self.scale.square()
        minor = _minor(self.rho, self._major)
        own = 0.5 * torch.log1p(minor * (minor * ratio - 2.0))
        if self._major is not None:
            deviation = self.stddev / self.scale
            major = self._major.expand_as(deviation)
            own = own + torch.lerp(torch.ones_like(deviation), deviation, major).log()
        # A member alone has nothing in common with others, whose 1 - R may be no number.
        return torch.where(self._sizes() > 1.0, self._sum(own) - self.log_null, 0.0)

    # Where a member, the major one of its set, keeps next to nothing of its noise, this is not
    # formed as a difference. It is one that is alone; or, scaled, whose rho exceeds 1/2.

    @lazy_property
    def _major(self) -> Tensor | None:
        """1 for major members and 0 for others, ``[N, 1 or D]``; None if there are none."""
        if self.coupling == "paper":
            minor = self._spread(self._sizes()) != 1.0
        else:
            minor = self.rho.detach() <= 0.5
        return None if _is_seen(minor) else 1.0 - minor.to(self.rho.dtype)

    @lazy_property
    def _kept_by_major(self) -> Tensor:
        return torch.exp(self.log_null) + self._sum(_minor(self.rho, self._major))

    @lazy_property
    def _total_variance(self) -> Tensor:
        # Of members without coupling.
        return self._sum(self.scale.square())

    def _residual_norm(self, own: Tensor, weight: Tensor | None = None) -> Tensor:
        r"""Return :math:`\sqrt{\sum_j b_j (x_j - \sum_i x_i \rho_i)^2}`, ``[S, D]``."""
        # As deviations from the largest of a set, so that equal ones leave 1 - R as it is, and in
        # units of the largest term. What is detached cancels from the result.
        index = self.batch.unsqueeze(-1).expand_as(own)
        zeros = own.new_zeros(self._batch_shape)
        low, high = (
            torch.scatter_reduce(zeros, 0, index, own.detach(), reduce, include_self=False)
            for reduce in ("amin", "amax")
        )
        less = own - self._spread(high)
        shared = high * torch.exp(self.log_null) - self._sum(less * self.rho)
        first, last = shared.detach(), shared.detach() + low - high
        unit = torch.maximum(first.abs(), last.abs()).clamp(min=torch.finfo(own.dtype).tiny)
        terms = less * self._spread(1.0 / unit) + self._spread(shared / unit)
        square = terms * terms if weight is None else weight * (terms * terms)
        return unit * root(self._sum(square))

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

    def _sizes(self) -> Tensor:
        return self.sets.sizes(self.loc.dtype).unsqueeze(-1)

    def _check_packed(self, value: Tensor, name: str) -> None:
        check_real(value, name)
        if value.dim() < 2 or value.shape[-2:] != self.loc.shape:
            raise ValueError(
                f"{name} must be [*, N, D] = {['*', *self.loc.shape]} (got {list(value.shape)})"
            )
        check_device(value, name, self.loc.device, "loc")

    def _check_finite(self, **values: Tensor) -> None:
        for name, value in values.items():
            if self._validate_args and _can_look(value):
                check_values(value, torch.isfinite(value), f"{name} must be finite")

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}(num_parts={self.loc.shape[0]}, "
            f"batch_size={self.batch_size}, channels={self.loc.shape[1]}, "
            f"coupling={self.coupling!r})"
        )


class ResidualSumControlledNormal(SumControlledNormal):
    r"""A :class:`SumControlledNormal` whose means and scales are in units of a prior.

    .. math::
        \mu_i = m_i + s_i \hat\mu_i, \qquad \sigma_i = s_i e^{\hat\nu_i / 2}

    It is the residual posterior of NVAE. Its divergence from the prior, :meth:`kl_to_prior`, is
    exact where the prior's scales are tiny.

    Args:
        prior: :math:`\mathcal{N}(m, s^2)`, whose shape broadcasts with ``[N, D]``.
        shift: :math:`\hat\mu`, ``[N, D]``.
        log_variance: :math:`\hat\nu`, ``[N, D]``.

    The others, and what is raised, are those of :class:`SumControlledNormal`.

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
        batch: Tensor | PackedParts | None = None,
        batch_size: int | None = None,
        coupling: Coupling = "paper",
        validate_args: bool | None = None,
    ) -> None:
        _check_parameters(shift=shift, log_variance=log_variance, coupling_logits=coupling_logits)
        check_normal(prior, "prior", shift.shape[0], shift.shape[1], shift.device)
        self.prior = prior
        self.shift = shift
        self.log_variance = log_variance
        self._ratio = torch.exp(0.5 * log_variance)
        super().__init__(
            prior.loc + prior.scale * shift,
            prior.scale * self._ratio,
            coupling_logits,
            batch,
            batch_size,
            coupling,
            validate_args,
        )

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
    check_normal(q, "q", p.loc.shape[0], p.loc.shape[1], p.loc.device)
    # Ratios of scales are formed before they are squared, to spare small scales an underflow.
    ratio = p.scale / q.scale
    return _divergence(p, q, (p.loc - q.loc) / q.scale, ratio, 2.0 * ratio.log())


@register_kl(ResidualSumControlledNormal, Normal)
def _kl_residual_sum_controlled_normal_normal(p: ResidualSumControlledNormal, q: Normal) -> Tensor:
    check_normal(q, "q", p.loc.shape[0], p.loc.shape[1], p.loc.device)
    unit = p.prior.scale / q.scale
    shift = torch.addcmul((p.prior.loc - q.loc) / q.scale, unit, p.shift)
    return _divergence(p, q, shift, unit * p._ratio, p.log_variance + 2.0 * unit.log())


def _divergence(
    p: SumControlledNormal, q: Normal, shift: Tensor, ratio: Tensor, log_variance: Tensor
) -> Tensor:
    r"""Return the divergence from a factorised Gaussian, of what is in units of its scales.

    Twice that of a set is
    :math:`\sum_i [\hat\mu_i^2 + r_i^2 - 1 - \hat\nu_i - 2 \rho_i r_i^2] + \sum_i b_i - 2 \log(1-R)`
    with :math:`b_i = K (\rho_i r_i)^2` or :math:`\rho_i^2 \sum_j \sigma_j^2 / s_i^2`.
    """
    # A difference loses no more than the rounding error of the square of the ratio.
    major = None if _is_seen(ratio.detach() < 4.0) else p._major
    own = _minor(ratio, major)
    change = torch.expm1(log_variance) if major is None else (own - 1.0) * (own + 1.0)
    twice = change - log_variance + shift * shift
    share = p.rho * own
    if p.coupling == "paper":
        change = share * torch.sub(p._spread(p._sizes()) * share, own, alpha=2.0)
        twice = p._sum(twice + change)
    else:
        twice = p._sum(torch.sub(twice, share * own, alpha=2.0))
        share = _minor(p.rho, major) / q.scale
        twice = twice + p._total_variance * p._sum(share * share)
    if major is not None:
        kept = p._kept_by_major
        twice = twice + (kept * p._sum(ratio * major)).square()
        if p.coupling == "scaled":
            share = (1.0 - kept) * p._sum(major / q.scale)
            twice = twice + p._sum(_minor(p.scale, major).square()) * share.square()
    return 0.5 * twice - p.log_null


def _minor(value: Tensor, major: Tensor | None) -> Tensor:
    return value if major is None else value * (1.0 - major)


def _hypot(kept: Tensor, others: Tensor) -> Tensor:
    # Not none, where the gradient would be NaN.
    return torch.hypot(kept, others.clamp(min=torch.finfo(others.dtype).tiny))


def _can_look(value: Tensor) -> bool:
    """Return whether values can be looked at for free: on the CPU, and not while tracing."""
    if torch.compiler.is_compiling() or value.device.type != "cpu":
        return False
    return torch._C._functorch.peek_interpreter_stack() is None  # as under vmap


def _is_seen(condition: Tensor) -> bool:
    """Return whether something is known to hold for all entries."""
    return _can_look(condition) and bool(condition.all())


def _check_parameters(**parameters: Tensor) -> None:
    (first, like), *others = parameters.items()
    check_real(like, first)
    check_shape(like, first, ("N", "D"))
    for name, value in others:
        check_real(value, name)
        check_shape(value, name, like.shape)
        check_device(value, name, like.device, first)
