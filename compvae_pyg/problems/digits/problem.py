"""Canvases of several handwritten digits, the scans of scikit-learn, which they need."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch_geometric.data import Batch
from torch_geometric.utils import scatter

from compvae_pyg.models import CompVAE
from compvae_pyg.networks import Categorical, build_images, cut_patches, place_patches
from compvae_pyg.nn import PackedParts, pack
from compvae_pyg.nn.checks import check_choice
from compvae_pyg.problems.base import Problem, Quantity, Value, packed_batch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Digits", "build_digits_small"]

_CANVAS, _DIGIT = (24, 24), (8, 8)
_EXTENT = _DIGIT[0] / _CANVAS[0]


def build_digits_small() -> CompVAE:
    """Build networks for a laptop: :func:`~compvae_pyg.networks.build_images`.

    Example:
        >>> build_digits_small().event_shape
        (1, 24, 24)
    """
    # A template has a margin around the digit.
    fields = {"category": Categorical(10)}
    return build_images(fields=fields, size=_CANVAS, extent=1.5 * _EXTENT)


class Digits(Problem):
    r"""Canvases of :math:`K` handwritten digits, ``[1, 24, 24]``.

    A part is a digit's class and its position; which of the scans of its class it is, is not given:
    that is its intrinsic variety, ``ink``, ``[N, 1, 8, 8]``. On the canvas the darkest ink at each
    pixel counts, so that digits cover each other.

    Args:
        split: Whose scans: two thirds of them are for ``"train"``, the others for ``"test"``.

    Raises:
        ImportError: If scikit-learn is missing.
        ValueError: If there is no such split.

    Example:
        >>> data = Digits("test").sample(torch.tensor([1, 4]))
        >>> data.whole.shape, data.category.shape, data.ink.shape
        (torch.Size([2, 1, 24, 24]), torch.Size([5]), torch.Size([5, 1, 8, 8]))
    """

    name = "digits"
    part_fields = ("category", "pos")
    intrinsic_fields = ("ink",)
    event_shape = (1, *_CANVAS)
    presets: ClassVar = {"small": build_digits_small}
    max_parts = 4
    training: ClassVar[dict[str, Any]] = {
        "num_steps": 10_800,
        "batch_size": 64,
        "initial_rate": 2e-3,
        "shares": (0.3, 0.5, 0.2),
        "beta_w": 2.0,
    }
    quantities: ClassVar = {
        "accuracy": Quantity(
            "accuracy (ground truth)",
            title="digits that a classifier reads",
            ratio="the same, relative to the ground truth",
            chance=0.1,
            reconstructed=True,
            meaning="share of digits that a classifier of single digits reads at their places",
        ),
        "spread": Quantity("rmse between two (oracle)", title="rmse between two of the same parts"),
    }
    value_range = (0.0, 1.0)
    evaluated_parts = (1, 2, 3, 4, 6, 8)

    def __init__(self, split: str = "train") -> None:
        check_choice(split, "split", ("train", "test"))
        self.split = split
        images, classes = _scans()[split]
        # Sorted by class, so that the digits of a class follow one another.
        self.images = images[classes.argsort(stable=True)]
        self.count = classes.bincount(minlength=10)

    def held_out(self) -> Digits:
        """Return the problem of the scans that are not for training."""
        return Digits("test")

    def sample(self, num_parts: Tensor, generator: torch.Generator | None = None) -> Batch:
        """Draw one canvas for each number of digits in ``num_parts``, ``[S]``, on the CPU."""
        batch, _ = pack(num_parts)
        category = torch.randint(10, batch.shape, generator=generator)
        pos = (2.0 * torch.rand(len(batch), 2, generator=generator) - 1.0) * (1.0 - _EXTENT)
        ink = self.ink(category, generator)
        whole = self.render(category, pos, ink, batch, len(num_parts))
        return packed_batch({"category": category, "pos": pos, "ink": ink}, whole, num_parts)

    def ink(self, category: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Draw a scanned digit of each class, ``[N, 1, 8, 8]``."""
        share = torch.rand(len(category), generator=generator)
        category, first = category.cpu(), self.count.cumsum(0) - self.count
        return self.images[first[category] + (share * self.count[category]).long()]

    def draw(
        self,
        category: Tensor,
        pos: Tensor,
        batch: Tensor,
        batch_size: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw canvases of given digits, with scans of their own."""
        ink = self.ink(category, generator).to(pos.device)
        return self.render(category, pos, ink, batch, batch_size)

    def render(
        self, category: Tensor, pos: Tensor, ink: Tensor, batch: Tensor, batch_size: int
    ) -> Tensor:
        """Draw canvases of given scans; their classes are of no account."""
        shown = place_patches(ink, pos, _CANVAS, _EXTENT)
        return scatter(shown, batch, 0, batch_size, reduce="max")

    def measure(self, whole: Tensor, parts: PackedParts) -> dict[str, Value]:
        """Return the share of each canvas's digits that a classifier reads, as ``accuracy``.

        It is a support vector machine trained on the single digits of the training split, which
        reads the surroundings of each position.
        """
        cut = cut_patches(whole, parts["pos"], parts.batch, _DIGIT, _EXTENT).flatten(1)
        read = torch.as_tensor(_reader().predict(cut.cpu().numpy())).to(whole.device)
        return {"accuracy": parts.sum((read == parts["category"]).float()) / parts.sizes()}

    def figures(self, model: CompVAE, *, seed: int = 0) -> dict[str, Figure]:
        """Return one of canvases that are edited and drawn (extra ``plots``)."""
        from compvae_pyg.problems.digits.figures import plot_compositions

        return {"compositions": plot_compositions(model, self, seed)}


@cache
def _scans() -> dict[str, tuple[Tensor, Tensor]]:
    """Return images, ``[M, 1, 8, 8]`` in [0, 1], and classes, ``[M]``, of each split."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        missing = "scikit-learn is missing: pip install 'compvae-pyg[examples]'"
        raise ImportError(missing) from error
    scans = load_digits()
    images = torch.tensor(scans.images, dtype=torch.float32).unsqueeze(1) / 16.0
    classes = torch.tensor(scans.target)
    numbers = range(len(classes))
    split = train_test_split(numbers, test_size=1 / 3, stratify=classes, random_state=0)
    return {
        name: (images[part], classes[part])
        for name, part in zip(("train", "test"), split, strict=True)
    }


@cache
def _reader() -> Any:
    from sklearn.svm import SVC

    images, classes = _scans()["train"]
    return SVC(gamma=0.001 * 16.0**2).fit(images.flatten(1).numpy(), classes.numpy())
