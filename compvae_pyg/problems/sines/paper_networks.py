r"""The paper's own networks of the sines problem, to the layer (appendix A.1, tables 1 to 6).

Networks of Gaussians return means and log-variances, one after the other. ``docs/errata.md`` lists
what the tables leave out or get wrong, and what is done here.
"""

import torch
from torch import Tensor, nn

from compvae_pyg.distributions import Coupling
from compvae_pyg.models import CompVAE, CompVAEEncoder, SeparateEmbedding
from compvae_pyg.networks.building_blocks import activated, gaussian_compvae
from compvae_pyg.nn import Fields, Residual
from compvae_pyg.nn.checks import check_categories, check_options

__all__ = ["build_sines_paper"]

CURVE_LENGTH = 200
W_CHANNELS = 1024
Z_CHANNELS = 256
FEATURE_CHANNELS = 800


class CategoryEmbedding(nn.Module):
    r""":math:`e(\ell_i)`, ``[N, 1024]``, what the graph blocks see of a part (section 3.3.1)."""

    def __init__(self, num_categories: int) -> None:
        super().__init__()
        self.num_categories = num_categories
        self.embedding = nn.Embedding(num_categories, W_CHANNELS)

    def forward(self, parts: Fields) -> Tensor:
        """Return the features of the parts."""
        return self.embedding(check_categories(parts, self.num_categories))


class CategoryPrior(nn.Module):
    r""":math:`p(w_i \mid \ell_i)`, a learned mean and log-variance of each category (A.1.1)."""

    def __init__(self, num_categories: int) -> None:
        super().__init__()
        self.num_categories = num_categories
        self.loc = nn.Embedding(num_categories, W_CHANNELS)
        self.log_variance = nn.Embedding(num_categories, W_CHANNELS)

    def forward(self, parts: Fields) -> Tensor:
        """Return means and log-variances, ``[N, 2 * 1024]``."""
        category = check_categories(parts, self.num_categories)
        return torch.cat([self.loc(category), self.log_variance(category)], dim=-1)


def curve_prior() -> nn.Sequential:
    r"""Return :math:`p(z \mid \tilde w)` (table 1)."""
    return nn.Sequential(*activated(nn.Linear(W_CHANNELS, 1280)), nn.Linear(1280, 2 * Z_CHANNELS))


class CurveDecoder(nn.Module):
    r""":math:`p(x \mid z, \tilde w)` (table 2).

    Of 270 points the 200 in the middle are kept: fewer cells of the layer before reach the others.
    """

    first_kept = 35

    def __init__(self) -> None:
        super().__init__()
        first = nn.Linear(W_CHANNELS + Z_CHANNELS, 800)
        self.dense = nn.Sequential(*activated(first, Residual(800), Residual(800), Residual(800)))
        self.conv = nn.Sequential(
            nn.Unflatten(1, (160, 5)),
            *activated(
                nn.ConvTranspose1d(160, 80, 4, stride=2),
                nn.Conv1d(80, 80, 7, padding=3),
                nn.ConvTranspose1d(80, 40, 8, stride=4),
                nn.Conv1d(40, 40, 7, padding=3),
                nn.ConvTranspose1d(40, 20, 15, stride=5),
            ),
            nn.Conv1d(20, 2, 7, padding=3),
        )

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        """Return means and log-variances of the points, ``[S, 2 * 200]``."""
        out = self.conv(self.dense(torch.cat([w_sum, z], dim=-1)))
        return out[..., self.first_kept : self.first_kept + CURVE_LENGTH].flatten(1)


def curve_features() -> nn.Sequential:
    r"""Return :math:`\mathrm{pre}(x)`, shared by both inference networks (table 3)."""
    return nn.Sequential(
        nn.Unflatten(1, (1, CURVE_LENGTH)),
        *activated(
            nn.Conv1d(1, 40, 10, stride=5),
            nn.Conv1d(40, 40, 7, padding=3),
            nn.Conv1d(40, 80, 6, stride=3),
            nn.Conv1d(80, 80, 7, padding=3),
            nn.Conv1d(80, 160, 4, stride=2),
        ),
        nn.Flatten(),
        *activated(Residual(FEATURE_CHANNELS)),
    )


def curve_posterior() -> nn.Sequential:
    r"""Return :math:`q(z \mid x)`, from :math:`\mathrm{pre}(x)` (table 5)."""
    hidden = activated(nn.Linear(FEATURE_CHANNELS, 512), Residual(512), Residual(512))
    return nn.Sequential(*hidden, nn.Linear(512, 2 * Z_CHANNELS))


@check_options
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
        coupling: As ``part_noise`` and ``aggr``, that of the encoder.
        min_scale: Smallest standard deviation of each Gaussian of the generative model.

    Example:
        >>> with torch.device("meta"):
        ...     model = build_sines_paper()
        >>> sum(p.numel() for p in model.parameters())
        143248510
    """
    return gaussian_compvae(
        encoder=CompVAEEncoder(
            FEATURE_CHANNELS,
            part_channels=W_CHANNELS,
            hidden_channels=2048,
            w_channels=W_CHANNELS,
            z_channels=Z_CHANNELS,
            coupling=coupling,
            part_noise=part_noise,
            z_head=curve_posterior(),
            aggr=aggr,
        ),
        w_prior=CategoryPrior(num_categories),
        z_prior=curve_prior(),
        decoder=CurveDecoder(),
        embedding=SeparateEmbedding(curve_features(), CategoryEmbedding(num_categories)),
        event_shape=(CURVE_LENGTH,),
        min_scale=min_scale,
    )
