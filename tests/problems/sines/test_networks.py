"""Networks of the small sines."""

import pytest
import torch
from torch.testing import assert_close

from compvae_pyg import CompVAE, Sines


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Sines().build("small")


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
