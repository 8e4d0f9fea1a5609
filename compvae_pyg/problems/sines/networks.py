"""Networks of the sines problem, of a size for a laptop's CPU."""

from typing import Any

from compvae_pyg.models import CompVAE
from compvae_pyg.networks import build_category_curves

__all__ = ["build_sines_small"]

NUM_SAMPLES = 200


def build_sines_small(num_categories: int = 10, **options: Any) -> CompVAE:
    """Build networks that a laptop trains within minutes, with options of theirs.

    See :func:`~compvae_pyg.networks.build_category_curves`: nothing in them is particular to sines.
    """
    return build_category_curves(length=NUM_SAMPLES, num_categories=num_categories, **options)
