"""An image of sites that is edited: its latents, and the ground truth beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from compvae_pyg.models import Composition, CompVAE
from compvae_pyg.problems.dots.problem import Dots

__all__ = ["Scene"]


@dataclass(frozen=True, eq=False)
class Scene:
    r"""One image of sites: their latents in the model, their intensities in the ground truth.

    An operation returns another scene; latents and intensities of other sites stay as they are.

    Attributes:
        composition: The sites and their latents.
        relative_intensity: Intensity of each site in the ground truth, ``[N]``, from -1, the
            smallest, to 1, the largest.

    Example:
        >>> scene = Scene.empty(Dots().build("small")).add(color=0, pos=(0.0, 0.5))
        >>> [image.shape for image in scene.recolor(0, 2).images()]
        [torch.Size([3, 32, 32]), torch.Size([3, 32, 32])]
    """

    composition: Composition
    relative_intensity: Tensor

    @classmethod
    @torch.no_grad()
    def empty(cls, model: CompVAE) -> Scene:
        """Return a scene without sites."""
        parts = {"color": torch.zeros(0, dtype=torch.long), "pos": torch.zeros(0, 2)}
        batch = torch.zeros(0, dtype=torch.long)
        return cls(model.compose(parts, batch, 1), torch.zeros(0))

    @property
    def color(self) -> Tensor:
        """Colour of each site, ``[N]``."""
        return self.composition.parts["color"]

    @property
    def pos(self) -> Tensor:
        """Position of each site, ``[N, 2]``."""
        return self.composition.parts["pos"]

    @torch.no_grad()
    def add(self, color: int, pos: tuple[float, float]) -> Scene:
        """Add a site; positions beyond those of the data are brought back to their border."""
        intensity = torch.cat([self.relative_intensity, 2.0 * torch.rand(1) - 1.0])
        return Scene(self.composition.add(_site(color, pos)), intensity)

    def remove(self, index: int) -> Scene:
        """Remove a site."""
        left = torch.arange(len(self.relative_intensity)) != index
        return Scene(self.composition.remove(index), self.relative_intensity[left])

    @torch.no_grad()
    def move(self, index: int, pos: tuple[float, float]) -> Scene:
        """Move a site; its noise is kept."""
        return self._change(index, int(self.color[index]), pos)

    @torch.no_grad()
    def recolor(self, index: int, color: int) -> Scene:
        """Give a site another colour; its noise is kept."""
        x, y = self.pos[index].tolist()
        return self._change(index, color, (x, y))

    def resample_z(self) -> Scene:
        """Sample the latent of the whole again."""
        return replace(self, composition=self.composition.resample_z())

    @torch.no_grad()
    def resample_parts(self) -> Scene:
        """Sample the latents of the sites and their true intensities again."""
        every = torch.arange(len(self.relative_intensity))
        composition = self.composition.replace(every, self.composition.parts.fields)
        return Scene(composition, 2.0 * torch.rand(len(every)) - 1.0)

    def nearest(self, pos: tuple[float, float]) -> int | None:
        """Return the site nearest to a position, or ``None`` if there is no site."""
        if len(self.relative_intensity) == 0:
            return None
        return int((self.pos - torch.tensor(pos)).square().sum(dim=1).argmin())

    @torch.no_grad()
    def images(self, noise: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return the model's image and the true one, ``[3, 32, 32]`` each, in [0, 1].

        ``noise`` is a factor on the distance of latents and intensities from their means.
        """
        composition = self.composition
        mean = composition.generator.prior_w(composition.parts).mean
        drawn = composition.with_latents(w=mean.lerp(composition.w, noise))
        low, high = Dots.intensity_range
        intensity = 0.5 * (low + high) + 0.5 * (high - low) * noise * self.relative_intensity
        truth = Dots().render(self.color, self.pos, intensity, composition.batch, 1)
        return drawn.decode().mean[0].clamp(0.0, 1.0), truth[0]

    def _change(self, index: int, color: int, pos: tuple[float, float]) -> Scene:
        changed = self.composition.replace(index, _site(color, pos), keep_noise=True)
        return replace(self, composition=changed)


def _site(color: int, pos: tuple[float, float]) -> dict[str, Tensor]:
    where = torch.tensor([pos]).clamp(-Dots.border, Dots.border)
    return {"color": torch.tensor([color]), "pos": where}
