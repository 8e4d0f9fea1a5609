"""Batches padded to a fixed size: what is said of the real sets does not change."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from compvae_pyg import CompVAEEncoder, Dots
from compvae_pyg.nn import PackedParts

SIZES = (3, 1, 0, 5, 2, 4, 1, 8, 2)
S, N = 9, 26


def encoder(num_blocks=3):
    torch.manual_seed(3)
    return CompVAEEncoder(
        32, 64, 64, w_channels=32, z_channels=32, num_blocks=num_blocks, part_noise=False
    )


@pytest.fixture
def inputs(batch_of):
    """Features of wholes, and of parts, packed."""
    torch.manual_seed(5)
    return torch.randn(S, 32), PackedParts(torch.randn(N, 64), batch_of(SIZES), S)


def padded(whole, parts, num_parts, num_sets=None):
    parts = parts.pad(num_parts, num_sets)
    return torch.cat([whole, whole[:1].expand(parts.batch_size - S, -1)]), parts


def outputs(model, whole, parts, z):
    """All that is returned of sets, and all that is returned of parts."""
    posterior = model(whole, parts.fields, parts, z=z)
    w = posterior.w
    kl = kl_divergence(w, Normal(torch.zeros(32), torch.ones(32)))
    of_sets = (posterior.z.mean, posterior.z.stddev, w.log_null, w.sum_mean, w.sum_variance, kl)
    return of_sets, (w.loc, w.scale, w.rho, w.variance)


@pytest.mark.parametrize(("num_parts", "num_sets"), [(N, None), (N + 1, 10), (64, 13), (1000, 40)])
def test_what_is_returned_of_real_sets_is_the_same_to_the_bit(inputs, num_parts, num_sets):
    # On the CPU, rows of products depend on how many follow only if they are few, and elements of
    # ELU only at the end of a tensor whose length is no multiple of the vectors'.
    model, given = encoder(), padded(*inputs, num_parts, num_sets)
    z = torch.randn(S, 32)
    z_padded = torch.cat([z, torch.randn(given[1].batch_size - S, 32)])
    real, with_padding = outputs(model, *inputs, z), outputs(model, *given, z_padded)
    for count, ours, theirs in zip((S, N), with_padding, real, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one[:count], other)


def test_gradients_are_those_of_the_real_sets(inputs):
    model, z = encoder().double(), torch.randn(S, 32, dtype=torch.float64)
    whole, parts = inputs[0].double(), inputs[1].to(dtype=torch.float64)
    gradients = []
    for x, p, latent in ((whole, parts, z), (*padded(whole, parts, 40), torch.cat([z, z[:1]]))):
        w = model(x, p.fields, p, z=latent).w
        loss = (w.entropy()[:S] + w.sum_mean[:S]).sum()
        gradients.append(torch.autograd.grad(loss, list(model.blocks.parameters())))
    for real, with_padding in zip(*gradients, strict=True):
        torch.testing.assert_close(with_padding, real)


def test_a_model_takes_padded_parts_as_they_are():
    dots = Dots()
    model, data = dots.build("small"), dots.sample(torch.tensor([2, 5, 1]))
    parts = PackedParts.of(data).pad(16)
    whole = torch.cat([data.whole, data.whole[:1]])
    noise = torch.Generator().manual_seed(1)
    assert model.elbo(whole, parts, generator=noise).elbo[:3].isfinite().all()
    assert model.generate(parts)[:3].isfinite().all()


@pytest.mark.usefixtures("compiling")
def test_batches_of_many_shapes_are_compiled_once(batch_of):
    import torch._dynamo.config

    torch.compiler.reset()
    model = encoder(num_blocks=1)

    def loss(whole, fields, batch, batch_size):
        return model(whole, fields, batch, batch_size).w.entropy().sum(dim=-1)

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True, dynamic=False)
    generator = torch.Generator().manual_seed(0)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for count in (3, 7, 4, 9):
            sizes = torch.randint(1, 6, (count,), generator=generator).tolist()
            parts = PackedParts(torch.randn(sum(sizes), 64), batch_of(sizes), count).pad(50, 10)
            out = compiled(torch.randn(10, 32), parts.fields, parts.batch, parts.batch_size)
            assert out.shape == (10,)
    torch.compiler.reset()
