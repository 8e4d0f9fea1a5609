"""Networks of the small sines."""

import pytest
import torch
from torch.testing import assert_close

from compvae_pyg import Sines
from compvae_pyg.nn import set_sum
from compvae_pyg.problems.sines_networks import CategoryTable, SpectralEmbedding, WaveDecoder


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Sines().build("small")


def test_the_sum_counts_the_parts_of_each_category_at_first():
    category = torch.tensor([2, 2, 0, 1])
    loc = CategoryTable(3, 4)({"category": category})[:, :12]
    w_sum = set_sum(loc, torch.tensor([0, 0, 0, 1]), 2).view(2, 3, 4)
    assert w_sum[..., 0].tolist() == [[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]]
    assert (w_sum[..., 1:] == 0.0).all()


def test_curves_saturate_at_the_number_of_parts_at_first():
    torch.manual_seed(0)
    decoder = WaveDecoder(3, 4, z_channels=2)
    with torch.no_grad():
        decoder.waves.bias += 100.0
    table = torch.zeros(2, 3, 4)
    table[0, 1, 0], table[1, :, 0] = 1.0, 5.0
    loc, log_variance = decoder(table.flatten(1), torch.zeros(2, 2)).chunk(2, dim=1)
    assert_close(loc, torch.tensor([[1.0], [15.0]]).expand(2, 200))
    assert log_variance.shape == (2, 200)


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
    with pytest.raises(ValueError, match=r"category must lie in \[0, 10\) \(got 12 at part 1\)"):
        model.generate({"category": torch.tensor([0, 12])})
