import pytest
import torch
import torch.nn.functional as F
from torch import nn

from compvae_pyg.nn import Residual


def formula(block, x):
    hidden = F.elu(x @ block.lin1.weight.T + block.lin1.bias)
    return x + hidden @ block.lin2.weight.T + block.lin2.bias


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (2, 1, 3, 4), (0, 4)])
def test_residual_is_the_formula_in_any_number_of_dimensions(shape):
    block, x = Residual(4).double(), torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(block(x), formula(block, x))


@pytest.mark.filterwarnings("ignore:.*nested tensors.*:UserWarning")
def test_residual_of_a_nested_tensor_is_that_of_its_rows():
    block = Residual(4)
    rows, ptr = torch.randn(5, 4, requires_grad=True), torch.tensor([0, 2, 2, 5])
    nested = torch.nested.nested_tensor_from_jagged(rows, ptr)
    out = block(nested).values()
    torch.testing.assert_close(out, formula(block, rows))
    (grad,) = torch.autograd.grad(out.sum(), rows)
    torch.testing.assert_close(grad, torch.autograd.grad(formula(block, rows).sum(), rows)[0])


def test_reset_parameters_draws_every_parameter_anew():
    block = Residual(4)
    before = [p.clone() for p in block.parameters()]
    block.reset_parameters()
    assert all((p != q).all() for p, q in zip(before, block.parameters(), strict=True))


def test_repr():
    assert repr(Residual(4)) == "Residual(4)"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_residual_keeps_the_precision_of_its_input_under_autocast(dtype):
    block = Residual(4)
    x = 1.0 + 1e-4 * torch.randn(3, 4)  # Differences that 16 bits cannot hold.
    with torch.no_grad(), torch.autocast("cpu", dtype):
        out = block(x)
        torch.testing.assert_close(out, x + block.lin2(F.elu(block.lin1(x))), rtol=0, atol=0)
        assert out.dtype == torch.float32
        assert block(x.to(dtype)).dtype == dtype


def test_what_hooks_keep_is_never_changed():
    block, kept = Residual(4), []
    for module in block.modules():
        module.register_forward_hook(lambda _, args, out: kept.append((out, out.detach().clone())))
    block(torch.randn(3, 4, requires_grad=True)).sum().backward()
    assert len(kept) == 3
    for value, then in kept:
        torch.testing.assert_close(value.detach(), then, rtol=0, atol=0)


def test_full_backward_hooks_see_every_gradient():
    block, seen = Residual(4), []
    for module in block.modules():
        module.register_full_backward_hook(lambda module, *_: seen.append(module))
    block(torch.randn(3, 4, requires_grad=True)).sum().backward()
    assert seen == [block.lin2, block.lin1, block]


def test_second_derivatives_and_vmap():
    block = Residual(4).double()
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(block, x)
    torch.testing.assert_close(torch.func.vmap(block)(x), block(x))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_residual_may_be_quantised():
    block, x = Residual(16), torch.randn(3, 16)
    out = torch.ao.quantization.quantize_dynamic(block, {nn.Linear}, dtype=torch.qint8)(x)
    assert 0.0 < float((out - block(x)).norm() / block(x).norm()) < 0.05


@pytest.mark.parametrize(
    ("x", "error"),
    [
        (torch.zeros(3, 5), ValueError),
        (torch.tensor(1.0), ValueError),
        (torch.zeros(3, 4, dtype=torch.long), TypeError),
        (torch.zeros(3, 4, dtype=torch.float64), TypeError),
        (torch.zeros(3, 4, device="meta"), ValueError),
        ([1.0, 2.0, 3.0, 4.0], TypeError),
    ],
)
def test_input_that_does_not_fit_is_refused(refuses, x, error):
    with refuses(error, "x"):
        Residual(4)(x)


def test_what_a_replaced_forward_returns_is_not_changed():
    block, x = Residual(4), torch.randn(3, 4)
    held = []

    def keep(value):
        held.append(value)
        return value

    block.lin1.forward = block.lin2.forward = keep
    before = x.clone()
    torch.testing.assert_close(block(x), before + torch.nn.functional.elu(before))
    assert torch.equal(x, before)
    assert torch.equal(held[1], torch.nn.functional.elu(before))
