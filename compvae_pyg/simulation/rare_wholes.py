"""Rare wholes of given parts: how likely they are, and what they look like."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from compvae_pyg.models import CompVAE
from compvae_pyg.nn import AnyParts, Fields
from compvae_pyg.simulation.subset_simulation import RareEvent, check_score, subset_simulation
from compvae_pyg.simulation.whole_from_noise import WholeFromNoise

__all__ = ["RareWholes", "rare_wholes"]


@dataclass(frozen=True)
class RareWholes(RareEvent):
    r"""Wholes whose score exceeds a level, and how rare they are.

    Attributes:
        whole: The wholes of ``noise``, ``[M, *event]``.
        w_sum: Aggregates :math:`\tilde w` of their parts, ``[M, D_w]``.
        z: Their own latents, ``[M, D_z]``.
        from_noise: The map from the noise to them.

    Example:
        >>> from compvae_pyg import Sines
        >>> waves, few = {"category": torch.tensor([0, 3])}, {"num_samples": 100, "progress": False}
        >>> model = Sines().build("small")
        >>> rare = rare_wholes(model, waves, lambda x: x.amax(dim=1), probability=0.1, **few)
        >>> rare.whole.shape[1:], rare.draw_w().shape[1]
        (torch.Size([200]), 2)
    """

    whole: Tensor
    w_sum: Tensor
    z: Tensor
    from_noise: WholeFromNoise

    def draw_w(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw the latents of the parts of each whole by :meth:`WholeFromNoise.draw_parts`."""
        return self.from_noise.draw_parts(self.w_sum, generator)


def rare_wholes(
    model: CompVAE,
    parts: AnyParts,
    score: Callable[[Tensor], Tensor],
    *,
    level: float | None = None,
    probability: float | None = None,
    count: Tensor | None = None,
    weight: Tensor | None = None,
    context: Fields | None = None,
    observation_noise: bool | None = None,
    num_samples: int = 2000,
    chunk_size: int = 250,
    generator: torch.Generator | None = None,
    progress: bool = True,
) -> RareWholes:
    r"""Estimate how likely the score of a whole exceeds a level, and draw wholes that do.

    It is :func:`subset_simulation`, whose arguments and errors are not repeated here, of
    :class:`WholeFromNoise`: for given parts, a whole is a function of standard normal noise.

    Args:
        model: The model, on the device that is to be used.
        parts, count, weight, context, observation_noise: As for :class:`WholeFromNoise`.
        score: From wholes ``[n, *event]`` to scores ``[n]``, for instance their peaks.
        probability: 1e-4 for the 99.99 % quantile of the score.
        chunk_size: Number of wholes that are decoded at once; bounds the memory.

    Raises:
        TypeError, ValueError: As :func:`subset_simulation` and :class:`WholeFromNoise`.

    Example:
        >>> from compvae_pyg import Sines
        >>> _ = torch.manual_seed(0)
        >>> model, parts = Sines().build("small"), {"category": torch.tensor([0, 3, 3])}
        >>> rare = rare_wholes(model, parts, lambda whole: whole.amax(dim=1), probability=0.01)
        >>> f"{rare.probability:.2f}", bool((rare.whole.amax(dim=1) > rare.level).all())
        ('0.01', True)
    """
    check_score(score)
    options: Any = {"count": count, "weight": weight, "context": context}
    from_noise = WholeFromNoise(model, parts, **options, observation_noise=observation_noise)
    event = subset_simulation(
        # A copy: a decoder may return what it holds, and a score may change what it is given.
        lambda noise: score(from_noise(noise).clone()),
        from_noise.num_channels,
        level=level,
        probability=probability,
        num_samples=num_samples,
        chunk_size=chunk_size,
        dtype=from_noise.dtype,
        device=from_noise.device,
        generator=generator,
        progress=progress,
    )
    with torch.no_grad():
        chunks = event.noise.split(chunk_size)
        latents = [from_noise.latents(noise) for noise in chunks]
        w_sum, z = (torch.cat(column) for column in zip(*latents, strict=True))
        whole = torch.cat([from_noise(noise) for noise in chunks])
    return RareWholes(**vars(event), whole=whole, w_sum=w_sum, z=z, from_noise=from_noise)
