import pytest
import torch
from torch.distributions import Normal, kl_divergence

from compvae_pyg import CompVAEEncoder, Dots
from compvae_pyg.data import with_ghost

SIZES = (3, 1, 0, 5, 2, 4, 1, 8, 2)
S, N = 9, 26


def encoder():
    torch.manual_seed(3)
    return CompVAEEncoder(32, 64, 64, w_channels=32, z_channels=32, part_noise=False)


def inputs(batch_of):
    torch.manual_seed(5)
    return torch.randn(S, 32), torch.randn(N, 64), batch_of(SIZES), S


def statements(model, whole, parts, batch, batch_size, z):
    """All that is said of sets, and all that is said of parts."""
    posterior = model(whole, parts, batch, batch_size, z=z)
    w = posterior.w
    kl = kl_divergence(w, Normal(torch.zeros(32), torch.ones(32)))
    of_sets = (posterior.z.mean, posterior.z.stddev, w.log_null, w.sum_mean, w.sum_variance, kl)
    return of_sets, (w.loc, w.scale, w.rho, w.variance)


@pytest.mark.parametrize(("num_parts", "num_sets"), [(N, None), (N + 1, 10), (64, 13), (1000, 40)])
def test_what_is_said_of_real_sets_is_the_same_to_the_bit(batch_of, num_parts, num_sets):
    # On the CPU, rows of products depend on how many follow only if they are few, and elements of
    # ELU only at the end of a tensor whose length is no multiple of the vectors'.
    model, (whole, parts, batch, _) = encoder(), inputs(batch_of)
    ghosted = with_ghost(whole, parts, batch, S, num_parts=num_parts, num_sets=num_sets)
    z = torch.randn(S, 32)
    z_ghosted = torch.cat([z, torch.randn(ghosted.batch_size - S, 32)])
    real = statements(model, whole, parts, batch, S, z)
    with_ghosts = statements(model, *ghosted, z=z_ghosted)
    for count, ours, theirs in zip((S, N), with_ghosts, real, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one[:count], other)


def test_gradients_are_those_of_the_real_sets(batch_of):
    model, (whole, parts, batch, _) = encoder().double(), inputs(batch_of)
    whole, parts, z = whole.double(), parts.double(), torch.randn(S, 32, dtype=torch.float64)
    gradients = []
    for ghost in (False, True):
        given = (whole, parts, batch, S)
        given = with_ghost(*given, num_parts=40) if ghost else given
        latent = torch.cat([z, z[:1]]) if ghost else z
        posterior = model(*given, z=latent)
        loss = (posterior.w.entropy()[:S] + posterior.w.sum_mean[:S]).sum()
        gradients.append(torch.autograd.grad(loss, list(model.blocks.parameters())))
    for real, ghosted in zip(*gradients, strict=True):
        torch.testing.assert_close(ghosted, real)


def test_the_ghost_takes_the_slack_alone(batch_of):
    whole, parts, batch, _ = inputs(batch_of)
    ghosted = with_ghost(whole, {"l": parts}, batch, S, num_parts=30, num_sets=12)
    assert torch.bincount(ghosted.batch, minlength=12).tolist() == [*SIZES, 0, 0, 4]
    assert ghosted.batch_size == 12 and ghosted.whole.shape == (12, 32)
    assert torch.equal(ghosted.parts["l"][:N], parts) and torch.equal(ghosted.whole[:S], whole)


def test_a_model_takes_it_as_it_is():
    dots = Dots()
    model, data = dots.build("small"), dots.sample(torch.tensor([2, 5, 1]))
    ghosted = with_ghost(data.whole, dots.parts(data), data.batch, 3, num_parts=16)
    assert model.elbo(*ghosted).elbo[:3].isfinite().all()


@pytest.mark.usefixtures("compiling")
def test_batches_of_many_shapes_are_compiled_once(batch_of):
    import torch._dynamo.config

    torch.compiler.reset()
    model = encoder()

    def loss(whole, parts, batch, batch_size):
        return model(whole, parts, batch, batch_size).w.entropy().sum(dim=-1)

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True, dynamic=False)
    generator = torch.Generator().manual_seed(0)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for count in (3, 7, 4, 9):
            sizes = torch.randint(1, 6, (count,), generator=generator).tolist()
            whole, parts = torch.randn(count, 32), torch.randn(sum(sizes), 64)
            ghosted = with_ghost(whole, parts, batch_of(sizes), count, num_parts=50, num_sets=10)
            assert compiled(*ghosted).shape == (10,)
    torch.compiler.reset()


def test_misuse_is_refused(refuses, batch_of):
    whole, parts, batch, _ = inputs(batch_of)
    with refuses(ValueError, "num_parts must be at least that of the batch (got 25 < 26)"):
        with_ghost(whole, parts, batch, S, num_parts=25)
    with refuses(ValueError, "num_sets must exceed that of the batch (got 9 for 9 sets)"):
        with_ghost(whole, parts, batch, S, num_parts=30, num_sets=9)
    message = (
        "a ghost needs a whole per set and at least one part to copy (got 8 wholes, 9 sets, "
        "26 parts)"
    )
    with refuses(ValueError, message):
        with_ghost(whole[:8], parts, batch, S, num_parts=30)
