"""Wholes in chunks: their size bounds the memory, and changes nothing else."""

import copy
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Independent

from compvae_pyg import Dots
from compvae_pyg.distributions import noise
from compvae_pyg.models import attribute, chunks, rank_parts

DOTS = Dots()
SIZES = torch.tensor([2, 0, 3, 1, 9, 1, 0, 4, 30, 1])


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return DOTS.build("small", hidden_channels=8).double().eval()


@pytest.fixture(scope="module")
def drawn():
    return DOTS.sample(SIZES, seeded(1))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def calls(model, data, **options):
    parts, sets = DOTS.parts(data), (data.batch, len(SIZES))
    options = {"generator": seeded(), **options}
    counts = torch.arange(10 * len(parts["color"])).view(10, -1)
    made, noisy = (parts, *sets), {**options, "observation_noise": True}
    seen = (data.whole, *made)
    return {
        "generate": lambda: model.generate(*made, **options),
        "generate, noise": lambda: model.generate(*made, **noisy),
        "counts": lambda: model.generate_counts(counts, parts, **options),
        "counts, noise": lambda: model.generate_counts(counts, parts, **noisy),
        "infer": lambda: model.infer(*seen, **options).w,
        "infer, z": lambda: model.infer(*seen, **options).z,
        "reconstruct": lambda: model.reconstruct(*seen, **options),
        "attribution": lambda: torch.cat(attribute(model, *seen, **options)[:2]),
        "likelihood": lambda: model.log_likelihood(*seen, num_samples=3, **options),
        "sample": lambda: model.compose(*made, generator=seeded(2)).sample(**options),
        "mean": lambda: model.compose(*made, generator=seeded(2)).decode_mean(
            options.get("chunk_size", 100)
        ),
    }


NAMES = list(calls(None, DOTS.sample(SIZES, seeded(1))))


@pytest.mark.parametrize("chunk_size", [1, 3, 10])
@pytest.mark.parametrize("name", NAMES)
def test_the_size_of_chunks_changes_no_result(model, drawn, name, chunk_size):
    expected = calls(model, drawn)[name]()
    out = calls(model, drawn, chunk_size=chunk_size)[name]()
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("chunk_size", [1, 3, 10])
def test_nor_do_blocks_of_a_decoder_that_draws_otherwise(model, drawn, chunk_size):
    class Coins(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, w_sum, z):
            return Independent(Bernoulli(logits=self.net(w_sum, z).mean), 3)

    model = copy.deepcopy(model)
    model.generator.decoder = Coins(model.generator.decoder)
    for name in ("generate, noise", "counts, noise", "sample"):
        expected = calls(model, drawn)[name]()
        out = calls(model, drawn, chunk_size=chunk_size)[name]()
        assert torch.equal(out, expected) and 0.0 < out.mean() < 1.0


def test_wholes_of_many_parts_are_added_up_in_blocks(model, drawn, monkeypatch):
    parts, sets = DOTS.parts(drawn), (drawn.batch, len(SIZES))
    weight = torch.randn(len(drawn.batch), generator=seeded(3))
    monkeypatch.setattr(noise, "_ROWS", 16)
    expected = model.generator.w_sum_prior(parts, *sets, weight=weight)
    rows = []
    handle = model.generator.w_prior.register_forward_hook(lambda _, i, o: rows.append(o.loc.shape))
    made = model.generate(parts, *sets, weight=weight, generator=seeded())
    handle.remove()
    assert max(shape[0] for shape in rows) <= 16 < len(drawn.batch)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            composed = model.compose(parts, *sets, weight=weight, generator=seeded())
        torch.testing.assert_close(made, composed.decode_mean(), rtol=1e-9, atol=1e-9)
    few = model.generate(parts, *sets, weight=weight, generator=seeded(), chunk_size=3)
    torch.testing.assert_close(made, few, rtol=1e-9, atol=1e-9)
    many = torch.stack(
        [
            chunks.Sums(model.generator, model.generator.pack(parts, *sets, weight=weight), g)[
                0 : len(SIZES)
            ]
            for g in map(seeded, range(150))
        ]
    )
    error = (many.mean(dim=0) - expected.mean) / (expected.stddev + 1e-12) * 150**0.5
    assert error.abs().max() < 5.0


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(("coupling", "aggr"), [("paper", "sum"), ("scaled", "mean")])
def test_a_whole_of_many_parts_passes_in_blocks(
    small_model, draw, monkeypatch, coupling, aggr, residual
):
    model = small_model(coupling=coupling, aggr=aggr, residual_posterior=residual)
    with torch.no_grad():
        # One coordinate has a member that takes nearly all of the noise, another nearly none.
        model.encoder.w_head.weight[8:].mul_(3.0)
        model.encoder.w_head.bias[8:] = torch.tensor([4.0, 0.0, -9.0, 0.0])
    sizes = torch.tensor([2, 50, 1])
    whole, parts = draw(3, 5), draw(53, 3, seed=1)
    sets, weight = (torch.arange(3).repeat_interleave(sizes), 3), draw(53, seed=2)

    def results(chunk_size):
        given = {"weight": weight, "chunk_size": chunk_size}
        made = model.infer(whole, parts, *sets, generator=seeded(4), **given)
        value = model.log_likelihood(
            whole, parts, *sets, num_samples=3, generator=seeded(5), **given
        )
        given.pop("weight")
        shares = attribute(model, whole, parts, *sets, generator=seeded(6), **given)
        given |= {"candidate_batch": torch.tensor([0, 0, 0]), "num_samples": 3}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ranking = rank_parts(model, whole[:1], parts, *sets, generator=seeded(7), **given)
        return made.w, made.z, value, *shares[:2], ranking.log_likelihood

    monkeypatch.setattr(noise, "_ROWS", 32)
    monkeypatch.setattr(chunks, "_AT_A_TIME", 16)
    expected = results(100)
    rows = []
    for network in (model.encoder.w_head, model.generator.w_prior):
        network.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    torch.testing.assert_close(results(2), expected, rtol=1e-9, atol=1e-9)
    assert max(rows) == 16


