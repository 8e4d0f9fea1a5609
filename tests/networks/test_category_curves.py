"""Networks for curves whose parts are described by a category."""

import pytest
import torch
from torch.distributions import Normal
from torch.testing import assert_close

from compvae_pyg.networks import CategoryNormal, build_category_curves
from compvae_pyg.networks.category_curves import GroupDecoder, LookUpEmbedding
from compvae_pyg.nn import PackedParts


@pytest.fixture
def prior():
    torch.manual_seed(0)
    return CategoryNormal(3, num_groups=5, channels=4)


def test_the_sum_counts_the_parts_whatever_their_categories(prior):
    category = torch.tensor([2, 2, 0, 1])
    loc, log_variance = prior({"category": category}).chunk(2, dim=1)
    w_sum = PackedParts(loc, torch.tensor([0, 0, 0, 1])).sum(loc)
    assert w_sum[:, -1].tolist() == [3.0, 1.0]
    assert (log_variance[:, -1] < -13.0).all()


def test_categories_start_wide_in_groups_of_their_own(prior):
    variance = prior.log_variance[:, :-1].exp().view(3, 5, 4)
    wide = variance[..., 1:] == 1.0
    assert wide.all(dim=2).sum(dim=1).tolist() == [1, 1, 1]
    assert wide.all(dim=2).sum(dim=0).max() == 1
    assert_close(variance.sum(dim=(1, 2)), torch.full((3,), 3.0 + 17 * 2e-3**2))


def test_the_prior_follows_the_moments_of_parts_alone_in_their_category():
    """Against a loop in 64 bits; equal parts, and those that are not finite, do not count.

    A number follows as far as the posterior knows more of it than the prior, and the sum of the
    variances of a category stays.
    """
    torch.manual_seed(0)
    prior = CategoryNormal(3, num_groups=2, channels=2)
    prior.log_variance[:, :-1] = torch.linspace(-2.0, 1.0, 12).view(4, 3).T
    batch = torch.arange(60) // 3
    category = torch.stack([torch.randperm(3) for _ in range(20)]).flatten()
    category[:3], category[3:6] = torch.tensor([1, 1, 2]), torch.tensor([0, 0, 0])
    mean, variance = torch.randn(60, 5), torch.rand(60, 5)
    mean[20] = torch.nan
    before = prior.loc.double(), prior.log_variance.double().exp()
    prior.follow(Normal(mean, variance.sqrt(), validate_args=False), parts(category, batch), 0.25)
    for c in range(3):
        found = [
            i
            for i in range(60)
            if category[i] == c and i != 20 and (category[batch == batch[i]] == c).sum() == 1
        ]
        assert len(found) > 10
        m, v = mean[found, :-1].double(), variance[found, :-1].double()
        old_loc, old = before[0][c, :-1], before[1][c, :-1]
        rate = 0.25 * (1.0 - v.mean(dim=0) / old).clamp(0.0, 1.0)
        assert (rate == 0.0).any() and (rate > 0.05).any()
        loc = (1.0 - rate) * old_loc + rate * m.mean(dim=0)
        new = (1.0 - rate) * old + rate * ((m - loc).square() + v).mean(dim=0)
        new = new * old.sum() / new.sum()
        assert_close(prior.loc[c, :-1].double(), loc, rtol=1e-5, atol=1e-6)
        assert_close(prior.log_variance[c, :-1].double().exp(), new, rtol=1e-4, atol=1e-6)
        assert (prior.loc[c, -1], prior.log_variance[c, -1].exp()) == (
            1.0,
            before[1][c, -1].float(),
        )


def parts(category, batch):
    return PackedParts({"category": category}, batch)


def test_a_category_of_which_there_are_few_keeps_its_moments(prior):
    state = {name: value.clone() for name, value in prior.state_dict().items()}
    q = Normal(torch.full((3, 21), 9.0), torch.ones(3, 21))
    prior.follow(q, parts(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 1])), 0.5)
    assert all(torch.equal(value, state[name]) for name, value in prior.state_dict().items())


def test_curves_grow_with_the_number_of_parts_that_the_sum_counts():
    """The same codes per part give the same curve per part, and at least so much noise."""
    torch.manual_seed(0)
    decoder = GroupDecoder(50, 3, 4, 2, 16, 8, min_relative_scale=0.1)
    w_sum = torch.randn(2, 13)
    w_sum[:, -1] = torch.tensor([1.0, 8.0])
    _, log_variance = decoder(w_sum, torch.zeros(2, 2)).chunk(2, dim=1)
    assert (log_variance.div(2).exp() >= 0.1 * w_sum[:, -1:]).all()
    with torch.no_grad():
        decoder.waves.weight.zero_()
    loc, _ = decoder(w_sum, torch.zeros(2, 2)).chunk(2, dim=1)
    assert_close(loc[1], 8.0 * loc[0])


def test_a_part_sees_the_curve_per_part_and_its_own_category_in_it():
    torch.manual_seed(0)
    embedding = LookUpEmbedding(4, 30, 5, 6, 8)
    x = torch.randn(2, 30)
    batch = torch.tensor([0, 0, 0, 1])
    category = torch.tensor([3, 1, 3, 1])
    whole, seen = embedding(x, {"category": category}, batch)
    assert whole.shape == (2, 5) and seen.shape == (4, 6)
    assert_close(seen[0], seen[2])
    assert not torch.allclose(seen[1], seen[3])
    # Three times the curve of three times the parts is the same curve per part.
    again, _ = embedding(x[:1] / 3, {"category": category[:1]}, batch[:1])
    assert_close(again, whole[:1])


def test_they_are_saved_whole_and_reset(tmp_path):
    torch.manual_seed(0)
    options = {"num_categories": 4, "num_groups": 5, "hidden_channels": 16, "group_channels": 8}
    model = build_category_curves(length=20, **options)
    model.generator.w_prior.net.loc.add_(0.5)  # what it has learned
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    some = {"category": torch.tensor([0, 3, 3])}
    draws = [m.generate(some, generator=torch.Generator().manual_seed(1)) for m in (model, again)]
    assert torch.equal(*draws) and draws[0].shape == (1, 20)
    model.reset_parameters()
    assert set(model.generator.w_prior.net.loc.unique().tolist()) == {0.0, 1.0}
