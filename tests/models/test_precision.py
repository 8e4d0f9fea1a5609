"""What stays in 32 bits when networks run in 16."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from compvae_pyg import CompVAE, Dots, GraphBlock, Sines

PROBLEMS = {"dots": Dots(), "sines": Sines()}
# Logarithms and exponentials, powers, and sums over sets: of softmax, densities and divergences.
SENSITIVE = ("exp", "log", "log1p", "pow", "rsqrt", "scatter_add", "scatter_reduce", "index_add")


class SensitiveDtypes(TorchDispatchMode):
    """Records in which floating-point types sensitive operations are done."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._overloadpacket.__name__.rstrip("_")
        if name in SENSITIVE:
            tensors = [x for x in args if isinstance(x, torch.Tensor) and x.is_floating_point()]
            self.seen.setdefault(name, set()).update(x.dtype for x in tensors)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", PROBLEMS)
def test_densities_and_sums_over_sets_are_done_in_32_bits(name):
    problem = PROBLEMS[name]
    model, data = problem.build("small"), problem.sample(torch.tensor([3, 1, 8, 2]))
    with SensitiveDtypes() as ops, torch.autocast("cpu", dtype=torch.bfloat16):
        terms = model.elbo(data.whole, problem.parts(data), data.batch, 4)
    assert {"exp", "log", "scatter_add", "scatter_reduce"} <= ops.seen.keys()
    assert all(dtypes == {torch.float32} for dtypes in ops.seen.values()), ops.seen
    assert {x.dtype for x in terms[:3]} == {torch.float32}
    terms.elbo.sum().backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert gradients and all(g.isfinite().all() for g in gradients.values())


def test_a_trained_model_says_nearly_the_same_in_16_bits():
    dots, model = PROBLEMS["dots"], CompVAE.from_pretrained("dots-small")
    data = dots.sample(torch.full((64,), 4), torch.Generator().manual_seed(0))
    terms = []
    for enabled in (False, True):
        torch.manual_seed(1)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            terms.append(model.elbo(data.whole, dots.parts(data), data.batch, 64))
    full, half = terms
    assert half.kl_w.mean().item() == pytest.approx(full.kl_w.mean().item(), rel=0.01)
    assert half.elbo.mean().item() == pytest.approx(full.elbo.mean().item(), rel=0.02)


def test_in_a_large_set_a_part_is_not_lost_among_the_others():
    # The others' messages are the sum less one's own: sums of thousands, rounded to eight bits,
    # would be off by more than a message.
    block, count = GraphBlock(16, 16), 4000
    x, batch = torch.randn(count, 16) + 1.0, torch.zeros(count, dtype=torch.long)
    heard = []
    block.received_net.register_forward_pre_hook(lambda _, args: heard.append(args[0]))
    said = []
    block.message_net[2].register_forward_hook(lambda _, args, out: said.append(out))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        block(x, batch=batch, batch_size=1)
    expected = said[0].double().sum(dim=0) - said[0].double()
    # Rounded once, to the type of the network.
    torch.testing.assert_close(heard[0].double(), expected, rtol=2**-8, atol=0.0)
