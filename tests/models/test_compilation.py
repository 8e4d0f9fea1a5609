"""Counts, which are deterministic, of what torch.compile makes of layers."""

import pytest
import torch

from compvae_pyg import CompVAEEncoder, GraphBlock

MOST_RECOMPILATIONS = 2


def block():
    layer = GraphBlock(8, 6)

    def call(sizes, batch):
        return layer(torch.randn(len(batch), 8), batch=batch, batch_size=len(sizes))

    return layer, call


def encoder():
    model = CompVAEEncoder(5, 3, hidden_channels=8, w_channels=4, z_channels=2, num_blocks=2)

    def call(sizes, batch):
        posterior = model(torch.randn(len(sizes), 5), torch.randn(len(batch), 3), batch, len(sizes))
        return posterior.w.rsample()

    return model, call


@pytest.mark.usefixtures("compiling")
# The encoder has blocks in it.
@pytest.mark.parametrize("build", [pytest.param(block, marks=pytest.mark.slow), encoder])
def test_fifty_batches_of_all_sizes_take_few_compilations(batch_of, build):
    compilations = 0

    def count(graph, example_inputs):
        nonlocal compilations
        compilations += 1
        return graph.forward

    torch.compiler.reset()
    model, call = build()
    # A graph break is an error under fullgraph.
    model.forward = torch.compile(model.forward, backend=count, fullgraph=True, dynamic=True)
    generator = torch.Generator().manual_seed(0)
    shapes = set()
    for step in range(50):
        # torch makes a graph of its own where a dimension is 1: here of one part, and of one set.
        num_sets = 1 if step < 2 else int(torch.randint(2, 40, (), generator=generator))
        sizes = torch.randint(0, 9, (num_sets,), generator=generator).tolist()
        sizes[0] = 1 if step == 0 else max(sizes[0], 2)
        batch = batch_of(sizes)
        shapes.add((len(sizes), len(batch)))
        call(sizes, batch).sum().backward()
    torch.compiler.reset()
    assert len(shapes) > 40
    assert 1 <= compilations <= 1 + MOST_RECOMPILATIONS
