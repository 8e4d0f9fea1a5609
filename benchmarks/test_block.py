"""How near the graph block and the encoder come to the bare matrix products of their layers.

    python -m pytest benchmarks/test_block.py

The lower bound is every Linear of the layers as they are written, on as many rows as there are
parts (or sets, in the head of z), forward, dX and dW, with nothing between. Features of a whole go
through a Linear once a set, not once a part, so that the encoder makes fewer products than that:
``made`` are those that it does make. The encoder is measured under ``torch.compile`` as well.
"""

import pytest
import torch
from torch import nn

from benchmarks.layouts import SIZES, Case, PackedContender
from benchmarks.measure import Products, Run, interleave, products_of_layers
from compvae_pyg import GraphBlock
from compvae_pyg.nn import pack

# Width, and number of sets.
SETS = {64: 256, 128: 256, 256: 256, 512: 256, 1024: 128, 2048: 128}


def linears(module: nn.Module) -> list[nn.Linear]:
    return [m for m in module.modules() if isinstance(m, nn.Linear)]


@pytest.mark.parametrize(("width", "sets"), SETS.items())
def test_block(benchmark, device, width, sets) -> None:
    sizes = SIZES["uniform 1–16"](sets)
    batch, _ = pack(sizes, device)
    block = GraphBlock(width, width).to(device)
    x = torch.randn(len(batch), width, device=device).requires_grad_()
    weight = torch.randn(len(batch), width, device=device)

    def step() -> None:
        block.zero_grad(set_to_none=True)
        x.grad = None
        block(x, batch=batch, batch_size=sets).backward(weight)

    benchmark.extra_info.update(width=width, parts=len(batch))
    bound = products_of_layers({layer: len(batch) for layer in linears(block)}, device)
    interleave(benchmark, {"block": step, "products": bound}, device)


@pytest.mark.parametrize(("width", "sets"), SETS.items())
def test_encoder(benchmark, device, compiling, width, sets) -> None:
    case = Case.draw(width, SIZES["uniform 1–16"](sets), device)
    step = PackedContender(case)
    num_parts = len(case.parts)
    of_wholes = set(linears(case.encoder.z_head))
    rows = {layer: sets if layer in of_wholes else num_parts for layer in linears(case.encoder)}
    with Products() as made:
        step()
    benchmark.extra_info.update(width=width, parts=num_parts)
    bound = products_of_layers(rows, device)
    contenders: dict[str, Run] = {"encoder": step, "products": bound, "made": made}
    if compiling:
        contenders["compiled"] = PackedContender(case, compile=True)
    interleave(benchmark, contenders, device, seconds=20.0)
