r"""The paper's own networks of the dots problem, to the layer (appendix A.2, tables 4 and 7 to 12).

Networks of Gaussians return means and log-variances, one after the other. ``docs/errata.md`` lists
what the tables leave out or get wrong, and what is done here.
"""

import torch
from torch import Tensor, nn

from compvae_pyg.distributions import Coupling
from compvae_pyg.models import CompVAE, CompVAEEncoder, SeparateEmbedding
from compvae_pyg.networks.building_blocks import activated, gaussian_compvae
from compvae_pyg.nn import Fields, Residual
from compvae_pyg.nn.checks import check_options, check_places
from compvae_pyg.problems.dots.networks import IMAGE_SIZE, NUM_COLORS

__all__ = ["build_dots_paper"]

W_CHANNELS = 2048
Z_CHANNELS = 1024
FEATURE_CHANNELS = 1024
SITE_CHANNELS = 64


class SiteEmbedding(nn.Module):
    """Features of a site, ``[N, 64]``: 32 of its position, 32 of its colour (tables 7 and 12)."""

    def __init__(self) -> None:
        super().__init__()
        self.pos = nn.Linear(2, SITE_CHANNELS // 2)
        self.act = nn.ELU()
        self.color = nn.Embedding(NUM_COLORS, SITE_CHANNELS // 2)

    def forward(self, parts: Fields) -> Tensor:
        """Return the features of the sites."""
        color, pos = check_places(parts, NUM_COLORS, "color")
        return torch.cat([self.act(self.pos(pos)), self.color(color)], dim=-1)


def site_prior() -> nn.Sequential:
    r"""Return :math:`p(w_i \mid \ell_i)` (table 7)."""
    return nn.Sequential(
        SiteEmbedding(), *activated(nn.Linear(SITE_CHANNELS, 1024)), nn.Linear(1024, 2 * W_CHANNELS)
    )


def image_prior() -> nn.Sequential:
    r"""Return :math:`p(z \mid \tilde w)` (table 8)."""
    hidden = activated(nn.Linear(W_CHANNELS, 1024), Residual(1024))
    return nn.Sequential(*hidden, nn.Linear(1024, 2 * Z_CHANNELS))


class ImageDecoder(nn.Module):
    r""":math:`p(x \mid z, \tilde w)` (table 9)."""

    def __init__(self) -> None:
        super().__init__()
        self.from_w = Residual(W_CHANNELS)
        self.from_z = nn.Linear(Z_CHANNELS, W_CHANNELS)
        self.dense = nn.Sequential(nn.ELU(), Residual(2048), nn.Tanh(), *activated(Residual(2048)))
        self.conv = nn.Sequential(
            nn.Unflatten(1, (128, 4, 4)),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            *activated(nn.Conv2d(128, 64, 5, padding=2)),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            *activated(nn.Conv2d(64, 32, 5, padding=2)),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            *activated(nn.Conv2d(32, 24, 5, padding=2)),
            nn.Conv2d(24, 4, 5, padding=2),
        )

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        """Return three means and a log-variance for each pixel, ``[S, 4, 32, 32]``."""
        return self.conv(self.dense(self.from_w(w_sum) + self.from_z(z)))


class ImageFeatures(nn.Module):
    r""":math:`\mathrm{pre}(x)`, shared by both inference networks (table 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            *activated(
                nn.Conv2d(3, 16, 5, padding=2),
                nn.Conv2d(16, 32, 4, stride=2, padding=1),
                nn.Conv2d(32, 32, 5, padding=2),
                nn.Conv2d(32, 48, 4, stride=2, padding=1),
                nn.Conv2d(48, 64, 4, stride=2, padding=1),
            )
        )
        self.dense = nn.Sequential(nn.Flatten(), *activated(Residual(FEATURE_CHANNELS)))

    def forward(self, whole: Tensor) -> Tensor:
        """Return features, ``[S, 1024]``, of images in [0, 1]."""
        return self.dense(self.conv(2.0 * whole - 1.0))


def image_posterior() -> nn.Sequential:
    r"""Return :math:`q(z \mid x)`, from :math:`\mathrm{pre}(x)` (table 11)."""
    hidden = activated(Residual(FEATURE_CHANNELS))
    return nn.Sequential(*hidden, nn.Linear(FEATURE_CHANNELS, 2 * Z_CHANNELS))


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
    return gaussian_compvae(
        encoder=CompVAEEncoder(
            FEATURE_CHANNELS,
            part_channels=SITE_CHANNELS,
            hidden_channels=2048,
            w_channels=W_CHANNELS,
            z_channels=Z_CHANNELS,
            coupling=coupling,
            part_noise=part_noise,
            z_head=image_posterior(),
            aggr=aggr,
        ),
        w_prior=site_prior(),
        z_prior=image_prior(),
        decoder=ImageDecoder(),
        embedding=SeparateEmbedding(ImageFeatures(), SiteEmbedding()),
        event_shape=(3, IMAGE_SIZE, IMAGE_SIZE),
        min_scale=min_scale,
    )
