"""An image of sites that is edited: its latents, and the ground truth beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor

from compvae_pyg.models import Composition, CompVAE
from compvae_pyg.problems import Dots

__all__ = ["Scene"]


@dataclass(frozen=True, eq=False)
class Scene:
    r"""One image of sites: their latents in the model, their intensities in the ground truth.

    Both have noise of their own, which an edit of one site leaves to the others. A scene does not
    change: each operation returns another one.

    Attributes:
        composition: The sites and their latents.
        luck: For the ground truth, the intensity of each site between the smallest, at -1, and
            the largest, at 1, ``[N]``.

    Example:
        >>> scene = Scene.empty(Dots().build("small")).add(color=0, pos=(0.0, 0.5))
        >>> [image.shape for image in scene.recolor(0, 2).images()]
        [torch.Size([3, 32, 32]), torch.Size([3, 32, 32])]
    """

    composition: Composition
    luck: Tensor

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
        return self._fields["color"]

    @property
    def pos(self) -> Tensor:
        """Position of each site, ``[N, 2]``."""
        return self._fields["pos"]

    @torch.no_grad()
    def add(self, color: int, pos: tuple[float, float]) -> Scene:
        """Add a site; positions beyond those of the data are brought back to their border."""
        luck = torch.cat([self.luck, 2.0 * torch.rand(1) - 1.0])
        return Scene(self.composition.add(_site(color, pos)), luck)

    def remove(self, index: int) -> Scene:
        """Remove a site."""
        left = torch.arange(len(self.luck)) != index
        return Scene(self.composition.remove(index), self.luck[left])

    @torch.no_grad()
    def move(self, index: int, pos: tuple[float, float]) -> Scene:
        """Move a site, which is otherwise what it was."""
        return self._change(index, int(self.color[index]), pos)

    @torch.no_grad()
    def recolor(self, index: int, color: int) -> Scene:
        """Give a site another colour; it is otherwise what it was."""
        x, y = self.pos[index].tolist()
        return self._change(index, color, (x, y))

    def resample_z(self) -> Scene:
        """Draw the latent of the whole anew."""
        return replace(self, composition=self.composition.resample_z())

    @torch.no_grad()
    def resample_parts(self) -> Scene:
        """Draw what is not told of the sites anew: latents and true intensities."""
        every = torch.arange(len(self.luck))
        composition = self.composition.replace(every, self.composition.parts)
        return Scene(composition, 2.0 * torch.rand(len(every)) - 1.0)

    def nearest(self, pos: tuple[float, float]) -> int | None:
        """Return the site nearest to a position, or ``None`` if there is no site."""
        if len(self.luck) == 0:
            return None
        return int((self.pos - torch.tensor(pos)).square().sum(dim=1).argmin())

    @torch.no_grad()
    def images(self, noise: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return the model's image and the true one, ``[3, 32, 32]`` each, in [0, 1].

        Args:
            noise: How far latents and intensities are from their means, in units of how far they
                were drawn: 0 shows what all such images have in common.
        """
        composition = self.composition
        mean = composition.generator.w_prior(composition.parts).mean
        drawn = composition.with_latents(w=mean.lerp(composition.w, noise))
        low, high = Dots.intensity_range
        intensity = 0.5 * (low + high) + 0.5 * (high - low) * noise * self.luck
        truth = Dots().render(self.color, self.pos, intensity, composition.batch, 1)
        return drawn.decode().mean[0].clamp(0.0, 1.0), truth[0]

    @property
    def _fields(self) -> Mapping[str, Tensor]:
        return cast("Mapping[str, Tensor]", self.composition.parts)

    def _change(self, index: int, color: int, pos: tuple[float, float]) -> Scene:
        changed = self.composition.replace(index, _site(color, pos), keep_noise=True)
        return replace(self, composition=changed)


def _site(color: int, pos: tuple[float, float]) -> dict[str, Tensor]:
    where = torch.tensor([pos]).clamp(-Dots.border, Dots.border)
    return {"color": torch.tensor([color]), "pos": where}
