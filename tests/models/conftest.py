import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, MultivariateNormal, Normal

from compvae_pyg import CompVAE, CompVAEEncoder, CompVAEGenerator
from compvae_pyg.distributions import NormalNetwork, SumControlledNormal
from compvae_pyg.models import Posterior, SeparateEmbedding
from compvae_pyg.nn import PackedParts

PART, W, Z, WHOLE = 3, 4, 2, 5


class Decoder(nn.Module):
    """A decoder that is no linear map of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.lin1 = nn.Linear(W + Z, 8)
        self.lin2 = nn.Linear(8, 2 * WHOLE)

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        return self.lin2(torch.tanh(self.lin1(torch.cat([w_sum, z], dim=-1))))


@pytest.fixture(scope="session")
def small_model() -> Callable[..., CompVAE]:
    """Build a small model of parts ``[N, 3]`` and wholes ``[S, 5]``, in 64 bits."""

    def build(*, residual_posterior: bool = False, **encoder: object) -> CompVAE:
        torch.manual_seed(11)
        return CompVAE(
            CompVAEEncoder(
                6, 4, hidden_channels=8, w_channels=W, z_channels=Z, num_blocks=2, **encoder
            ),
            CompVAEGenerator(
                w_prior=NormalNetwork(nn.Linear(PART, 2 * W), min_scale=0.01),
                z_prior=NormalNetwork(nn.Linear(W, 2 * Z), min_scale=0.01),
                decoder=NormalNetwork(Decoder(), min_scale=0.01, event_dims=1),
            ),
            SeparateEmbedding(nn.Linear(WHOLE, 6), nn.Linear(PART, 4)),
            event_shape=(WHOLE,),
            residual_posterior=residual_posterior,
        ).double()

    return build


@pytest.fixture(scope="session")
def draw() -> Callable[..., Tensor]:
    """Standard normal numbers in 64 bits, of a seed of their own."""

    def normal(*shape: int, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return normal


@pytest.fixture(scope="session")
def seeded() -> Callable:
    """Run a block with the global random numbers of a seed."""

    @contextmanager
    def block(seed: int) -> Iterator[None]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield

    return block


# A linear-Gaussian CompVAE, whose likelihood has a closed form.


class Fixed(nn.Module):
    """A network of fixed numbers."""

    def __init__(self, **numbers: Tensor) -> None:
        super().__init__()
        for name, value in numbers.items():
            self.register_buffer(name, value)


class LinearNormal(Fixed):
    def __init__(self, weight: Tensor, bias: Tensor, scale: Tensor) -> None:
        super().__init__(weight=weight, bias=bias, scale=scale)

    def forward(self, condition: Tensor) -> Normal:
        loc = condition @ self.weight.T + self.bias
        return Normal(loc, self.scale.expand_as(loc), validate_args=False)


class PartPrior(LinearNormal):
    """Its scales may depend on the part, through the part's first feature."""

    def __init__(self, weight: Tensor, bias: Tensor, scale: Tensor, slope: float) -> None:
        super().__init__(weight, bias, scale)
        self.slope = slope

    def forward(self, parts: Tensor) -> Normal:
        loc = super().forward(parts).mean
        return Normal(loc, self.scale * torch.exp(self.slope * parts[:, :1]), validate_args=False)


class LinearDecoder(Fixed):
    def __init__(self, of_sum: Tensor, of_z: Tensor, bias: Tensor, scale: Tensor) -> None:
        super().__init__(of_sum=of_sum, of_z=of_z, bias=bias, scale=scale)

    def forward(self, w_sum: Tensor, z: Tensor) -> Independent:
        loc = w_sum @ self.of_sum.T + z @ self.of_z.T + self.bias
        return Independent(Normal(loc, self.scale.expand_as(loc), validate_args=False), 1)


