"""Random numbers come from the generator that is given, or from the global source."""

import pytest
import torch

from compvae_pyg import rank_parts
from compvae_pyg.models import attribute

SIZES = (3, 0, 1, 2)
S, N = 4, 6

CALLS = {
    "elbo": lambda m, x, p, g: torch.stack(m.elbo(x, *p, generator=g)[:3]),
    "forward": lambda m, x, p, g: m(x, *p, generator=g).elbo,
    "posterior": lambda m, x, p, g: m.posterior(x, *p, generator=g).z_sample,
    "posterior, parts": lambda m, x, p, g: m.posterior(x, *p, generator=g).w.loc,
    "encoder": lambda m, x, p, g: (
        m.encoder(*m.embedding(x, p[0], p[1]), *p[1:], generator=g).w.scale
    ),
    "infer": lambda m, x, p, g: m.infer(x, *p, generator=g).w,
    "infer, z": lambda m, x, p, g: m.infer(x, *p, generator=g).z,
    "reconstruct": lambda m, x, p, g: m.reconstruct(x, *p, generator=g),
    "log_likelihood": lambda m, x, p, g: m.log_likelihood(
        x, *p, num_samples=5, chunk_size=3, generator=g
    ),
    "attribute": lambda m, x, p, g: attribute(m, x, *p, generator=g).parts,
    "rank_parts": lambda m, x, p, g: (
        rank_parts(m, x[:1], *p, num_samples=3, generator=g).log_likelihood
    ),
    "generate": lambda m, x, p, g: m.generate(*p, generator=g),
    "generate, noise": lambda m, x, p, g: m.generate(*p, observation_noise=True, generator=g),
    "generate_counts": lambda m, x, p, g: m.generate_counts(torch.ones(2, N), p[0], generator=g),
    "compose": lambda m, x, p, g: m.compose(*p, generator=g).w,
    "compose, z": lambda m, x, p, g: m.compose(*p, generator=g).z_eps,
    "generator": lambda m, x, p, g: m.generator(*p, generator=g).mean,
}
calls = [
    pytest.mark.parametrize("name", CALLS),
    pytest.mark.filterwarnings("ignore:the best candidate"),
]
pytestmark = calls


@pytest.fixture(params=[False, True], ids=["plain", "residual"])
def given(request, small_model, batch_of, draw):
    """A model, wholes and parts."""
    model = small_model(residual_posterior=request.param).requires_grad_(False)
    return model, draw(S, 5), (draw(N, 3, seed=1), batch_of(SIZES), S)


def test_a_seed_says_what_is_drawn_and_the_global_source_is_left_alone(given, name):
    def run(number):
        return CALLS[name](*given, torch.Generator().manual_seed(number))

    state = torch.get_rng_state()
    first = run(1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert torch.equal(run(1), first)
    # No number is the same, but those of sets without parts that nothing random touches.
    assert (run(2) != first).double().mean() > 0.6


def test_without_a_generator_the_global_source_says_what_is_drawn(given, seeded, name):
    with seeded(1):
        first, second = (CALLS[name](*given, None) for _ in range(2))
    with seeded(1):
        again = CALLS[name](*given, None)
    assert torch.equal(first, again) and not torch.equal(first, second)


def test_what_is_no_generator_is_refused(refuses, given, name):
    for wrong in (7, "cpu"):
        with refuses(TypeError, "generator"):
            CALLS[name](*given, wrong)
