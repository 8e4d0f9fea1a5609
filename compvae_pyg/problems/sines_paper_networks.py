r"""The paper's own networks of the sines problem, to the layer (appendix A.1, tables 1 to 6).

Sizes are those of the tables, :math:`D_w = 1024` and :math:`D_z = 256`; ``docs/errata.md`` lists
what the tables leave out or get wrong, and what is done here.
"""

import torch
from torch import Tensor, nn

from compvae_pyg.distributions import Coupling
from compvae_pyg.models import (
    CompVAE,
    CompVAEEncoder,
    CompVAEGenerator,
    NormalNetwork,
    Parts,
    SeparateEmbedding,
    register_architecture,
)
from compvae_pyg.nn import Residual
from compvae_pyg.problems.checks import check_categories, with_checked_options

__all__ = [
    "CategoryEmbedding",
    "CategoryPrior",
    "CurveDecoder",
    "CurveFeatures",
    "CurvePosterior",
    "CurvePrior",
    "build_sines_paper",
]

CURVE_LENGTH = 200
W_CHANNELS = 1024
Z_CHANNELS = 256
HIDDEN_CHANNELS = 2048
FEATURE_CHANNELS = 800


class CategoryPrior(nn.Module):
    r""":math:`p(w_i \mid \ell_i)`: a mean and a log-variance learnt for each category (A.1.1).

    Args:
        num_categories: Number of categories.

    Shapes:
        - **input:** category :math:`(N)`
        - **output:** :math:`(N, 2 D_w)`, means and log-variances
    """

    def __init__(self, num_categories: int) -> None:
        super().__init__()
        self.num_categories = num_categories
        self.loc = nn.Embedding(num_categories, W_CHANNELS)
        self.log_variance = nn.Embedding(num_categories, W_CHANNELS)

    def forward(self, parts: Parts) -> Tensor:
        """Return means and log-variances, one after the other."""
        category = check_categories(parts, self.num_categories)
        return torch.cat([self.loc(category), self.log_variance(category)], dim=-1)


class CurvePrior(nn.Sequential):
    r""":math:`p(z \mid \tilde w)` (table 1).

    Shapes:
        - **input:** sum of the latents of the parts :math:`(S, D_w)`
        - **output:** :math:`(S, 2 D_z)`, means and log-variances
    """

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(W_CHANNELS, 1280),
            nn.ELU(),
            nn.Linear(1280, 2 * Z_CHANNELS),
        )


class CurveDecoder(nn.Module):
    r""":math:`p(x \mid z, \tilde w)` (table 2).

    The transposed convolutions make 270 points, of which the 200 in the middle are kept: those near
    the ends are reached by fewer cells of the layer before.

    Shapes:
        - **input:** sum of the latents of the parts :math:`(S, D_w)`, z :math:`(S, D_z)`
        - **output:** :math:`(S, 2 \cdot 200)`, means and log-variances

    Example:
        >>> with torch.device("meta"):
        ...     CurveDecoder()(torch.randn(3, 1024), torch.randn(3, 256)).shape
        torch.Size([3, 400])
    """

    first_kept = 35

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Sequential(
            nn.Linear(W_CHANNELS + Z_CHANNELS, 800),
            nn.ELU(),
            Residual(800),
            nn.ELU(),
            Residual(800),
            nn.ELU(),
            Residual(800),
            nn.ELU(),
        )
        self.conv = nn.Sequential(
            nn.Unflatten(1, (160, 5)),
            nn.ConvTranspose1d(160, 80, 4, stride=2),
            nn.ELU(),
            nn.Conv1d(80, 80, 7, padding=3),
            nn.ELU(),
            nn.ConvTranspose1d(80, 40, 8, stride=4),
            nn.ELU(),
            nn.Conv1d(40, 40, 7, padding=3),
            nn.ELU(),
            nn.ConvTranspose1d(40, 20, 15, stride=5),
            nn.ELU(),
            nn.Conv1d(20, 2, 7, padding=3),
        )

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        """Return means and log-variances of the points, one after the other."""
        out = self.conv(self.dense(torch.cat([w_sum, z], dim=-1)))
        return out[..., self.first_kept : self.first_kept + CURVE_LENGTH].flatten(1)


