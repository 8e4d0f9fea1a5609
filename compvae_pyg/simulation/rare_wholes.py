"""Rare wholes of given parts: how likely they are, and what they look like."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from compvae_pyg.models import CompVAE, Parts
from compvae_pyg.simulation.subset_simulation import RareEvent, subset_simulation
from compvae_pyg.simulation.whole_from_noise import WholeFromNoise

__all__ = ["RareWholes", "rare_wholes"]


@dataclass(frozen=True)
class RareWholes(RareEvent):
    r"""Wholes whose score exceeds a level, and how rare they are.

    Attributes:
        whole: The wholes of ``noise``, ``[M, *event]``.
        w_sum: Sums :math:`\tilde w` of the latents of their parts, ``[M, D_w]``; those of the parts
            themselves are :meth:`draw_w`.
        z: Their own latents, ``[M, D_z]``.
        from_noise: The map from the noise to them.
    """

    whole: Tensor
    w_sum: Tensor
    z: Tensor
    from_noise: WholeFromNoise

    def draw_w(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw the latents of the parts of each whole, ``[M, N, D_w]``.

        Args:
            generator: Source of the randomness; by default the global one.
        """
        return self.from_noise.draw_parts(self.w_sum, generator)


def rare_wholes(
    model: CompVAE,
    parts: Parts,
    score: Callable[[Tensor], Tensor],
    *,
    level: float | None = None,
    probability: float | None = None,
    amounts: Tensor | None = None,
    weight: Tensor | None = None,
    observation_noise: bool = False,
    num_samples: int = 2000,
    chunk_size: int = 250,
    generator: torch.Generator | None = None,
    progress: bool = True,
) -> RareWholes:
    r"""Estimate how likely the score of a whole exceeds a level, and draw wholes that do.

    It is :func:`subset_simulation` of :class:`WholeFromNoise`: for given parts, a whole is a
    function of standard normal noise. What one takes does not depend on the number of its parts.

    Args:
        model: The model, on the device that is to be used.
        parts: Parts of one whole, N rows.
        score: From wholes ``[n, *event]`` to scores ``[n]``, for instance their peaks.
        level: The level, if its probability is asked for.
        probability: The probability, if the level that is exceeded with it is asked for: 1e-4
            for the 99.99 % quantile of the score.
        amounts: How many parts each row of ``parts`` stands for, ``[N]``; by default one each.
        weight: Weight of every part of a row, ``[N]``, of any sign; by default 1.
        observation_noise: Whether wholes are drawn from :math:`p(x \mid z, \tilde w)`; by default
            they are its mean.
        num_samples: Number of wholes of each level of the simulation.
        chunk_size: Number of wholes that are decoded at once; bounds the memory.
        generator: Source of the randomness, on any device; by default the global one.
        progress: Whether to show a progress bar, on a terminal.

    Returns:
        The probability, the level, and wholes beyond it, as many as the last level left.

    Raises:
        ValueError: If an argument is out of range, not exactly one of ``level`` and
            ``probability`` is given, or scores are NaN or not of shape ``[n]``.
        RuntimeError: If the level cannot be reached, see :func:`subset_simulation`.

    Example:
        >>> from compvae_pyg import Sines
        >>> _ = torch.manual_seed(0)
        >>> model, parts = Sines().build("small"), {"category": torch.tensor([0, 3, 3])}
        >>> rare = rare_wholes(model, parts, lambda whole: whole.amax(dim=1), probability=0.01)
        >>> f"{rare.probability:.2f}", bool((rare.whole.amax(dim=1) > rare.level).all())
        ('0.01', True)
    """
    if not callable(score):
        raise TypeError(f"score must be a function (got {type(score).__name__})")
    from_noise = WholeFromNoise(
        model, parts, amounts=amounts, weight=weight, observation_noise=observation_noise
    )
    event = subset_simulation(
        lambda noise: score(from_noise(noise)),
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
        latents = [from_noise.latents(noise) for noise in event.noise.split(chunk_size)]
        w_sum, z = (torch.cat(column) for column in zip(*latents, strict=True))
        whole = torch.cat([from_noise(noise) for noise in event.noise.split(chunk_size)])
    return RareWholes(**vars(event), whole=whole, w_sum=w_sum, z=z, from_noise=from_noise)
