r"""The paper's own networks of the dots problem, to the layer (appendix A.2, tables 4 and 7 to 12).

Sizes are those of the tables, :math:`D_w = 2048` and :math:`D_z = 1024`; ``docs/errata.md`` lists
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
from compvae_pyg.problems.checks import check_places, with_checked_options
from compvae_pyg.problems.dots_networks import IMAGE_SIZE, NUM_COLORS

__all__ = [
    "ImageDecoder",
    "ImageFeatures",
    "ImagePosterior",
    "ImagePrior",
    "SiteEmbedding",
    "SitePrior",
    "build_dots_paper",
]

W_CHANNELS = 2048
Z_CHANNELS = 1024
HIDDEN_CHANNELS = 2048
FEATURE_CHANNELS = 1024
SITE_CHANNELS = 64


class SiteEmbedding(nn.Module):
    r"""Features of a site: 32 of its position and 32 of its colour (first rows of 7 and 12).

    Shapes:
        - **input:** colour :math:`(N)`, position :math:`(N, 2)`
        - **output:** :math:`(N, 64)`
    """

    def __init__(self) -> None:
        super().__init__()
        self.pos = nn.Linear(2, SITE_CHANNELS // 2)
        self.act = nn.ELU()
        self.color = nn.Embedding(NUM_COLORS, SITE_CHANNELS // 2)

    def forward(self, parts: Parts) -> Tensor:
        """Return the features of the sites."""
        color, pos = check_places(parts, NUM_COLORS, "color")
        return torch.cat([self.act(self.pos(pos)), self.color(color)], dim=-1)


class SitePrior(nn.Sequential):
    r""":math:`p(w_i \mid \ell_i)` (table 7).

    Shapes:
        - **input:** colour :math:`(N)`, position :math:`(N, 2)`
        - **output:** :math:`(N, 2 D_w)`, means and log-variances
    """

    def __init__(self) -> None:
        super().__init__(
            SiteEmbedding(),
            nn.Linear(SITE_CHANNELS, 1024),
            nn.ELU(),
            nn.Linear(1024, 2 * W_CHANNELS),
        )


class ImagePrior(nn.Sequential):
    r""":math:`p(z \mid \tilde w)` (table 8).

    Shapes:
        - **input:** sum of the latents of the sites :math:`(S, D_w)`
        - **output:** :math:`(S, 2 D_z)`, means and log-variances
    """

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(W_CHANNELS, 1024),
            nn.ELU(),
            Residual(1024),
            nn.ELU(),
            nn.Linear(1024, 2 * Z_CHANNELS),
        )


class ImageDecoder(nn.Module):
    r""":math:`p(x \mid z, \tilde w)` (table 9).

    Shapes:
        - **input:** sum of the latents of the sites :math:`(S, D_w)`, z :math:`(S, D_z)`
        - **output:** :math:`(S, 4, 32, 32)`: three means and a log-variance for each pixel

    Example:
        >>> with torch.device("meta"):
        ...     ImageDecoder()(torch.randn(3, 2048), torch.randn(3, 1024)).shape
        torch.Size([3, 4, 32, 32])
    """

    def __init__(self) -> None:
        super().__init__()
        self.from_w = Residual(W_CHANNELS)
        self.from_z = nn.Linear(Z_CHANNELS, W_CHANNELS)
        self.dense = nn.Sequential(
            nn.ELU(),
            Residual(2048),
            nn.Tanh(),
            Residual(2048),
            nn.ELU(),
        )
        self.conv = nn.Sequential(
            nn.Unflatten(1, (128, 4, 4)),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(128, 64, 5, padding=2),
            nn.ELU(),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(64, 32, 5, padding=2),
            nn.ELU(),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Conv2d(32, 24, 5, padding=2),
            nn.ELU(),
            nn.Conv2d(24, 4, 5, padding=2),
        )

    def forward(self, w_sum: Tensor, z: Tensor) -> Tensor:
        """Return the channels of the pixels."""
        return self.conv(self.dense(self.from_w(w_sum) + self.from_z(z)))


class ImageFeatures(nn.Module):
    r""":math:`\mathrm{pre}(x)`, shared by both inference networks (table 10).

    Shapes:
        - **input:** images :math:`(S, 3, 32, 32)` in [0, 1]
        - **output:** :math:`(S, 1024)`
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(3, 16, 5, padding=2),
            nn.ELU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.ELU(),
            nn.Conv2d(32, 32, 5, padding=2),
            nn.ELU(),
            nn.Conv2d(32, 48, 4, stride=2, padding=1),
            nn.ELU(),
            nn.Conv2d(48, 64, 4, stride=2, padding=1),
            nn.ELU(),
        )
        self.dense = nn.Sequential(nn.Flatten(), Residual(FEATURE_CHANNELS), nn.ELU())

    def forward(self, whole: Tensor) -> Tensor:
        """Return the features of the images."""
        return self.dense(self.conv(2.0 * whole - 1.0))


class ImagePosterior(nn.Sequential):
    r""":math:`q(z \mid x)`, from :math:`\mathrm{pre}(x)` (table 11).

    Shapes:
        - **input:** features of the images :math:`(S, 1024)`
        - **output:** :math:`(S, 2 D_z)`, means and log-variances
    """

    def __init__(self) -> None:
        super().__init__(
            Residual(FEATURE_CHANNELS),
            nn.ELU(),
            nn.Linear(FEATURE_CHANNELS, 2 * Z_CHANNELS),
        )


@register_architecture("dots", "paper")
@with_checked_options
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
        coupling: Form of the coupled posterior.
        part_noise: Whether noise is added to the features of the sites in the graph blocks.
        min_scale: Smallest standard deviation of each Gaussian of the generative network.
        aggr: How the graph blocks aggregate messages, ``"sum"`` or ``"mean"``.

    Example:
        >>> with torch.device("meta"):
        ...     model = build_dots_paper()
        >>> sum(p.numel() for p in model.parameters())
        184857036
    """
    encoder = CompVAEEncoder(
        FEATURE_CHANNELS,
        SITE_CHANNELS,
        HIDDEN_CHANNELS,
        W_CHANNELS,
        Z_CHANNELS,
        num_blocks=3,
        coupling=coupling,
        part_noise=part_noise,
        z_head=ImagePosterior(),
        aggr=aggr,
    )
    return CompVAE(
        encoder=encoder,
        generator=CompVAEGenerator(
            w_prior=NormalNetwork(SitePrior(), min_scale),
            z_prior=NormalNetwork(ImagePrior(), min_scale),
            decoder=NormalNetwork(ImageDecoder(), min_scale, mean_channels=3, event_dims=3),
        ),
        embedding=SeparateEmbedding(ImageFeatures(), SiteEmbedding()),
        event_shape=(3, IMAGE_SIZE, IMAGE_SIZE),
    )