class Features(nn.Module):
    """Wholes and parts are their own features."""

    def forward(self, whole: Tensor, parts: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        return whole, parts


@dataclass
class LinearGaussian:
    """A model with the moments of its wholes."""

    model: CompVAE

    def sums(self, parts: Tensor, batch: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
        prior = self.model.generator.w_prior(parts)
        zero = torch.zeros(batch_size, prior.mean.shape[1], dtype=torch.float64)
        return zero.index_add(0, batch, prior.mean), zero.index_add(0, batch, prior.variance)

    def mean_law(self, parts: Tensor, batch: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
        """Mean and covariance of E[x | z, w_sum], by wholes."""
        z, x = self.model.generator.z_prior, self.model.generator.decoder
        loc, variance = self.sums(parts, batch, batch_size)
        through = x.of_sum + x.of_z @ z.weight
        mean = loc @ through.T + z.bias @ x.of_z.T + x.bias
        covariance = (through * variance.unsqueeze(1)) @ through.T
        return mean, covariance + (x.of_z * z.scale.square()) @ x.of_z.T

    def law(self, parts: Tensor, batch: Tensor, batch_size: int) -> MultivariateNormal:
        """The law of the wholes."""
        mean, covariance = self.mean_law(parts, batch, batch_size)
        noise = self.model.generator.decoder.scale.square()
        return MultivariateNormal(mean, covariance + torch.diag(noise))


class ExactPosterior(nn.Module):
    """The true posterior of a linear-Gaussian model with one coordinate in ``w`` and in ``z``.

    A row that stands for several parts has the prior of their sum. The wholes tell of the parts
    through their sum alone, with precision h, so that the parts' posterior has the precision
    diag(1 / s_i^2) + h 1 1^T. By Sherman-Morrison its covariance is that of the scaled coupling
    with sigma_i = s_i and rho_i = R s_i^2 / V, V = sum s_i^2, (1 - R)^2 = 1 / (1 + h V); for equal
    s_i, where the couplings coincide, that of the paper's.
    """

    z_channels = 1

    def __init__(self, generator: CompVAEGenerator, coupling: str) -> None:
        super().__init__()
        self.coupling = coupling
        self.generators = (generator,)  # not a submodule of two modules

    def forward(
        self,
        whole: Tensor,
        parts: Tensor,
        batch: Tensor | PackedParts,
        batch_size: int | None = None,
        *,
        w_prior: Normal | None = None,
        z: Tensor | None = None,
        z_eps: Tensor | None = None,
        part_eps: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Posterior:
        model = self.generators[0]
        z_law, x_law = model.z_prior, model.decoder
        slope, x_noise, z_noise = z_law.weight, x_law.scale.square(), z_law.scale.square()
        sets = batch if isinstance(batch, PackedParts) else PackedParts(parts, batch, batch_size)
        batch, batch_size = sets.batch, sets.batch_size
        prior = model.prior_w(sets.with_fields(parts))
        zero = torch.zeros(batch_size, 1, dtype=torch.float64)
        mean = zero.index_add(0, batch, prior.mean)
        variance = zero.index_add(0, batch, prior.variance)

        # z given x, by conditioning their joint law.
        through = x_law.of_sum + x_law.of_z @ slope
        z_mean = mean @ slope.T + z_law.bias
        z_variance = variance * slope.square() + z_noise
        cross = variance * slope * through.T + z_noise * x_law.of_z.T
        x_mean = mean @ x_law.of_sum.T + z_mean @ x_law.of_z.T + x_law.bias
        x_covariance = (
            variance.unsqueeze(-1) * (through @ through.T)
            + z_noise * (x_law.of_z @ x_law.of_z.T)
            + torch.diag(x_noise)
        )
        gain = torch.linalg.solve(x_covariance, cross.unsqueeze(-1)).squeeze(-1)
        posterior_mean = z_mean + ((whole - x_mean) * gain).sum(-1, keepdim=True)
        posterior_variance = z_variance - (cross * gain).sum(-1, keepdim=True)
        z_posterior = Normal(posterior_mean, posterior_variance.sqrt(), validate_args=False)
        if z is None:
            if z_eps is None:
                z_eps = torch.randn(z_variance.shape, generator=generator, dtype=torch.float64)
            z = posterior_mean + posterior_variance.sqrt() * z_eps

        # The parts given x and z.
        told = ((whole - z @ x_law.of_z.T - x_law.bias) / x_noise) @ x_law.of_sum
        told = told + (z - z_law.bias) * slope / z_noise
        precision = (x_law.of_sum.square().T / x_noise).sum() + slope.square() / z_noise
        step = (told - precision * mean) / (1.0 + precision * variance)
        loc = prior.mean + prior.variance * step[batch]
        null = (1.0 + precision * variance).rsqrt()
        rho = ((1.0 - null) / variance)[batch] * prior.variance
        logits = torch.log(rho / null[batch])
        w = SumControlledNormal(loc, prior.stddev, logits, batch, batch_size, self.coupling)
        return Posterior(z_posterior, z, w)


class BesideThePosterior(nn.Module):
    """A posterior that is shifted and wider, so that no importance weight is far out."""

    z_channels = 1

    def __init__(self, exact: ExactPosterior) -> None:
        super().__init__()
        self.exact = exact

    def forward(self, *inputs, z=None, z_eps=None, generator=None, **options) -> Posterior:
        none = torch.zeros(len(inputs[0]), 1, dtype=torch.float64)
        z_posterior = self.exact(*inputs, z=none).z
        loc, scale = z_posterior.mean + 0.5 * z_posterior.stddev, 1.3 * z_posterior.stddev
        if z is None:
            if z_eps is None:
                z_eps = torch.randn(loc.shape, generator=generator, dtype=torch.float64)
            z = loc + scale * z_eps
        w = self.exact(*inputs, z=z, **options).w
        w = SumControlledNormal(
            w.transform(torch.full_like(w.loc, 0.3)),
            1.3 * w.scale,
            w.coupling_logits,
            w.batch,
            w.batch_size,
            w.coupling,
        )
        return Posterior(Normal(loc, scale), z, w)


@pytest.fixture(scope="session")
def beside_the_posterior() -> Callable[[ExactPosterior], BesideThePosterior]:
    """Make an exact posterior inexact."""
    return BesideThePosterior


@pytest.fixture(scope="session")
def linear_gaussian(draw) -> Callable[..., LinearGaussian]:
    """Build a linear-Gaussian model of parts ``[N, 2]`` and wholes ``[S, 3]``."""

    def build(
        encoder: str | CompVAEEncoder, *, w: int = 1, z: int = 1, slope: float = 0.0
    ) -> LinearGaussian:
        numbers = iter(draw(200, seed=4))

        def take(*shape: int) -> Tensor:
            return torch.stack([next(numbers) for _ in range(math.prod(shape))]).view(shape)

        generator = CompVAEGenerator(
            PartPrior(take(w, 2), take(w), (0.3 * take(w)).exp(), slope),
            LinearNormal(0.5 * take(z, w), take(z), (0.3 * take(z)).exp()),
            LinearDecoder(take(3, w), take(3, z), take(3), 0.5 * (0.3 * take(3)).exp()),
        )
        if isinstance(encoder, str):
            encoder = ExactPosterior(generator, encoder)
        return LinearGaussian(CompVAE(encoder, generator, Features(), event_shape=(3,)))

    return build
