"""What packing buys over padding: one graph block, forward and backward.

    python -m pytest benchmarks/test_batching.py --benchmark-group-by=param:sizes

Both contenders run on the same sets with the same weights, and their results are checked to be
equal first. The ideal ratio of their times is that of their rows, which the benchmark reports as
``ideal``: the padded layout holds ``S * max(K)`` of them, the packed one ``sum(K)``.
"""

import pytest
import torch
from torch import Tensor

from compvae_pyg import GraphBlock
from compvae_pyg.problems import pack

NUM_SETS = 256
CHANNELS = 128
SIZES = {
    "all 8": lambda g: torch.full((NUM_SETS,), 8),
    "uniform 1-16": lambda g: torch.randint(1, 17, (NUM_SETS,), generator=g),
    "one of 500": lambda g: torch.cat(
        [torch.randint(1, 9, (NUM_SETS - 1,), generator=g), torch.tensor([500])]
    ),
}


def padded(block: GraphBlock, x: Tensor, mask: Tensor) -> Tensor:
    """Run the block's networks on ``[S, K_max, C]`` with a mask, as one would without packing."""
    message = block.message_net(x) * mask
    received = block.received_net(message.sum(dim=1, keepdim=True) - message)
    return block.update_net(torch.cat([x, received], dim=-1)) * mask


@pytest.mark.parametrize("layout", ["packed", "padded"])
@pytest.mark.parametrize("sizes", SIZES)
def test_graph_block(benchmark, sizes: str, layout: str) -> None:
    generator = torch.Generator().manual_seed(0)
    num_parts = SIZES[sizes](generator)
    batch, ptr = pack(num_parts)
    place = (batch, torch.arange(batch.shape[0]) - ptr[batch])
    block = GraphBlock(CHANNELS, CHANNELS)
    x = torch.randn(batch.shape[0], CHANNELS, generator=generator)
    shape = (NUM_SETS, int(num_parts.max()))
    x_padded = torch.zeros(*shape, CHANNELS).index_put(place, x)
    mask = torch.zeros(*shape, 1).index_put(place, torch.ones(1))

    def run_packed() -> Tensor:
        return block(x, batch=batch, batch_size=NUM_SETS)

    def run_padded() -> Tensor:
        return padded(block, x_padded, mask)

    torch.testing.assert_close(run_padded()[place], run_packed(), rtol=1e-4, atol=1e-4)
    run = run_packed if layout == "packed" else run_padded
    benchmark.extra_info["ideal"] = shape[0] * shape[1] / batch.shape[0]
    benchmark.pedantic(lambda: run().sum().backward(), rounds=20, warmup_rounds=3)
