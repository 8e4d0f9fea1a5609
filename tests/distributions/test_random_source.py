"""Draws from an explicit source: those of a seed, and nothing else is disturbed."""

import threading

import pytest
import torch
from torch import distributions as D

from compvae_pyg.distributions.normal import sample, sample_each
from compvae_pyg.distributions.random_source import DrawFrom

P = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.1, 0.3]])
KINDS = {
    "Bernoulli": D.Bernoulli(P),
    "Beta": D.Beta(P, P),
    "Binomial": D.Binomial(5, P),
    "Categorical": D.Categorical(P),
    "Cauchy": D.Cauchy(P, P),
    "Dirichlet": D.Dirichlet(P),
    "Exponential": D.Exponential(P),
    "Gamma": D.Gamma(P, P),
    "Independent": D.Independent(D.Laplace(P, P), 1),
    "LogNormal": D.LogNormal(P, P),
    "MixtureSameFamily": D.MixtureSameFamily(D.Categorical(P), D.Normal(P, P)),
    "MultivariateNormal": D.MultivariateNormal(P, torch.eye(3)),
    "Poisson": D.Poisson(P),
    "StudentT": D.StudentT(P + 3.0),
    "Uniform": D.Uniform(P, P + 1.0),
    "VonMises": D.VonMises(P, P),
}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", KINDS)
def test_a_seed_says_what_is_drawn_as_it_does_of_the_global_source(name):
    distribution = KINDS[name]
    torch.manual_seed(3)
    expected = distribution.sample()
    before = torch.get_rng_state()
    drawn = sample(distribution, seeded(3))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(drawn, expected)


def test_threads_with_sources_of_their_own_do_not_disturb_each_other():
    distribution = D.Gamma(torch.rand(50), 1.0)
    alone = [sample(distribution, seeded(k)) for k in range(300)]
    drawn = [None] * 300

    def draw(first):
        for k in range(first, 300, 2):
            drawn[k] = sample(distribution, seeded(k))

    threads = [threading.Thread(target=draw, args=(first,)) for first in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(map(torch.equal, alone, drawn))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: torch.rand(4),
        lambda: torch.randn(4),
        lambda: torch.randint(9, (4,)),
        lambda: torch.randint(5, 9, (4,)),
        lambda: torch.randperm(4),
        lambda: torch.rand_like(P),
        lambda: torch.randn_like(P),
        lambda: torch.randint_like(P, 9),
        lambda: torch.randint_like(P, 5, 9),
        lambda: torch.nn.Linear(3, 3).weight.detach(),
        lambda: torch.multinomial(P, 2),
    ],
)
def test_functions_of_torch_draw_from_the_source(draw):
    torch.manual_seed(3)
    expected = draw()
    before = torch.get_rng_state()
    with DrawFrom([seeded(3)]):
        drawn = draw()
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(drawn, expected)


def test_what_takes_no_source_is_refused(refuses):
    with refuses(ValueError, "generator"), DrawFrom([seeded(0)]):
        torch.native_dropout(P, 0.5, True)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "VonMises"])
def test_each_draws_from_a_source_of_its_own(name):
    def draw(rows):
        both = P.repeat(3, 1)[rows]
        kind = type(KINDS[name])
        if kind is D.Independent:
            distribution = D.Independent(D.Laplace(both, both), 1)
        elif kind is D.MixtureSameFamily:
            distribution = kind(D.Categorical(both), D.Normal(both, both))
        elif kind is D.MultivariateNormal:
            distribution = kind(both, torch.eye(3))
        elif kind is D.StudentT:
            distribution = kind(both + 3.0)
        elif kind is D.Uniform:
            distribution = kind(both, both + 1.0)
        elif kind is D.Binomial:
            distribution = kind(5, both)
        elif kind in (D.Beta, D.Cauchy, D.Gamma, D.Laplace, D.LogNormal):
            distribution = kind(both, both)
        else:
            distribution = kind(both)
        return sample_each(distribution, range(6)[rows])

    before = torch.get_rng_state()
    together = draw(slice(0, 6))
    apart = torch.cat([draw(slice(0, 4)), draw(slice(4, 5)), draw(slice(5, 6))])
    assert torch.equal(before, torch.get_rng_state())
    torch.testing.assert_close(together, apart, rtol=1e-6, atol=1e-6)
    assert len(together) == 6 and not torch.equal(together[0], together[2])