def test_likelihoods_of_many_wholes_are_made_in_chunks_where_no_gradients_flow(drawn):
    model = DOTS.build("small", hidden_channels=8)
    made = model.compose(DOTS.parts(drawn), drawn.batch, len(SIZES))
    expected, seen = made.decode(), []
    assert expected.mean.requires_grad
    model.generator.decoder.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    with torch.no_grad():
        likelihood = chunks.decode_all(model.generator, made.w_sum, made.z, chunk_size=4)
    assert seen == [4, 4, 2] and likelihood.event_shape == expected.event_shape
    whole = expected.sample()
    torch.testing.assert_close(likelihood.log_prob(whole), expected.log_prob(whole))


@pytest.mark.parametrize("name", NAMES)
def test_no_room_is_refused_before_anything_is_drawn(model, drawn, refuses, name):
    before = torch.get_rng_state()
    with refuses(ValueError, "chunk_size"):
        calls(model, drawn, chunk_size=0, generator=None)[name]()
    assert torch.equal(before, torch.get_rng_state())


def peak_of(code):
    """Return by how many GB a program exceeds the memory that it held, without its results."""
    program = f"""
import resource, torch
from compvae_pyg import CompVAE
torch.set_num_threads(1)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
before = peak()
{code}
print(peak() - before - out.numel() * out.element_size() / 1e9)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        """
model = CompVAE.from_pretrained("dots-small")
batch = torch.arange(20_000).repeat_interleave(4)
parts = {"color": batch % 5, "pos": torch.rand(len(batch), 2) - 0.5}
out = model.generate(parts, batch)
""",
        """
model = CompVAE.from_pretrained("sines-small")
out = model.generate_counts(
    torch.randint(9, (10**6, 10)), {"category": torch.arange(10)}
)
""",
        """
model = CompVAE.from_pretrained("dots-small")
parts = {"color": torch.arange(10**5) % 5, "pos": torch.rand(10**5, 2) - 0.5}
out = model.generate(parts)
""",
        """
model = CompVAE.from_pretrained("dots-small")
parts = {"color": torch.arange(10**5) % 5, "pos": torch.rand(10**5, 2) - 0.5}
out = model.log_likelihood(torch.rand(1, 3, 32, 32), parts, num_samples=1)
""",
        """
model = CompVAE.from_pretrained("dots-small")
parts = {"color": torch.arange(10**5) % 5, "pos": torch.rand(10**5, 2) - 0.5}
out = model.infer(torch.rand(1, 3, 32, 32), parts).w
""",
        """
model = CompVAE.from_pretrained("dots-small")
batch = torch.arange(20_000).repeat_interleave(2)
parts = {"color": batch % 5, "pos": torch.rand(len(batch), 2) - 0.5}
with torch.no_grad():
    out = model.compose(parts, batch).decode().mean
""",
        """
model = CompVAE.from_pretrained("sines-small")
parts = {"category": torch.arange(10**6) % 10}
out = model.log_likelihood(torch.randn(1, 200), parts, num_samples=1)
""",
        """
from compvae_pyg.models import attribute
model = CompVAE.from_pretrained("dots-small")
parts = {"color": torch.arange(10**5) % 5, "pos": torch.rand(10**5, 2) - 0.5}
out = attribute(model, torch.rand(1, 3, 32, 32), parts).parts
""",
        """
model = CompVAE.from_pretrained("dots-small")
batch = torch.arange(2_000).repeat_interleave(8)
parts = {"color": batch % 5, "pos": torch.rand(len(batch), 2) - 0.5}
out = model.infer(torch.rand(2_000, 3, 32, 32), parts, batch).w
""",
    ],
    ids=[
        *("wholes", "counts", "parts", "likelihood", "latents", "distribution"),
        *("a million parts", "shares", "latents of wholes"),
    ],
)
def test_memory_has_a_bound(code):
    assert peak_of(code) < 2.0
