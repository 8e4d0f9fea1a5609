import pytest
import torch
import torch.nn.functional as F

from compvae_pyg.nn import Residual


def test_residual_is_the_formula():
    block = Residual(4).double()
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    hidden = F.elu(x @ block.lin1.weight.T + block.lin1.bias)
    expected = x + hidden @ block.lin2.weight.T + block.lin2.bias
    torch.testing.assert_close(block(x), expected)


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
