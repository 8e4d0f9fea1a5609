"""CompVAE as a map from standard normal noise to wholes."""

import math

import torch
from torch import Tensor

from compvae_pyg.distributions.normal import normal_sample
from compvae_pyg.distributions.observations import from_noise
from compvae_pyg.models import CompVAE
from compvae_pyg.nn import AnyParts, Fields
from compvae_pyg.nn.checks import check_device, check_model, check_real, check_shape, check_type
from compvae_pyg.nn.packed import map_context

__all__ = ["WholeFromNoise"]


class WholeFromNoise:
    r"""The generative model of a whole with given parts, as :math:`x = G(\varepsilon)`.

    Given the parts, their sum is Gaussian with added means and variances, so that one block of
    noise does for all of them, however many they are:

    .. math::
        \tilde w &= \textstyle\sum_i n_i a_i m_i
            + \bigl(\sum_i n_i a_i^2 s_i^2\bigr)^{1/2} \varepsilon_w,
            \qquad p(w_i \mid \ell_i) = \mathcal{N}(m_i, s_i^2) \\
        z &= \mu_z(\tilde w) + \sigma_z(\tilde w)\, \varepsilon_z, \qquad
        x = \mathbb{E}[x \mid z, \tilde w] \; \text{ or } \;
            T_{z, \tilde w}(\varepsilon_x)

    where :math:`T` maps noise to draws of :math:`p(x \mid z, \tilde w)`, see
    :func:`~compvae_pyg.distributions.from_noise`; of a Gaussian :math:`\mu + \sigma \varepsilon_x`.
    Preconditioned Crank-Nicolson moves of all :math:`\varepsilon_i` give :math:`\tilde w` the same
    distribution as moves of :math:`\varepsilon_w`, since the sum is linear: nothing is lost.

    Args:
        model: The model. Its prior of the parts is evaluated once, here.
        parts, count, weight, context: Parts of one whole, N rows, and its conditions, as for
            :meth:`CompVAE.generate`.
        observation_noise: Whether wholes are drawn from :math:`p(x \mid z, \tilde w)`, or its mean;
            by default as the model says.

    Attributes:
        num_channels: Dimension :math:`D` of the noise.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If an argument does not fit the parts, or these are not those of one whole.

    Example:
        >>> model = CompVAE.from_pretrained("dots-small")
        >>> red = {"color": torch.tensor([0]), "pos": torch.zeros(1, 2)}
        >>> draw = WholeFromNoise(model, red)
        >>> draw(torch.randn(5, draw.num_channels)).shape
        torch.Size([5, 3, 32, 32])
    """

    def __init__(
        self,
        model: CompVAE,
        parts: AnyParts,
        *,
        count: Tensor | None = None,
        weight: Tensor | None = None,
        context: Fields | None = None,
        observation_noise: bool | None = None,
    ) -> None:
        check_model(model)
        self.generator = model.generator
        self.event_shape = model.event_shape
        check_type(observation_noise, "observation_noise", bool, type(None))
        by_model = observation_noise is None
        self.observation_noise = bool(model.observation_noise if by_model else observation_noise)
        packed = self.generator.pack(parts, count=count, weight=weight, context=context)
        if packed.batch_size != 1:
            raise ValueError(f"parts must be of one whole (got {packed.batch_size})")
        with torch.no_grad():
            self.w_sum_prior = self.generator.w_sum_prior(packed)
            # One row for the parts that it stands for: their sum.
            self.rows = self.generator.prior_w(packed)
            self.weight = packed.weighted(torch.ones_like(self.rows.mean))
            w_sum = self.w_sum_prior.mean
            self.context = packed.context
            z_channels = self.generator.prior_z(w_sum, self.context).mean.shape[1]
        self.dtype, self.device = w_sum.dtype, w_sum.device
        x_channels = math.prod(self.event_shape) if self.observation_noise else 0
        self._sizes = [w_sum.shape[1], z_channels, x_channels]
        self.num_channels = sum(self._sizes)

    def latents(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return :math:`\tilde w`, ``[M, D_w]``, and :math:`z`, ``[M, D_z]``, of the noise."""
        of_w, of_z, _ = self._split(noise)
        w_sum = self.w_sum_prior.mean + self.w_sum_prior.stddev * of_w
        z_prior = self.generator.prior_z(w_sum, self._context(len(w_sum)))
        return w_sum, z_prior.mean + z_prior.stddev * of_z

    def __call__(self, noise: Tensor) -> Tensor:
        """Return the wholes, ``[M, *event]``, of noise ``[M, D]`` of the type of the latents.

        Raises:
            TypeError: If ``noise`` is not, or the decoder's distribution has no ``cdf``.
            ValueError: If ``noise`` is not ``[M, D]``.
        """
        likelihood = self.generator.likelihood(*self.latents(noise), self._context(len(noise)))
        if not self.observation_noise:
            return likelihood.mean
        return from_noise(likelihood, self._split(noise)[2].view(-1, *self.event_shape))

    def draw_parts(self, w_sum: Tensor, generator: torch.Generator | None = None) -> Tensor:
        r"""Draw the latents of the parts given their sums, exactly.

        .. math::
            w_i = w_i' + \frac{n_i a_i s_i^2}{\sum_j n_j a_j^2 s_j^2}
                \Bigl(\tilde w - \sum_j a_j w_j'\Bigr), \qquad
            w_i' \sim \mathcal{N}(n_i m_i, n_i s_i^2)

        Args:
            w_sum: Sums, ``[M, D_w]``, of the type of the latents.
            generator: Source of the randomness; by default the global one.

        Returns:
            Latents of the parts, ``[M, N, D_w]``; with counts, the sum of those of each row.
        """
        self._check(w_sum, "w_sum", self._sizes[0])
        free = normal_sample(self.rows.expand((w_sum.shape[0], *self.rows.mean.shape)), generator)
        total = self.w_sum_prior.variance
        share = torch.where(total > 0.0, self.weight * self.rows.variance / total, 0.0)
        return free + share * (w_sum - (self.weight * free).sum(dim=1)).unsqueeze(1)

    def _context(self, rows: int) -> Fields | None:
        return map_context(lambda value: value.expand(rows, *value.shape[1:]), self.context)

    def _split(self, noise: Tensor) -> tuple[Tensor, ...]:
        self._check(noise, "noise", self.num_channels)
        return noise.split(self._sizes, dim=1)

    def _check(self, value: Tensor, name: str, channels: int) -> None:
        check_real(value, name)
        check_shape(value, name, ("M", channels))
        check_device(value, name, self.device, "the model")
        if value.dtype != self.dtype:
            raise TypeError(f"{name} must hold {self.dtype} (got {value.dtype})")
