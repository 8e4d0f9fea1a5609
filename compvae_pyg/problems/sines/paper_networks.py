r"""The paper's own networks of the sines problem, to the layer (appendix A.1, tables 1 to 6).

Networks of Gaussians return means and log-variances, one after the other. ``docs/errata.md`` lists
what the tables leave out or get wrong, and what is done here. ``narrow`` divides the number of
channels of every layer but of data; 1 is the paper's.
"""

import torch
from torch import Tensor, nn

from compvae_pyg.distributions import Coupling
from compvae_pyg.models import CompVAE, CompVAEEncoder, SeparateEmbedding
from compvae_pyg.networks.building_blocks import activated, gaussian_compvae
from compvae_pyg.nn import Fields, Residual
from compvae_pyg.nn.checks import check_categories, check_options

__all__ = ["build_sines_narrow", "build_sines_paper"]

CURVE_LENGTH = 200
W_CHANNELS = 1024
Z_CHANNELS = 256
FEATURE_CHANNELS = 800
NARROW = 8


class CategoryEmbedding(nn.Module):
    r""":math:`e(\ell_i)`, ``[N, 1024]``, what the graph blocks see of a part (section 3.3.1)."""

    def __init__(self, num_categories: int, narrow: int = 1) -> None:
        super().__init__()
        self.num_categories = num_categories
        self.embedding = nn.Embedding(num_categories, W_CHANNELS // narrow)

    def forward(self, parts: Fields) -> Tensor:
        """Return the features of the parts."""
        return self.embedding(check_categories(parts, self.num_categories))


class CategoryPrior(nn.Module):
    r""":math:`p(w_i \mid \ell_i)`, a learned mean and log-variance of each category (A.1.1)."""

    def __init__(self, num_categories: int, narrow: int = 1) -> None:
        super().__init__()
        self.num_categories = num_categories
        self.loc = nn.Embedding(num_categories, W_CHANNELS // narrow)
        self.log_variance = nn.Embedding(num_categories, W_CHANNELS // narrow)

    def forward(self, parts: Fields) -> Tensor:
        """Return means and log-variances, ``[N, 2 * 1024]``."""
        category = check_categories(parts, self.num_categories)
        return torch.cat([self.loc(category), self.log_variance(category)], dim=-1)


def curve_prior(narrow: int = 1) -> nn.Sequential:
    r"""Return :math:`p(z \mid \tilde w)` (table 1)."""
    hidden = 1280 // narrow
    first = activated(nn.Linear(W_CHANNELS // narrow, hidden))
    return nn.Sequential(*first, nn.Linear(hidden, 2 * Z_CHANNELS // narrow))


class CurveDecoder(nn.Module):
    r""":math:`p(x \mid z, \tilde w)` (table 2).

    Of 270 points the 200 in the middle are kept: fewer cells of the layer before reach the others.
    """

    first_kept = 35

    def __init__(self, narrow: int = 1) -> None:
        super().__init__()
        width = 800 // narrow
        a, b, c, d = (-(-channels // narrow) for channels in (160, 80, 40, 20))
        first = nn.Linear((W_CHANNELS + Z_CHANNELS) // narrow, width)
        others = (Residual(width), Residual(width), Residual(width))
        self.dense = nn.Sequential(*activated(first, *others))
        self.conv = nn.Sequential(
            nn.Unflatten(1, (a, 5)),
            *activated(
                nn.ConvTranspose1d(a, b, 4, stride=2),
                nn.Conv1d(b, b, 7, padding=3),
                nn.ConvTranspose1d(b, c, 8, stride=4),
                nn.Conv1d(c, c, 7, padding=3),
                nn.ConvTranspose1d(c, d, 15, stride=5),
            ),
            nn.Conv1d(d, 2, 7, padding=3),
        )

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        """Return means and log-variances of the points, ``[S, 2 * 200]``."""
        out = self.conv(self.dense(torch.cat([w_sum, z], dim=-1)))
        return out[..., self.first_kept : self.first_kept + CURVE_LENGTH].flatten(1)


def curve_features(narrow: int = 1) -> nn.Sequential:
    r"""Return :math:`\mathrm{pre}(x)`, shared by both inference networks (table 3)."""
    a, b, c = (channels // narrow for channels in (40, 80, 160))
    return nn.Sequential(
        nn.Unflatten(1, (1, CURVE_LENGTH)),
        *activated(
            nn.Conv1d(1, a, 10, stride=5),
            nn.Conv1d(a, a, 7, padding=3),
            nn.Conv1d(a, b, 6, stride=3),
            nn.Conv1d(b, b, 7, padding=3),
            nn.Conv1d(b, c, 4, stride=2),
        ),
        nn.Flatten(),
        *activated(Residual(FEATURE_CHANNELS // narrow)),
    )


def curve_posterior(narrow: int = 1) -> nn.Sequential:
    r"""Return :math:`q(z \mid x)`, from :math:`\mathrm{pre}(x)` (table 5)."""
    hidden = 512 // narrow
    first = nn.Linear(FEATURE_CHANNELS // narrow, hidden)
    layers = activated(first, Residual(hidden), Residual(hidden))
    return nn.Sequential(*layers, nn.Linear(hidden, 2 * Z_CHANNELS // narrow))


def _build(
    narrow: int,
    num_categories: int,
    coupling: Coupling,
    part_noise: bool,
    min_scale: float,
    aggr: str,
) -> CompVAE:
    return gaussian_compvae(
        encoder=CompVAEEncoder(
            FEATURE_CHANNELS // narrow,
            part_channels=W_CHANNELS // narrow,
            hidden_channels=2048 // narrow,
            w_channels=W_CHANNELS // narrow,
            z_channels=Z_CHANNELS // narrow,
            coupling=coupling,
            part_noise=part_noise,
            z_head=curve_posterior(narrow),
            aggr=aggr,
        ),
        w_prior=CategoryPrior(num_categories, narrow),
        z_prior=curve_prior(narrow),
        decoder=CurveDecoder(narrow),
        embedding=SeparateEmbedding(
            curve_features(narrow), CategoryEmbedding(num_categories, narrow)
        ),
        event_shape=(CURVE_LENGTH,),
        min_scale=min_scale,
    )


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
    return _build(1, num_categories, coupling, part_noise, min_scale, aggr)


@check_options
def build_sines_narrow(
    num_categories: int = 10,
    coupling: Coupling = "paper",
    part_noise: bool = True,
    min_scale: float = 0.001,
    aggr: str = "sum",
) -> CompVAE:
    r"""Build the networks of the paper's appendix A.1 at 1/8 of their width, which a CPU trains.

    Layers are those of :func:`build_sines_paper`, and so are the arguments.

    Example:
        >>> sum(p.numel() for p in build_sines_narrow().parameters())
        2249536
    """
    return _build(NARROW, num_categories, coupling, part_noise, min_scale, aggr)
