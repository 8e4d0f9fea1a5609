"""Figures of any problem, from results (extra ``plots``).

Each function takes what a training or an evaluation left, never a model, and returns a
:class:`matplotlib.figure.Figure`; none needs global state, a display or a backend. Figures of one
problem are in its folder, ``compvae_pyg/problems``.
"""

from compvae_pyg.plots.losses import plot_losses, read_metrics
from compvae_pyg.plots.operations import Operation, plot_attribution, plot_operations
from compvae_pyg.plots.quality import plot_energy_distances, plot_quality
from compvae_pyg.plots.rare import plot_rare_curves

__all__ = [
    "Operation",
    "plot_attribution",
    "plot_energy_distances",
    "plot_losses",
    "plot_operations",
    "plot_quality",
    "plot_rare_curves",
    "read_metrics",
]
