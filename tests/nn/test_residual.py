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
