r"""The paper's own networks of the dots problem, to the layer (appendix A.2, tables 4 and 7 to 12).

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
from compvae_pyg.nn.checks import check_options, check_places
from compvae_pyg.problems.dots.networks import IMAGE_SIZE, NUM_COLORS

__all__ = ["build_dots_narrow", "build_dots_paper"]

W_CHANNELS = 2048
Z_CHANNELS = 1024
FEATURE_CHANNELS = 1024
SITE_CHANNELS = 64
NARROW = 8


class SiteEmbedding(nn.Module):
    """Features of a site, ``[N, 64]``: 32 of its position, 32 of its colour (tables 7 and 12)."""

    def __init__(self, narrow: int = 1) -> None:
        super().__init__()
        self.pos = nn.Linear(2, SITE_CHANNELS // narrow // 2)
        self.act = nn.ELU()
        self.color = nn.Embedding(NUM_COLORS, SITE_CHANNELS // narrow // 2)

    def forward(self, parts: Fields) -> Tensor:
        """Return the features of the sites."""
        color, pos = check_places(parts, NUM_COLORS, "color")
        return torch.cat([self.act(self.pos(pos)), self.color(color)], dim=-1)


def site_prior(narrow: int = 1) -> nn.Sequential:
    r"""Return :math:`p(w_i \mid \ell_i)` (table 7)."""
    hidden = 1024 // narrow
    first = activated(nn.Linear(SITE_CHANNELS // narrow, hidden))
    return nn.Sequential(SiteEmbedding(narrow), *first, nn.Linear(hidden, 2 * W_CHANNELS // narrow))


def image_prior(narrow: int = 1) -> nn.Sequential:
    r"""Return :math:`p(z \mid \tilde w)` (table 8)."""
    hidden = 1024 // narrow
    layers = activated(nn.Linear(W_CHANNELS // narrow, hidden), Residual(hidden))
    return nn.Sequential(*layers, nn.Linear(hidden, 2 * Z_CHANNELS // narrow))


class ImageDecoder(nn.Module):
    r""":math:`p(x \mid z, \tilde w)` (table 9)."""

    def __init__(self, narrow: int = 1) -> None:
        super().__init__()
        width = W_CHANNELS // narrow
        a, b, c, d = (channels // narrow for channels in (128, 64, 32, 24))
        self.from_w = Residual(width)
        self.from_z = nn.Linear(Z_CHANNELS // narrow, width)
        self.dense = nn.Sequential(
            nn.ELU(), Residual(width), nn.Tanh(), *activated(Residual(width))
        )
        self.conv = nn.Sequential(
            nn.Unflatten(1, (a, 4, 4)),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            *activated(nn.Conv2d(a, b, 5, padding=2)),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            *activated(nn.Conv2d(b, c, 5, padding=2)),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            *activated(nn.Conv2d(c, d, 5, padding=2)),
            nn.Conv2d(d, 4, 5, padding=2),
        )

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        """Return three means and a log-variance for each pixel, ``[S, 4, 32, 32]``."""
        return self.conv(self.dense(self.from_w(w_sum) + self.from_z(z)))


class ImageFeatures(nn.Module):
    r""":math:`\mathrm{pre}(x)`, shared by both inference networks (table 10)."""

    def __init__(self, narrow: int = 1) -> None:
        super().__init__()
        a, b, c, d = (channels // narrow for channels in (16, 32, 48, 64))
        self.conv = nn.Sequential(
            *activated(
                nn.Conv2d(3, a, 5, padding=2),
                nn.Conv2d(a, b, 4, stride=2, padding=1),
                nn.Conv2d(b, b, 5, padding=2),
                nn.Conv2d(b, c, 4, stride=2, padding=1),
                nn.Conv2d(c, d, 4, stride=2, padding=1),
            )
        )
        self.dense = nn.Sequential(nn.Flatten(), *activated(Residual(FEATURE_CHANNELS // narrow)))

    def forward(self, whole: Tensor) -> Tensor:
        """Return features, ``[S, 1024]``, of images in [0, 1]."""
        return self.dense(self.conv(2.0 * whole - 1.0))


def image_posterior(narrow: int = 1) -> nn.Sequential:
    r"""Return :math:`q(z \mid x)`, from :math:`\mathrm{pre}(x)` (table 11)."""
    features = FEATURE_CHANNELS // narrow
    return nn.Sequential(
        *activated(Residual(features)), nn.Linear(features, 2 * Z_CHANNELS // narrow)
    )


def _build(
    narrow: int, coupling: Coupling, part_noise: bool, min_scale: float, aggr: str
) -> CompVAE:
    return gaussian_compvae(
        encoder=CompVAEEncoder(
            FEATURE_CHANNELS // narrow,
            part_channels=SITE_CHANNELS // narrow,
            hidden_channels=2048 // narrow,
            w_channels=W_CHANNELS // narrow,
            z_channels=Z_CHANNELS // narrow,
            coupling=coupling,
            part_noise=part_noise,
            z_head=image_posterior(narrow),
            aggr=aggr,
        ),
        w_prior=site_prior(narrow),
        z_prior=image_prior(narrow),
        decoder=ImageDecoder(narrow),
        embedding=SeparateEmbedding(ImageFeatures(narrow), SiteEmbedding(narrow)),
        event_shape=(3, IMAGE_SIZE, IMAGE_SIZE),
        min_scale=min_scale,
    )


@check_options
def build_dots_paper(
    coupling: Coupling = "paper",
    part_noise: bool = False,
    min_scale: float = 0.005,
    aggr: str = "sum",
) -> CompVAE:
    r"""Build the networks of the paper's appendix A.2.

    :math:`q(\{w_i\} \mid x, z, \{\ell_i\})` (table 12, of the graph blocks of table 4) is a
    :class:`~compvae_pyg.models.CompVAEEncoder` on 1024 features of the image, 1024 of z and 64 of
    the site: three graph blocks of width 2048, each followed by ELU, and Linear(2048, 6144).

    Args:
        coupling: As ``part_noise`` and ``aggr``, that of the encoder.
        min_scale: Smallest standard deviation of each Gaussian of the generative model.

    Example:
        >>> with torch.device("meta"):
        ...     model = build_dots_paper()
        >>> sum(p.numel() for p in model.parameters())
        184857036
    """
    return _build(1, coupling, part_noise, min_scale, aggr)


@check_options
def build_dots_narrow(
    coupling: Coupling = "paper",
    part_noise: bool = False,
    min_scale: float = 0.005,
    aggr: str = "sum",
) -> CompVAE:
    r"""Build the networks of the paper's appendix A.2 at 1/8 of their width, which a CPU trains.

    Layers are those of :func:`build_dots_paper`, and so are the arguments.

    Example:
        >>> sum(p.numel() for p in build_dots_narrow().parameters())
        2899001
    """
    return _build(NARROW, coupling, part_noise, min_scale, aggr)
