"""What stays in 32 bits when networks run in 16."""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from compvae_pyg import CompVAE, Dots, GraphBlock, Sines
from compvae_pyg.models import attribute

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
    assert {"exp", "log1p", "scatter_add", "scatter_reduce"} <= ops.seen.keys()
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
    received, messages = [], []
    block.update_net.register_forward_pre_hook(lambda _, args: received.append(args[1]))
    block.message_net.register_forward_hook(lambda _, args, out: messages.append(out))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        block(x, batch=batch, batch_size=1)
    expected = messages[0].double().sum(dim=0) - messages[0].double()
    # Rounded once, to the type of the network.
    torch.testing.assert_close(received[0].double(), expected, rtol=2**-8, atol=0.0)


# Weights in 16 bits, and inputs of another type than the weights


def seed(number=2):
    return torch.Generator().manual_seed(number)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", PROBLEMS)
def test_a_model_of_16_bits_gives_what_it_gives_in_32_to_their_precision(name, dtype):
    problem = PROBLEMS[name]
    torch.manual_seed(0)
    model, data = problem.build("small").eval(), problem.sample(torch.tensor([3, 1, 8, 2] * 8))
    half = copy.deepcopy(model).to(dtype)
    full, terms = (m.elbo(data.whole, data, generator=seed()) for m in (model, half))
    for one, other in zip(terms[:3], full[:3], strict=True):
        assert one.dtype == torch.float32 and one.isfinite().all()
        assert one.mean().item() == pytest.approx(other.mean().item(), rel=0.06, abs=0.1)
    # Scaled, as mixed precision does: those of untrained networks come to 10^7, beyond float16.
    (2.0**-12 * terms.elbo.mean()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in half.parameters())
    full, wholes = (m.generate(data, generator=seed()) for m in (model, half))
    assert wholes.dtype == torch.float32
    # But for pixels on borders, which are where the largest of sums changes.
    off = (wholes - full).abs() > 0.05 * full.abs().max()
    assert off.float().mean() < 0.01
    seen = half.infer(data.whole, data)
    assert {seen.w.dtype, seen.z.dtype, seen.remove(0).decode().mean.dtype} == {torch.float32}
    assert seen.decode().mean.isfinite().all()
    assert half.log_likelihood(data.whole, data, num_samples=2).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_real_fields_and_wholes_of_another_type_are_taken_as_the_model_s(dtype):
    dots = PROBLEMS["dots"]
    torch.manual_seed(0)
    model, data = dots.build("small").eval(), dots.sample(torch.tensor([3, 1, 8, 2]))
    # Numbers that all types have.
    parts = {"color": data.color, "pos": (8.0 * data.pos).round() / 8.0}
    whole = (16.0 * data.whole).round() / 16.0
    other = {"color": data.color, "pos": parts["pos"].to(dtype)}
    batch = data.batch
    calls = {
        "elbo": lambda x, p: torch.stack(model.elbo(x, p, batch, generator=seed())[:3]),
        "log_likelihood": lambda x, p: model.log_likelihood(
            x, p, batch, num_samples=2, generator=seed()
        ),
        "reconstruct": lambda x, p: model.reconstruct(x, p, batch, generator=seed()),
        "generate": lambda x, p: model.generate(p, batch, generator=seed()),
        "compose": lambda x, p: model.compose(p, batch, generator=seed()).w,
        "add": lambda x, p: (
            model.compose(parts, batch, generator=seed(1)).add(p, batch, generator=seed()).w
        ),
        "attribute": lambda x, p: attribute(model, x, p, batch, generator=seed()).parts,
    }
    for name, call in calls.items():
        assert torch.equal(call(whole.to(dtype), other), call(whole, parts)), name
    assert model.elbo(whole.to(dtype), other, batch).elbo.dtype == torch.float32
