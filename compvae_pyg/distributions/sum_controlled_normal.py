"""A Gaussian over the members of each set whose sum can be made as certain as one likes."""

import math
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal, constraints, register_kl
from torch.distributions.utils import lazy_property
from torch_geometric.utils import scatter

from compvae_pyg.nn.checks import check_real
from compvae_pyg.nn.sets import resolve_batch, set_sizes, set_softmax_with_null, set_sum
from compvae_pyg.nn.variance import root

__all__ = ["Coupling", "SumControlledNormal"]

Coupling = Literal["paper", "scaled"]

_LOG_2PI = math.log(2.0 * math.pi)


class _Relative(NamedTuple):
    """What a law in units of a prior is made of, and its divergence from that prior."""

    prior: Normal
    shift: Tensor
    log_variance: Tensor
    ratio: Tensor


class SumControlledNormal(Distribution):
    r"""Normal law of packed sets whose members are coupled through their sum (paper, appendix C).

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

    The densities of a set belong to it as a whole: ``batch_shape`` is ``[S, D]``, and it is the
    shape of ``log_prob``, ``entropy`` and of the divergence. Samples are packed, ``[*, N, D]``.

    Args:
        loc: :math:`\mu`, ``[N, D]``.
        scale: :math:`\sigma > 0`, ``[N, D]``.
        coupling_logits: :math:`\tilde\rho`, ``[N, D]``; as they fall to :math:`-\infty` the
            members become independent.
        batch: Set of each member, ``[N]``, sorted; ``None`` means one set.
        batch_size: Number of sets :math:`S`; needed when sets are empty.
        coupling: ``"paper"`` or ``"scaled"``.
        validate_args: As in :class:`torch.distributions.Distribution`.

    Raises:
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
        batch: Tensor | None = None,
        batch_size: int | None = None,
        coupling: Coupling = "paper",
        validate_args: bool | None = None,
    ) -> None:
        check_real(loc, "loc")
        if loc.dim() != 2:
            raise ValueError(f"loc must be [N, D] (got {list(loc.shape)})")
        for name, value in (("scale", scale), ("coupling_logits", coupling_logits)):
            check_real(value, name)
            if value.shape != loc.shape:
                raise ValueError(
                    f"{name} must have the shape of loc (got {list(value.shape)}, "
                    f"expected {list(loc.shape)})"
                )
            if value.device != loc.device:
                raise ValueError(
                    f"{name} must be on the device of loc (got {value.device}, "
                    f"expected {loc.device})"
                )
        if coupling not in get_args(Coupling):
            raise ValueError(f"coupling must be 'paper' or 'scaled' (got {coupling!r})")
        self.loc = loc
        self.scale = scale
        self.coupling_logits = coupling_logits
        self.coupling = coupling
        self._relative: _Relative | None = None
        self.batch, self.batch_size = resolve_batch(loc.shape[0], batch, batch_size, loc.device)
        # rho is the share of its set's total noise that each member gives back.
        self.rho, self.log_null = set_softmax_with_null(
            coupling_logits, self.batch, self.batch_size
        )
        shape = torch.Size([self.batch_size, loc.shape[1]])
        super().__init__(batch_shape=shape, validate_args=False)
        # Its own checks, which say in a line what is wrong and where.
        self._validate_args = (
            Distribution._validate_args if validate_args is None else bool(validate_args)
        )
        if self._validate_args and not torch.compiler.is_compiling():
            for name, value in (
                ("loc", loc),
                ("scale", scale),
                ("coupling_logits", coupling_logits),
            ):
                _refuse_unless(torch.isfinite(value), value, f"{name} must be finite")
            _refuse_unless(scale > 0, scale, "scale must be positive")

    @classmethod
    def in_units_of(
        cls,
        prior: Normal,
        shift: Tensor,
        log_variance: Tensor,
        coupling_logits: Tensor,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        coupling: Coupling = "paper",
        validate_args: bool | None = None,
    ) -> "SumControlledNormal":
        r"""Return a law whose means and scales are in units of a prior.

        .. math::
            \mu_i = m_i + s_i \hat\mu_i, \qquad \sigma_i = s_i e^{\hat\nu_i / 2}

        Its divergence from that very prior takes less than from others, and is as precise where
        the prior's scales are tiny.

        Args:
            prior: :math:`\mathcal{N}(m, s^2)`, whose shape broadcasts with ``[N, D]``.
            shift: :math:`\hat\mu`, ``[N, D]``.
            log_variance: :math:`\hat\nu`, ``[N, D]``.
            coupling_logits: :math:`\tilde\rho`, ``[N, D]``.
            batch: Set of each member, ``[N]``, sorted; ``None`` means one set.
            batch_size: Number of sets :math:`S`; needed when sets are empty.
            coupling: ``"paper"`` or ``"scaled"``.
            validate_args: As in :class:`torch.distributions.Distribution`.

        Raises:
            ValueError: As the constructor.

        Example:
            >>> zero = torch.zeros(2, 1)
            >>> prior = Normal(zero, torch.tensor([[1.0], [1e-6]]))
            >>> q = SumControlledNormal.in_units_of(prior, zero + 1.0, zero, zero - 100.0)
            >>> torch.distributions.kl_divergence(q, prior)
            tensor([[1.]])
        """
        ratio = torch.exp(0.5 * log_variance)
        law = cls(
            torch.addcmul(prior.loc, prior.scale, shift),
            prior.scale * ratio,
            coupling_logits,
            batch,
            batch_size,
            coupling,
            validate_args,
        )
        law._relative = _Relative(prior, shift, log_variance, ratio)
        return law

    def expand(self, batch_shape: Any, _instance: Any = None) -> "SumControlledNormal":
        """Not defined: the members of packed sets cannot be broadcast."""
        raise NotImplementedError("SumControlledNormal cannot be expanded: its sets are packed")

    def _sum(self, value: Tensor) -> Tensor:
        return set_sum(value, self.batch, self.batch_size, dim=-2)

    def _spread(self, value: Tensor) -> Tensor:
        return value.index_select(-2, self.batch)

    def _check_packed(self, value: Tensor, name: str) -> None:
        check_real(value, name)
        if value.dim() < 2 or value.shape[-2:] != self.loc.shape:
            raise ValueError(
                f"{name} must be [*, N, D] = {['*', *self.loc.shape]} (got {list(value.shape)})"
            )
        if value.device != self.loc.device:
            raise ValueError(
                f"{name} must be on the device of loc (got {value.device}, "
                f"expected {self.loc.device})"
            )

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
        own = self.scale.square()
        kept, others = self._kept(), self._spread(self._sizes()) - 1.0
        if self.coupling == "paper":
            return (kept.square() + others * self.rho.square()) * own
        total = self._spread(self._sum(own))
        return kept.square() * own + self.rho.square() * (total - own).clamp(min=0.0)

    @property
    def marginals(self) -> Normal:
        """Law of each member by itself, a Normal over ``[N, D]``."""
        return Normal(self.mean, root(self.variance), validate_args=False)

    @property
    def sum_mean(self) -> Tensor:
        r"""Mean of each set's sum, :math:`\sum_i \mu_i`, ``[S, D]``."""
        return self._sum(self.loc)

    @property
    def sum_variance(self) -> Tensor:
        """Variance of each set's sum, ``[S, D]``."""
        if self.coupling == "paper":
            given_back = self._spread(self._sum(self.scale * self.rho))
            return self._sum((self.scale - given_back).square())
        return torch.exp(2.0 * self.log_null) * self._total_variance

    @property
    def sum_law(self) -> Normal:
        r"""Law of each set's sum :math:`\sum_i w_i`, a Normal over ``[S, D]``."""
        if self.coupling == "paper":
            scale = root(self.sum_variance)
        else:
            scale = torch.exp(self.log_null) * root(self._total_variance)
        return Normal(self.sum_mean, scale, validate_args=False)

    @lazy_property
    def _total_variance(self) -> Tensor:
        # Of members without coupling; of use to the law of the sum and to divergences.
        return self._sum(self.scale.square())

    def weighted_sum(self, weight: Tensor) -> Normal:
        r"""Law of each set's weighted sum :math:`\sum_i a_i w_i`, a Normal over ``[S, D]``.

        Its mean is :math:`\sum_i a_i \mu_i`, and its variance

        .. math::
            \text{paper:} \; \sum_j \Bigl(a_j \sigma_j - \sum_i a_i \sigma_i \rho_i\Bigr)^2,
            \qquad
            \text{scaled:} \; \sum_j \sigma_j^2 \Bigl(a_j - \sum_i a_i \rho_i\Bigr)^2.

        Args:
            weight: :math:`a`, ``[N]``, of any sign.

        Raises:
            TypeError: If ``weight`` is no tensor of real numbers.
            ValueError: If it is not ``[N]``, or, with validation, not finite.

        Example:
            >>> q = SumControlledNormal(torch.ones(2, 1), torch.ones(2, 1), torch.zeros(2, 1))
            >>> q.weighted_sum(torch.tensor([1.0, 0.5])).mean
            tensor([[1.5000]])
        """
        if not isinstance(weight, Tensor) or weight.dtype == torch.bool or weight.is_complex():
            kind = weight.dtype if isinstance(weight, Tensor) else type(weight).__name__
            raise TypeError(f"weight must be a tensor of real numbers (got {kind})")
        if weight.shape != self.loc.shape[:1]:
            raise ValueError(
                f"weight must be [N] = {[self.loc.shape[0]]} (got {list(weight.shape)})"
            )
        if weight.device != self.loc.device:
            raise ValueError(
                f"weight must be on the device of loc (got {weight.device}, "
                f"expected {self.loc.device})"
            )
        if self._validate_args and not torch.compiler.is_compiling():
            _refuse_unless(torch.isfinite(weight), weight, "weight must be finite")
        weight = weight.to(self.loc.dtype).unsqueeze(-1)
        if self.coupling == "paper":
            own = weight * self.scale
            left = own - self._spread(self._sum(own * self.rho))
        else:
            # Relative to the largest weight of a set, so that equal ones leave 1 - R as it is.
            # That weight cancels from the result: no gradient need flow through it.
            top = scatter(weight.detach(), self.batch, 0, self.batch_size, reduce="max")
            less = weight - self._spread(top)
            shared = top * torch.exp(self.log_null) - self._sum(less * self.rho)
            left = self.scale * (less + self._spread(shared))
        scale = root(self._sum(left.square()))
        return Normal(self._sum(weight * self.loc), scale, validate_args=False)

    def _sizes(self) -> Tensor:
        return set_sizes(self.batch, self.batch_size, self.loc.dtype).unsqueeze(-1)

    def transform(self, noise: Tensor) -> Tensor:
        r"""Map standard normal noise :math:`\varepsilon`, ``[*, N, D]``, to a sample.

        Raises:
            ValueError: If ``noise`` is not ``[*, N, D]``.
        """
        self._check_packed(noise, "noise")
        if self.coupling == "paper":
            return self.loc + self.scale * (noise - self.rho * self._spread(self._sum(noise)))
        own = self.scale * noise
        return self.loc + own - self.rho * self._spread(self._sum(own))

    def inverse(self, value: Tensor) -> Tensor:
        r"""Noise :math:`\varepsilon` that :meth:`transform` maps to ``value``, ``[*, N, D]``.

        By Sherman-Morrison, :math:`S^{-1} = I + \rho \mathbf{1}^\top / (1 - R)`.

        Raises:
            ValueError: If ``value`` is not ``[*, N, D]``.
        """
        self._check_packed(value, "value")
        rescale = torch.exp(-self.log_null)
        centred = value - self.loc
        if self.coupling == "paper":
            centred = centred / self.scale
            return centred + self.rho * self._spread(self._sum(centred) * rescale)
        return (centred + self.rho * self._spread(self._sum(centred) * rescale)) / self.scale

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw samples through which gradients flow, ``[*sample_shape, N, D]``."""
        try:
            shape = torch.Size(sample_shape) + self.loc.shape
        except TypeError as error:
            raise TypeError(
                f"sample_shape must be a tuple of integers (got {sample_shape!r})"
            ) from error
        if any(size < 0 for size in shape):
            raise ValueError(f"sample_shape must not be negative (got {sample_shape})")
        return self.transform(torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device))

    def log_prob(self, value: Tensor) -> Tensor:
        r"""Log-density of each set in nats, ``[*, S, D]``.

        .. math::
            \sum_i [\log \mathcal{N}(\varepsilon_i; 0, 1) - \log \sigma_i] - \log(1 - R)

        Raises:
            ValueError: If ``value`` is not ``[*, N, D]``, or, with validation, not finite.
        """
        noise = self.inverse(value)
        if self._validate_args and not bool(torch.isfinite(value).all()):
            raise ValueError("value must be finite (got NaN or infinity)")
        return self.log_prob_from_noise(noise)

    def log_prob_from_noise(self, noise: Tensor) -> Tensor:
        r"""Log-density of ``transform(noise)`` in nats, ``[*, S, D]``.

        For one's own samples: it spares the inverse, which loses digits as :math:`1 - R` vanishes.

        Raises:
            ValueError: If ``noise`` is not ``[*, N, D]``.
        """
        self._check_packed(noise, "noise")
        per_member = -0.5 * (noise.square() + _LOG_2PI) - self.scale.log()
        return self._sum(per_member) - self.log_null

    def entropy(self) -> Tensor:
        r"""Differential entropy of each set in nats, ``[S, D]``.

        .. math::
            \tfrac{K}{2}(1 + \log 2\pi) + \sum_i \log \sigma_i + \log(1 - R)
        """
        return self._sum(0.5 * (1.0 + _LOG_2PI) + self.scale.log()) + self.log_null

    def total_correlation(self) -> Tensor:
        r"""Information in nats that the members of a set have in common, ``[S, D]``.

        .. math::
            \mathrm{KL}\Bigl(q \Big\| \prod_i q_i\Bigr)
                = \sum_i \log \frac{\mathrm{sd}(w_i)}{\sigma_i} - \log(1 - R) \geq 0

        with :math:`q_i` of :attr:`marginals`. The divergence from a law of independent members
        :math:`p_i` is that of the marginals and this:
        :math:`\mathrm{KL}(q \| \prod_i p_i) = \sum_i \mathrm{KL}(q_i \| p_i)
        + \mathrm{KL}(q \| \prod_i q_i)`.

        Example:
            >>> one, logits = torch.ones(2, 1), torch.zeros(2, 1)
            >>> SumControlledNormal(one, one, logits).total_correlation()  # log(5 / 3)
            tensor([[0.5108]])
        """
        return self._sum(0.5 * self.variance.log() - self.scale.log()) - self.log_null

    def _kept(self) -> Tensor:
        # 1 - rho_i, from what is left to the others: exactly 1 - R in a set of one.
        others = self._spread(self._sum(self.rho)) - self.rho
        return self._spread(torch.exp(self.log_null)) + others.clamp(min=0.0)

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}(num_parts={self.loc.shape[0]}, "
            f"batch_size={self.batch_size}, channels={self.loc.shape[1]}, "
            f"coupling={self.coupling!r})"
        )


def _refuse_unless(good: Tensor, value: Tensor, demand: str) -> None:
    if not bool(good.all()):
        at = (~good).nonzero()[0].tolist()
        raise ValueError(f"{demand} (got {value[tuple(at)].item()} at {at})")


@register_kl(SumControlledNormal, Normal)
def _kl_sum_controlled_normal_normal(p: SumControlledNormal, q: Normal) -> Tensor:
    # KL to a factorised Gaussian, closed form in each set and coordinate, [S, D].
    shape = tuple(q.loc.shape)
    padded = (1,) * (2 - len(shape)) + shape
    if len(padded) != 2 or any(
        size not in (1, wanted) for size, wanted in zip(padded, p.loc.shape, strict=True)
    ):
        raise ValueError(
            f"the prior must be a law over [N, D] = {list(p.loc.shape)} (got {list(shape)})"
        )
    if q.loc.device != p.loc.device:
        raise ValueError(
            f"the prior must be on the device of loc (got {q.loc.device}, expected {p.loc.device})"
        )
    if p._relative is not None and p._relative.prior is q:
        _, shift, log_variance, ratio = p._relative
    else:
        # Ratios of scales are formed before they are squared, to spare small scales an underflow.
        ratio = p.scale / q.scale
        shift, log_variance = (p.loc - q.loc) / q.scale, 2.0 * ratio.log()
    kept = torch.rsub(p.rho, 1.0, alpha=2.0)  # 1 - 2 rho
    if p.coupling == "paper":
        kept = torch.addcmul(kept, p._spread(p._sizes()), p.rho.square())
    # Twice the divergence, but for what belongs to sets: each pass over the members counts.
    twice = torch.addcmul(shift.square() - log_variance, kept, ratio.square())
    if p.coupling == "scaled":
        share = p.rho / q.scale
        twice = torch.addcmul(twice, share.square(), p._spread(p._total_variance))
    return 0.5 * (p._sum(twice) - p._sizes()) - p.log_null
