"""Whether two samples have one distribution: measures that know nothing of the problem."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compvae_pyg.distributions.random_source import DrawFrom
from compvae_pyg.nn.checks import check_count, check_device, check_number, check_real
from compvae_pyg.problems.estimate import Estimate

__all__ = ["classifier_accuracy", "energy_distance", "maximum_mean_discrepancy"]


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    r"""Return the energy distance of two samples, in 64 bits (Székely and Rizzo, 2013).

    .. math::
        \frac{2}{nm} \sum_{i,j} \lVert x_i - y_j \rVert
            - \frac{1}{n^2} \sum_{i,j} \lVert x_i - x_j \rVert
            - \frac{1}{m^2} \sum_{i,j} \lVert y_i - y_j \rVert \geq 0

    for samples ``[*, n, D]`` and ``[*, m, D]``, not empty, as ``[*]``. It is zero for equal
    samples, and of the order of :math:`1/n + 1/m` for two of one distribution: compare equal sizes.

    Raises:
        TypeError: If a sample does not hold floating-point numbers.
        ValueError: If shapes or devices do not fit.

    Example:
        >>> energy_distance(torch.zeros(2, 1), torch.ones(3, 1))
        tensor(2., dtype=torch.float64)
    """
    _check_samples(x, y)
    distances = [_distances(a, b).mean(dim=(-2, -1)) for a, b in ((x, y), (x, x), (y, y))]
    return 2.0 * distances[0] - distances[1] - distances[2]


def maximum_mean_discrepancy(x: Tensor, y: Tensor, bandwidth: float | None = None) -> Tensor:
    r"""Return the squared maximum mean discrepancy of two samples, in 64 bits.

    .. math::
        \frac{1}{n(n-1)} \sum_{i \neq j} k(x_i, x_j) + \frac{1}{m(m-1)} \sum_{i \neq j} k(y_i, y_j)
            - \frac{2}{nm} \sum_{i,j} k(x_i, y_j), \qquad
            k(a, b) = e^{-\lVert a - b \rVert^2 / 2 h^2}

    for samples ``[*, n, D]`` and ``[*, m, D]``, of at least two, as ``[*]``: the unbiased estimate
    of Gretton et al. (2012), zero on average for two samples of one distribution, and of either
    sign then.

    Args:
        x: A sample.
        y: Another one.
        bandwidth: :math:`h`; by default the median distance between all pairs of points.

    Raises:
        TypeError: If a sample does not hold floating-point numbers.
        ValueError: If shapes or devices do not fit, or ``bandwidth`` is not positive.

    Example:
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> maximum_mean_discrepancy(x, x + 1000.0, bandwidth=1.0)  # 2 exp(-1/2)
        tensor(1.2131, dtype=torch.float64)
    """
    _check_samples(x, y, at_least=2)
    if bandwidth is not None:
        check_number(bandwidth, "bandwidth", positive=True)
    pairs = [_distances(a, b) for a, b in ((x, x), (y, y), (x, y))]
    if bandwidth is None:
        every = torch.cat([p.flatten(-2) for p in pairs], dim=-1)
        width = every.median(dim=-1).values.clamp(min=torch.finfo(every.dtype).tiny)
    else:
        width = torch.full(pairs[0].shape[:-2], float(bandwidth), dtype=torch.float64)
    width = width.to(x.device)[..., None, None]
    own_x, own_y, both = (torch.exp(-0.5 * (p / width).square()) for p in pairs)
    n, m = x.shape[-2], y.shape[-2]
    # The diagonals are 1.
    within = (own_x.sum(dim=(-2, -1)) - n) / (n * (n - 1))
    within = within + (own_y.sum(dim=(-2, -1)) - m) / (m * (m - 1))
    return within - 2.0 * both.mean(dim=(-2, -1))


def classifier_accuracy(
    x: Tensor,
    y: Tensor,
    *,
    num_steps: int = 400,
    batch_size: int = 256,
    channels: int = 64,
    seed: int = 0,
) -> Estimate:
    r"""Return how well a small network tells two samples apart (C2ST), 0.5 if it cannot.

    A classifier is trained on the first half of each sample, and its accuracy on the rest is
    returned (Lopez-Paz and Oquab, 2017), with its binomial standard error. Images ``[n, C, H, W]``
    are read by three convolutions and a mean over places, all else by three Linears. Values are
    normalised by the mean and the standard deviation of the training halves, coordinate by
    coordinate.

    Args:
        x: A sample, ``[n, *event]``.
        y: Another one, ``[n, *event]``.
        num_steps: Steps of Adam.
        batch_size: Elements of each sample in a step.
        channels: Width of the network.
        seed: Seed of weights and batches.

    Raises:
        TypeError: If a sample does not hold floating-point numbers.
        ValueError: If shapes or devices do not fit, or a sample has fewer than 4 elements.

    Example:
        >>> x = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
        >>> accuracy = classifier_accuracy(x, x + 3.0, num_steps=50)
        >>> accuracy.mean > 0.9
        True
    """
    check_real(x, "x")
    check_real(y, "y")
    check_device(y, "y", x.device, "x")
    if x.dim() < 2 or x.shape != y.shape or x.shape[0] < 4:
        raise ValueError(
            f"x and y must be [n, *event] with n of at least 4 (got {list(x.shape)} and "
            f"{list(y.shape)})"
        )
    for name, number in (("num_steps", num_steps), ("batch_size", batch_size)):
        check_count(number, name)
    check_count(channels, "channels")
    check_count(seed, "seed", at_least=0)
    half = x.shape[0] // 2
    known = torch.cat([x[:half], y[:half]])
    mean, std = known.mean(dim=0), known.std(dim=0)
    scale = 1.0 / torch.where(std > 0.0, std, 1.0)
    x, y = (((sample - mean) * scale).float() for sample in (x, y))
    source = torch.Generator().manual_seed(seed)
    with DrawFrom([source]):
        network = _classifier(tuple(x.shape[1:]), channels).to(x.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    with torch.enable_grad():
        for _ in range(num_steps):
            rows = torch.randint(half, (min(batch_size, half),), generator=source).to(x.device)
            logits = network(torch.cat([x[rows], y[rows]])).squeeze(1)
            labels = torch.arange(2, device=x.device).repeat_interleave(len(rows)).float()
            loss = F.binary_cross_entropy_with_logits(logits, labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        right = [(network(y[half:]) > 0.0), (network(x[half:]) <= 0.0)]
    accuracy = torch.cat(right).double().mean().item()
    count = 2 * (x.shape[0] - half)
    return Estimate(accuracy, math.sqrt(accuracy * (1.0 - accuracy) / count))


def _classifier(event: tuple[int, ...], channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    if len(event) == 3:
        for a, b in pairwise([event[0], channels, channels, channels]):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU()]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1))
    for a, b in pairwise([math.prod(event), 2 * channels, 2 * channels]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(2 * channels, 1))


def _distances(x: Tensor, y: Tensor) -> Tensor:
    # Through a matrix product, equal points would not be at the distance 0.
    return torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")


def _check_samples(x: Tensor, y: Tensor, at_least: int = 1) -> None:
    check_real(x, "x")
    check_real(y, "y")
    check_device(y, "y", x.device, "x")
    if (
        min(x.dim(), y.dim()) < 2
        or (x.shape[:-2], x.shape[-1]) != (y.shape[:-2], y.shape[-1])
        or min(x.shape[-2], y.shape[-2]) < at_least
    ):
        raise ValueError(
            f"x and y must be [*, n, D] and [*, m, D] with at least {at_least} points (got "
            f"{list(x.shape)} and {list(y.shape)})"
        )
