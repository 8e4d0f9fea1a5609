"""CompVAE as a map from standard normal noise to wholes."""

import math

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from compvae_pyg.models import CompVAE, Parts, check_parts, normal_sample
from compvae_pyg.models.checks import check_model, check_type
from compvae_pyg.nn.checks import check_fits, check_real, check_shape

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
            \mathbb{E}[x \mid z, \tilde w] + \mathrm{sd}[x \mid z, \tilde w]\, \varepsilon_x

    A chain of preconditioned Crank-Nicolson moves of all :math:`\varepsilon_i` has the same law in
    :math:`\tilde w` as one of :math:`\varepsilon_w`, since the sum is linear: nothing is lost.

    Args:
        model: The model.
        parts: Parts of one whole, N rows.
        amounts: How many parts each row stands for, :math:`n`, ``[N]``, integers or real numbers,
            not negative; by default one each.
        weight: Weight :math:`a` of every part of a row, ``[N]``, of any sign; by default 1.
        observation_noise: Whether wholes are drawn from :math:`p(x \mid z, \tilde w)`; by default
            they are its mean, as in :meth:`CompVAE.generate`.

    Attributes:
        num_channels: Dimension :math:`D` of the noise.

    Raises:
        TypeError: If ``amounts`` or ``weight`` is not a tensor of numbers.
        ValueError: If one of them does not fit the parts or is not finite, or an amount is
            negative.

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
        parts: Parts,
        *,
        amounts: Tensor | None = None,
        weight: Tensor | None = None,
        observation_noise: bool = False,
    ) -> None:
        check_model(model)
        num_parts, device = check_parts(parts)
        if amounts is None:
            amounts = torch.ones(num_parts, device=device)
        check_type(amounts, "amounts", Tensor)
        check_shape(amounts, "amounts", (num_parts,))
        self.generator = model.generator
        self.event_shape = model.event_shape
        self.observation_noise = observation_noise
        with torch.no_grad():
            amounts = amounts.unsqueeze(0)
            self.w_sum_prior = self.generator.amounts_prior(amounts, parts, weight=weight)
            prior = self.generator.w_prior(parts)
            number = amounts.to(prior.mean).T
            # One row for the parts that it stands for: their sum.
            self.rows = Normal(
                number * prior.mean, number.sqrt() * prior.stddev, validate_args=False
            )
            self.weight = prior.mean.new_ones(num_parts)
            if weight is not None:
                self.weight = weight.detach().to(prior.mean.dtype)
            w_sum = self.w_sum_prior.mean
            sizes = [w_sum.shape[1], self.generator.z_prior(w_sum).mean.shape[1]]
        sizes.append(math.prod(self.event_shape) if observation_noise else 0)
        self._sizes = sizes
        self.num_channels = sum(sizes)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the noise."""
        return self.w_sum_prior.mean.dtype

    @property
    def device(self) -> torch.device:
        """Where the noise is to be."""
        return self.w_sum_prior.mean.device

    def latents(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return :math:`\tilde w`, ``[M, D_w]``, and :math:`z`, ``[M, D_z]``, of noise ``[M, D]``.

        Raises:
            ValueError: If ``noise`` is not ``[M, D]``.
        """
        of_w, of_z, _ = self._split(noise)
        w_sum = self.w_sum_prior.mean + self.w_sum_prior.stddev * of_w
        z_prior = self.generator.z_prior(w_sum)
        return w_sum, z_prior.mean + z_prior.stddev * of_z

    def __call__(self, noise: Tensor) -> Tensor:
        """Return the wholes, ``[M, *event]``, of noise ``[M, D]``.

        Raises:
            ValueError: If ``noise`` is not ``[M, D]``.
            TypeError: If observation noise is asked of a decoder that is not Gaussian.
        """
        likelihood = self.generator.decoder(*self.latents(noise))
        if not self.observation_noise:
            return likelihood.mean
        inner = likelihood.base_dist if isinstance(likelihood, Independent) else likelihood
        if not isinstance(inner, Normal):
            raise TypeError(
                f"observation noise needs a decoder that returns a Normal (got {likelihood})"
            )
        of_x = self._split(noise)[2].view(-1, *self.event_shape)
        return likelihood.mean + likelihood.stddev * of_x

    def draw_parts(self, w_sum: Tensor, generator: torch.Generator | None = None) -> Tensor:
        r"""Draw the latents of the parts given their sums.

        .. math::
            w_i = w_i' + \frac{n_i a_i s_i^2}{\sum_j n_j a_j^2 s_j^2}
                \Bigl(\tilde w - \sum_j a_j w_j'\Bigr), \qquad
            w_i' \sim \mathcal{N}(n_i m_i, n_i s_i^2)

        which is exact: the whole tells of its parts through their sum alone.

        Args:
            w_sum: Sums, ``[M, D_w]``.
            generator: Source of the randomness; by default the global one.

        Returns:
            Latents of the parts, ``[M, N, D_w]``; with amounts, the sum of those of each row.
        """
        self._check(w_sum, "w_sum", "M", self.w_sum_prior.mean.shape[1])
        free = normal_sample(self.rows.expand((w_sum.shape[0], *self.rows.mean.shape)), generator)
        weight = self.weight.unsqueeze(1)
        total = self.w_sum_prior.variance
        share = torch.where(total > 0.0, weight * self.rows.variance / total, 0.0)
        return free + share * (w_sum - (weight * free).sum(dim=1)).unsqueeze(1)

    def _split(self, noise: Tensor) -> tuple[Tensor, ...]:
        self._check(noise, "noise", "M", self.num_channels)
        return noise.split(self._sizes, dim=1)

    def _check(self, value: Tensor, name: str, *shape: int | str) -> None:
        check_real(value, name)
        check_shape(value, name, shape)
        check_fits(value, name, self.w_sum_prior.mean)
