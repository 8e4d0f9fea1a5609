"""How the suites measure: contenders in turn within one process, peaks of memory, lower bounds."""

import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Products", "Run", "interleave", "peak_bytes", "products_of_layers", "synchronise"]

Run = Callable[[], object]


def synchronise(device: torch.device) -> None:
    """Wait for a device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def interleave(
    benchmark: Any,
    contenders: Mapping[str, Run],
    device: torch.device,
    *,
    seconds: float = 8.0,
    min_rounds: int = 3,
    max_rounds: int = 60,
) -> dict[str, list[float]]:
    """Time contenders in turn, round after round, and return the seconds of each round.

    pytest-benchmark times the first contender; before each of its rounds the others run, in an
    order drawn anew. Each turn begins with a run that is not counted, so that the caches hold what
    the contender itself leaves there, as where it runs again and again. Rounds are as many as fit
    into ``seconds``; one run of each, which says how many, is not counted either.
    """
    (subject, subject_run), *others = contenders.items()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    order = random.Random(0)

    def timed(run: Run) -> float:
        run()
        synchronise(device)
        start = time.perf_counter()
        run()
        synchronise(device)
        return time.perf_counter() - start

    def run_others() -> None:
        order.shuffle(others)
        for name, run in others:
            times[name].append(timed(run))
        subject_run()
        synchronise(device)

    def run_subject() -> None:
        subject_run()
        synchronise(device)

    once = 2.0 * sum(timed(run) for run in contenders.values())
    rounds = max(min_rounds, min(max_rounds, int(seconds / once)))
    benchmark.pedantic(run_subject, setup=run_others, rounds=rounds)
    if benchmark.stats is not None:  # None with --benchmark-disable, where all ran once
        times[subject] = list(benchmark.stats.stats.data)
    benchmark.extra_info["seconds"] = times
    return times


def peak_bytes(run: Run, device: torch.device) -> int:
    """Most bytes that tensors made by ``run``, which has run before, hold at a time."""
    synchronise(device)
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        synchronise(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        run()
    assert record.profiler is not None
    held = peak = 0
    # Events come in the order of time.
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def products_of_layers(
    layers: Mapping[nn.Linear, int], device: torch.device, dtype: torch.dtype = torch.float32
) -> Run:
    """The bare matrix products of linear layers, forward, dX and dW, on so many rows each."""
    operands = []
    for layer, rows in layers.items():
        x = torch.randn(rows, layer.in_features, device=device, dtype=dtype)
        grad = torch.randn(rows, layer.out_features, device=device, dtype=dtype)
        operands.append((x, layer.weight.detach().to(dtype), grad))

    def run() -> None:
        for x, weight, grad in operands:
            torch.mm(x, weight.t())
            torch.mm(grad, weight)
            torch.mm(grad.t(), x)

    return run


class Products(TorchDispatchMode):
    """Records matrix products and convolutions, and does them again with nothing between.

    What it replays is the lower bound of what it recorded: the same shapes and strides of operands,
    the same directions, without biases of linear layers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Run] = []
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._overloadpacket.__name__.rstrip("_")
        values = [x.detach() if isinstance(x, Tensor) else x for x in args]
        if name in ("mm", "addmm"):
            self._add(torch.mm, *values[-2:])
        elif name in ("bmm", "baddbmm"):
            self._add(torch.bmm, *values[-2:])
        elif name in ("convolution", "convolution_backward"):
            self.calls.append(lambda: func(*values, **(kwargs or {})))
        return out

    def _add(self, product: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> None:
        self.flops += 2 * a.numel() * b.shape[-1]
        self.calls.append(lambda: product(a, b))

    def __call__(self) -> None:
        """Do them again."""
        with torch.no_grad():
            for call in self.calls:
                call()


def check_equal(contenders) -> None:
    """Check that all return what the first does, to the rounding of sums in another order."""
    (_, first), *others = contenders.items()
    expected = first.results()
    for name, other in others:
        results = other.results()
        assert results.keys() == expected.keys()
        for key, value in results.items():
            error = (value - expected[key]).norm() / expected[key].norm()
            assert torch.isfinite(value).all() and error < 5e-4, f"{key} of {name}: {error:.1e}"