class CurveFeatures(nn.Sequential):
    r""":math:`\mathrm{pre}(x)`, shared by both inference networks (table 3).

    Shapes:
        - **input:** curves :math:`(S, 200)`
        - **output:** :math:`(S, 800)`
    """

    def __init__(self) -> None:
        super().__init__(
            nn.Unflatten(1, (1, CURVE_LENGTH)),
            nn.Conv1d(1, 40, 10, stride=5),
            nn.ELU(),
            nn.Conv1d(40, 40, 7, padding=3),
            nn.ELU(),
            nn.Conv1d(40, 80, 6, stride=3),
            nn.ELU(),
            nn.Conv1d(80, 80, 7, padding=3),
            nn.ELU(),
            nn.Conv1d(80, 160, 4, stride=2),
            nn.ELU(),
            nn.Flatten(),
            Residual(FEATURE_CHANNELS),
            nn.ELU(),
        )


class CurvePosterior(nn.Sequential):
    r""":math:`q(z \mid x)`, from :math:`\mathrm{pre}(x)` (table 5).

    Shapes:
        - **input:** features of the curves :math:`(S, 800)`
        - **output:** :math:`(S, 2 D_z)`, means and log-variances
    """

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(FEATURE_CHANNELS, 512),
            nn.ELU(),
            Residual(512),
            nn.ELU(),
            Residual(512),
            nn.ELU(),
            nn.Linear(512, 2 * Z_CHANNELS),
        )


class CategoryEmbedding(nn.Module):
    r""":math:`e(\ell_i)`, what the graph blocks see of a part (section 3.3.1 and table 6).

    Args:
        num_categories: Number of categories.

    Shapes:
        - **input:** category :math:`(N)`
        - **output:** :math:`(N, 1024)`
    """

    def __init__(self, num_categories: int) -> None:
        super().__init__()
        self.num_categories = num_categories
        self.embedding = nn.Embedding(num_categories, W_CHANNELS)

    def forward(self, parts: Parts) -> Tensor:
        """Return the features of the parts."""
        return self.embedding(check_categories(parts, self.num_categories))


@register_architecture("sines", "paper")
@with_checked_options
def build_sines_paper(
    num_categories: int = 10,
    coupling: Coupling = "paper",
    part_noise: bool = True,
    min_scale: float = 0.001,
    aggr: str = "sum",
) -> CompVAE:
    r"""Build the networks of the paper's appendix A.1.

    :math:`q(\{w_i\} \mid x, z, \{\ell_i\})` (table 6, of the graph blocks of table 4) is a
    :class:`~compvae_pyg.models.CompVAEEncoder` on 800 features of the curve, 256 of z and 1024 of
    the part: three graph blocks of width 2048, each followed by ELU, and Linear(2048, 3072).

    Args:
        num_categories: Number of categories of parts.
        coupling: Form of the coupled posterior.
        part_noise: Whether noise tells parts of one category apart in the graph blocks.
        min_scale: Smallest standard deviation of each Gaussian of the generative network.
        aggr: How the graph blocks aggregate messages, ``"sum"`` or ``"mean"``.

    Example:
        >>> with torch.device("meta"):
        ...     model = build_sines_paper()
        >>> sum(p.numel() for p in model.parameters())
        143248510
    """
    encoder = CompVAEEncoder(
        FEATURE_CHANNELS,
        W_CHANNELS,
        HIDDEN_CHANNELS,
        W_CHANNELS,
        Z_CHANNELS,
        num_blocks=3,
        coupling=coupling,
        part_noise=part_noise,
        z_head=CurvePosterior(),
        aggr=aggr,
    )
    return CompVAE(
        encoder=encoder,
        generator=CompVAEGenerator(
            w_prior=NormalNetwork(CategoryPrior(num_categories), min_scale),
            z_prior=NormalNetwork(CurvePrior(), min_scale),
            decoder=NormalNetwork(CurveDecoder(), min_scale, event_dims=1),
        ),
        embedding=SeparateEmbedding(CurveFeatures(), CategoryEmbedding(num_categories)),
        event_shape=(CURVE_LENGTH,),
    )
