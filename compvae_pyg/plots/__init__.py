"""The paper's figures, from results (extra ``plots``).

Each function takes what a training or an evaluation left, never a model, and returns a
:class:`matplotlib.figure.Figure`; none needs global state, a display or a backend.
"""

from compvae_pyg.plots.curves import (
    plot_nonlinearity,
    plot_rare_curves,
    plot_sines_recomposition,
    plot_sum,
    plot_variety,
)
from compvae_pyg.plots.images import plot_data, plot_recomposition, plot_reconstructions
from compvae_pyg.plots.losses import plot_losses, read_metrics
from compvae_pyg.plots.operations import Operation, plot_attribution, plot_operations
from compvae_pyg.plots.quality import plot_energy_distances, plot_quality

__all__ = [
    "Operation",
    "plot_attribution",
    "plot_data",
    "plot_energy_distances",
    "plot_losses",
    "plot_nonlinearity",
    "plot_operations",
    "plot_quality",
    "plot_rare_curves",
    "plot_recomposition",
    "plot_reconstructions",
    "plot_sines_recomposition",
    "plot_sum",
    "plot_variety",
    "read_metrics",
]
