"""Networks of the small sines."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from compvae_pyg import CompVAE, Sines
from compvae_pyg.nn import PackedParts
from compvae_pyg.problems.sines.networks import (
    CategoryRows,
    SpectralEmbedding,
    WaveDecoder,
    WideELU,
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Sines().build("small")


def test_the_sum_counts_the_parts_of_each_category():
    category = torch.tensor([2, 2, 0, 1])
    loc, log_variance = CategoryRows(3, 4)({"category": category}).chunk(2, dim=1)
    w_sum = PackedParts(loc, torch.tensor([0, 0, 0, 1])).sum(loc).view(2, 3, 4)
    assert w_sum[..., 0].tolist() == [[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]
    assert (w_sum[..., 1:] == 0.0).all()
    variance = log_variance.exp().view(4, 3, 4)
    assert_close(variance[torch.arange(4), category, 1:], torch.ones(4, 3))
    assert_close(variance.sum(dim=(1, 2)), torch.full((4,), 3.0 + 9 * 1e-4**2))


def test_curves_saturate_at_the_number_of_parts():
    torch.manual_seed(0)
    decoder = WaveDecoder(3, 4, z_channels=2, min_relative_scale=0.1)
    with torch.no_grad():
        decoder.waves.bias += 100.0
    table = torch.zeros(2, 3, 4)
    table[0, 1, 0], table[1, :, 0] = 1.0, 5.0
    loc, log_variance = decoder(table.flatten(1), torch.zeros(2, 2)).chunk(2, dim=1)
    assert_close(loc, torch.tensor([[1.0], [15.0]]).expand(2, 200))
    assert (log_variance.div(2).exp() >= torch.tensor([[0.1], [1.5]])).all()


def test_a_part_adds_the_same_wave_in_wholes_of_any_size():
    torch.manual_seed(0)
    decoder = WaveDecoder(3, 4, z_channels=2, min_relative_scale=0.1)
    table = torch.randn(2, 3, 4)
    table[..., 0] = torch.tensor([[1.0, 0.0, 0.0], [1.0, 7.0, 4.0]])
    table[1, 0] = table[0, 0]
    with torch.no_grad():
        decoder.waves.bias.zero_()
        size = torch.tensor([[1.0], [12.0]])

        def curves(table):
            loc, _ = decoder(table.flatten(1), torch.zeros(2, 2)).chunk(2, dim=1)
            return size * torch.atanh(loc / size)

        # What the first row says is exchanged for the same; the rest stays.
        before, after = curves(table), table.clone()
        after[:, 0, 1:] = torch.tensor([0.3, -0.2, 0.1])
        change = curves(after) - before
    assert_close(change[0], change[1], rtol=1e-3, atol=1e-4)
    assert change.abs().max() > 1e-3


def test_a_part_sees_the_curve_per_part_and_its_own_category_in_it():
    torch.manual_seed(0)
    embedding = SpectralEmbedding(4, 5, 6)
    x = torch.randn(2, 200)
    batch = torch.tensor([0, 0, 0, 1])
    category = torch.tensor([3, 1, 3, 1])
    whole, parts = embedding(x, {"category": category}, batch)
    assert whole.shape == (2, 5) and parts.shape == (4, 6)
    assert_close(parts[0], parts[2])
    assert not torch.allclose(parts[1], parts[3])
    # Three times the curve of three times the parts is the same curve per part.
    again, _ = embedding(x[:1] / 3, {"category": category[:1]}, batch[:1])
    assert_close(again, whole[:1])


def test_curves_do_not_touch_each_other(model):
    sines = Sines()
    data = sines.sample(torch.tensor([2, 0, 5]), torch.Generator().manual_seed(1))
    whole, parts = model.embedding(data.whole, sines.parts(data), data.batch)
    alone = model.embedding(
        data.whole[2:], {"category": data.category[2:]}, torch.zeros(5, dtype=torch.long)
    )
    assert_close(whole[2:], alone[0])
    assert_close(parts[2:], alone[1])


def test_untrained_networks_hold_z_back(model):
    sines = Sines()
    data = sines.sample(torch.tensor([1, 3, 5]), torch.Generator().manual_seed(1))
    terms = model.elbo(data.whole, sines.parts(data), data.batch)
    assert_close(terms.kl_z, torch.zeros(3))
    assert (terms.kl_w > 0).all()


def test_bad_categories_are_named(model):
    with pytest.raises(ValueError, match="category"):
        model.generate({"category": torch.tensor([0, 12])})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_wide_elu_is_elu_with_and_without_a_gradient(dtype):
    far = torch.logspace(-6, 9, 200, dtype=dtype)
    x = torch.cat([-far, torch.zeros(1, dtype=dtype), far])
    expected = F.elu(x)
    assert torch.equal(WideELU()(x.clone()), expected)
    assert torch.equal(WideELU()(x.clone().requires_grad_().clone()), expected)


def test_curves_may_lie_in_memory_in_any_order():
    model, sines = Sines().build("small").eval(), Sines()
    data = sines.sample(torch.tensor([2, 3, 1]))
    parts, order = sines.parts(data), (data.batch, 3)
    columns = data.whole.T.contiguous().T
    with torch.no_grad():
        features = model.embedding(data.whole, parts, data.batch)
        assert_close(model.embedding(columns, parts, data.batch), features)
    assert model.elbo(columns, parts, *order).elbo.shape == (3,)


def test_thousands_of_parts_are_embedded_as_they_are_few_at_a_time():
    model, sines = CompVAE.from_pretrained("sines-small"), Sines()
    data = sines.sample(torch.full((600,), 5), torch.Generator().manual_seed(0))
    category, batch = data.category, data.batch
    with torch.no_grad():
        whole, parts = model.embedding(data.whole, {"category": category}, batch)
        for first in range(0, 600, 100):
            rows = slice(5 * first, 5 * (first + 100))
            few = model.embedding(
                data.whole[first : first + 100], {"category": category[rows]}, batch[rows] - first
            )
            torch.testing.assert_close(whole[first : first + 100], few[0])
            torch.testing.assert_close(parts[rows], few[1])
