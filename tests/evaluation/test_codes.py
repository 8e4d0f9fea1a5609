from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.distributions import Normal

from compvae_pyg import Sines
from compvae_pyg.evaluation import evaluate_codes, format_table
from compvae_pyg.nn import PackedParts


class CodesModel(nn.Module):
    """A prior that depends on the category, and codes that a function makes of noise."""

    def __init__(self, codes):
        super().__init__()
        self.codes = codes
        self.generator = SimpleNamespace(pack=PackedParts.of, prior_w=self.prior_w)

    def elbo(self):
        raise NotImplementedError

    def prior_w(self, parts):
        scale = 1.0 + parts["category"].float().unsqueeze(1).expand(-1, 3)
        return Normal(5.0 * scale, scale)

    def posterior(self, whole, parts, *, w_prior):
        code = self.codes(parts, torch.randn(w_prior.mean.shape))
        draw = SimpleNamespace(rsample=lambda: w_prior.mean + w_prior.stddev * code)
        return SimpleNamespace(w=draw)


def rows(codes, **options):
    options = {"num_parts": [1, 6], "num_wholes": 400, "batch_size": 150, **options}
    return evaluate_codes(CodesModel(codes), Sines(num_categories=3), **options)


def test_codes_that_are_the_prior_are_found_so():
    one, six = rows(lambda parts, noise: noise)
    assert (one.num_parts, six.num_parts) == (1, 6)
    for row in (one, six):
        assert abs(row.variance.mean - 1.0) < 4.0 * row.variance.standard_error
        assert row.mean < 0.15
        assert row.energy_distance < 3.0 * row.true_energy_distance
    assert list(one.by_multiplicity) == ["1"]
    assert list(six.by_multiplicity)[:4] == ["1", "2", "3", "4"]
    assert all(abs(six.by_multiplicity[n] - 1.0) < 0.2 for n in "1234")


def test_equal_parts_with_one_code_are_found_by_their_multiplicity():
    def shared(parts, noise):
        return noise[3 * parts.batch + parts["category"]]

    (row,) = rows(shared, num_parts=[6])
    # n times one code: n^2 over n.
    for n in range(1, 5):
        assert row.by_multiplicity[str(n)] == pytest.approx(n, rel=0.2)
    assert row.variance.mean == pytest.approx(1.0, rel=0.1)


def test_codes_in_the_wrong_place_are_found():
    (row,) = rows(lambda parts, noise: 2.0 + 0.5 * noise, num_parts=[6])
    assert row.mean == pytest.approx(2.0, rel=0.02)
    assert row.variance.mean == pytest.approx(4.25, rel=0.02)
    assert row.energy_distance > 20.0 * row.true_energy_distance


def test_rows_do_not_depend_on_the_others_nor_on_the_global_source():
    both = rows(lambda parts, noise: noise)
    torch.manual_seed(3)
    (six,) = rows(lambda parts, noise: noise, num_parts=[6])
    assert six == both[1]
    assert "variance by multiplicity" in format_table(both)


def test_wrong_arguments_are_refused(refuses):
    with refuses(ValueError, "num_wholes"):
        rows(lambda parts, noise: noise, num_wholes=0)
    with refuses(ValueError, "num_parts"):
        rows(lambda parts, noise: noise, num_parts=[0])
    with refuses(TypeError, "model"):
        evaluate_codes(None, Sines())
