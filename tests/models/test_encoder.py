import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.testing import assert_close
from torch_geometric.nn.aggr import SoftmaxAggregation

from compvae_pyg import CompVAEEncoder
from compvae_pyg.nn import PackedParts

SIZES = (3, 1, 0, 5, 2, 0)
S, N = 6, 11
WHOLE, PART, HIDDEN, W, Z = 5, 3, 8, 4, 2


def build(**options):
    torch.manual_seed(3)
    encoder = CompVAEEncoder(
        WHOLE, PART, hidden_channels=HIDDEN, w_channels=W, z_channels=Z, num_blocks=2, **options
    )
    return encoder.double()


def outputs(posterior):
    """All tensors that define a posterior."""
    z, w = posterior.z, posterior.w
    return z.mean, z.stddev, posterior.z_sample, w.loc, w.scale, w.coupling_logits


def complete_graph(batch):
    edges = (batch.unsqueeze(0) == batch.unsqueeze(1)) & ~torch.eye(len(batch), dtype=torch.bool)
    return edges.nonzero().T


def loop_over_sets(encoder, whole, parts, batch, z_eps, part_eps):
    """The outputs of the encoder, set by set and edge by edge."""
    z_loc, z_log_variance = encoder.z_head(whole).chunk(2, dim=-1)
    z_scale = z_log_variance.exp().sqrt()
    z = z_loc + z_scale * z_eps
    head = torch.empty(len(parts), 3 * W, dtype=parts.dtype)
    for s in range(len(whole)):
        own = batch == s
        if not own.any():
            continue
        edges = complete_graph(torch.zeros(int(own.sum()), dtype=torch.long))
        h, context = parts[own] + part_eps[own], torch.cat([whole[s], z[s]]).unsqueeze(0)
        for block in encoder.blocks:
            h, context = F.elu(block(h, edges, context=context)), None
        head[own] = encoder.w_head(h)
    loc, log_variance, logits = head.chunk(3, dim=-1)
    return z_loc, z_scale, z, loc, log_variance.exp().sqrt(), logits


@pytest.mark.parametrize("part_noise", [True, False])
@pytest.mark.parametrize("coupling", ["paper", "scaled"])
def test_posterior_is_the_formula_with_the_same_noise(batch_of, draw, seeded, coupling, part_noise):
    encoder = build(coupling=coupling, part_noise=part_noise)
    whole, parts, batch = draw(S, WHOLE), draw(N, PART, seed=1), batch_of(SIZES)
    with seeded(7):
        posterior = encoder(whole, parts, batch, S)
    with seeded(7):
        z_eps = torch.randn(S, Z, dtype=torch.float64)
        part_eps = torch.randn(N, PART, dtype=torch.float64)
    expected = loop_over_sets(encoder, whole, parts, batch, z_eps, part_noise * part_eps)
    given = encoder(whole, parts, batch, S, z_eps=z_eps, part_eps=part_eps)
    for ours, with_eps, theirs in zip(outputs(posterior), outputs(given), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
        assert torch.equal(with_eps, ours)
    assert posterior.w.coupling == coupling
    assert posterior.w.batch_shape == (S, W)


def test_edge_list_of_the_complete_graph_changes_nothing(batch_of, draw, seeded):
    encoder, batch = build(), batch_of(SIZES)
    whole, parts = draw(S, WHOLE), draw(N, PART, seed=1)
    with seeded(7):
        ours = encoder(whole, parts, batch, S)
    with seeded(7):
        edges = encoder(whole, parts, batch, S, complete_graph(batch))
    for one, other in zip(outputs(ours), outputs(edges), strict=True):
        torch.testing.assert_close(one, other)
    with seeded(7):
        none = encoder(whole, parts, batch, S, torch.empty(2, 0, dtype=torch.long))
    alone = torch.tensor([False] * 3 + [True] + [False] * 7)
    torch.testing.assert_close(none.w.loc[alone], ours.w.loc[alone])
    assert (none.w.loc[~alone] != ours.w.loc[~alone]).all()


def test_aggregation_is_that_of_every_block_and_none_shares_its_parameters(batch_of, draw, seeded):
    whole, parts, batch = draw(S, WHOLE), draw(N, PART, seed=1), batch_of(SIZES)
    edges = complete_graph(batch)
    mean = build(aggr="mean")
    with seeded(5):
        linear = outputs(mean(whole, parts, batch, S))
    with seeded(5):
        listed = outputs(mean(whole, parts, batch, S, edges))
    for one, other in zip(linear, listed, strict=True):
        torch.testing.assert_close(one, other)
    with seeded(5):
        summed = outputs(build()(whole, parts, batch, S))
    assert (linear[3] != summed[3]).any()
    learnt = build(aggr=SoftmaxAggregation(learn=True))
    learnt(whole, parts, batch, S, edges).w.loc.sum().backward()
    first, second = (block.aggr_module.t for block in learnt.blocks)
    assert first is not second and (first.grad != second.grad).all()


def test_aggregation_that_needs_edges_is_refused_before_anything_is_drawn(refuses, batch_of, draw):
    encoder, state = build(aggr="max"), torch.get_rng_state()
    with refuses(ValueError, "edge_index"):
        encoder(draw(S, WHOLE), draw(N, PART), batch_of(SIZES), S)
    assert torch.equal(torch.get_rng_state(), state)


def test_permuting_parts_permutes_their_posterior(batch_of, draw):
    encoder, batch = build(part_noise=False), batch_of(SIZES)
    whole, parts, z = draw(S, WHOLE), draw(N, PART, seed=1), draw(S, Z, seed=2)
    order = torch.tensor([2, 0, 1, 3, 8, 4, 6, 5, 7, 10, 9])
    w = encoder(whole, parts, batch, S, z=z).w
    moved = encoder(whole, parts[order], batch, S, z=z).w
    torch.testing.assert_close(moved.loc, w.loc[order])
    torch.testing.assert_close(moved.scale, w.scale[order])
    torch.testing.assert_close(moved.rho, w.rho[order])
    torch.testing.assert_close(moved.sum_mean, w.sum_mean)
    torch.testing.assert_close(moved.sum_variance, w.sum_variance)


def test_sets_do_not_learn_of_each_other(batch_of, draw, seeded):
    encoder, batch = build(), batch_of(SIZES)
    whole, parts = draw(S, WHOLE), draw(N, PART, seed=1)
    with seeded(7):
        before = outputs(encoder(whole, parts, batch, S))
    for s in range(S):
        others = torch.arange(S) != s
        spoilt_whole = torch.where(others.unsqueeze(1), whole, torch.nan)
        spoilt_parts = torch.where(others[batch].unsqueeze(1), parts, torch.nan)
        with seeded(7):
            after = outputs(encoder(spoilt_whole, spoilt_parts, batch, S))
        for k in range(3):
            torch.testing.assert_close(after[k][others], before[k][others])
        for k in range(3, 6):
            torch.testing.assert_close(after[k][others[batch]], before[k][others[batch]])


def test_gradients_stay_in_their_set(batch_of, draw):
    encoder, batch = build(), batch_of(SIZES)
    whole = draw(S, WHOLE).requires_grad_()
    parts = draw(N, PART, seed=1).requires_grad_()
    posterior = encoder(whole, parts, batch, S)
    loss = posterior.w.rsample()[batch == 3].sum() + posterior.z_sample[3].sum()
    of_whole, of_parts = torch.autograd.grad(loss, (whole, parts))
    assert (of_whole[3] != 0).all() and (of_parts[batch == 3] != 0).all()
    assert (of_whole[torch.arange(S) != 3] == 0).all()
    assert (of_parts[batch != 3] == 0).all()


def test_equal_parts_are_distinguished_by_noise_alone(batch_of, draw):
    whole, batch = draw(1, WHOLE), batch_of((3,))
    parts = draw(1, PART).expand(3, PART)
    apart = build(part_noise=True)(whole, parts, batch).w.loc
    assert (apart[0] != apart[1]).all() and (apart[1] != apart[2]).all()
    same = build(part_noise=False)(whole, parts, batch).w.loc
    torch.testing.assert_close(same[0], same[1])
    torch.testing.assert_close(same[1], same[2])


def test_the_number_of_equal_parts_matters(batch_of, draw):
    encoder, z = build(part_noise=False), draw(1, Z)
    whole, part = draw(1, WHOLE), draw(1, PART)
    one = encoder(whole, part, z=z).w.loc
    two = encoder(whole, part.expand(2, PART), z=z).w.loc
    assert (one[0] != two[0]).all()


def test_given_z_is_what_the_parts_are_conditioned_on(batch_of, draw, seeded):
    encoder, batch = build(), batch_of(SIZES)
    whole, parts, z = draw(S, WHOLE), draw(N, PART, seed=1), draw(S, Z, seed=2)
    posterior = encoder(whole, parts, batch, S, z=z)
    assert posterior.z_sample is z
    with seeded(7):
        drawn = encoder(whole, parts, batch, S)
    with seeded(7):
        torch.randn(S, Z, dtype=torch.float64)
        told = encoder(whole, parts, batch, S, z=drawn.z_sample)
    torch.testing.assert_close(told.w.loc, drawn.w.loc)
    torch.testing.assert_close(posterior.z.mean, drawn.z.mean)


def test_packed_sets_take_the_place_of_batch(batch_of, draw, seeded):
    encoder, batch = build(), batch_of(SIZES)
    whole, parts = draw(S, WHOLE), draw(N, PART, seed=1)
    with seeded(7):
        expected = outputs(encoder(whole, parts, batch, S))
    with seeded(7):
        # Of which only the sets are taken.
        out = outputs(encoder(whole, parts, PackedParts(torch.arange(N), batch, S)))
    for one, other in zip(out, expected, strict=True):
        assert torch.equal(one, other)


def test_randomness_is_that_of_the_generator(batch_of, draw):
    encoder, batch, state = build(), batch_of(SIZES), torch.get_rng_state()
    whole, parts = draw(S, WHOLE), draw(N, PART, seed=1)
    one, again, other = (
        outputs(encoder(whole, parts, batch, S, generator=torch.Generator().manual_seed(seed)))
        for seed in (1, 1, 2)
    )
    assert all(map(torch.equal, one, again))
    assert (one[2] != other[2]).all() and (one[3] != other[3]).all()
    assert torch.equal(torch.get_rng_state(), state)


def test_residual_posterior_is_in_units_of_the_prior(batch_of, draw, seeded):
    encoder, batch = build(), batch_of(SIZES)
    whole, parts = draw(S, WHOLE), draw(N, PART, seed=1)
    prior = Normal(draw(N, W, seed=2), draw(N, W, seed=3).exp())
    with seeded(7):
        plain = encoder(whole, parts, batch, S).w
    with seeded(7):
        residual = encoder(whole, parts, batch, S, w_prior=prior).w
    torch.testing.assert_close(residual.loc, prior.mean + prior.stddev * plain.loc)
    torch.testing.assert_close(residual.scale, prior.stddev * plain.scale)
    torch.testing.assert_close(residual.coupling_logits, plain.coupling_logits)


def test_residual_posterior_of_a_silent_head_is_the_prior(batch_of, draw):
    encoder, batch = build(), batch_of(SIZES)
    nn.init.zeros_(encoder.w_head.weight)
    nn.init.zeros_(encoder.w_head.bias)
    with torch.no_grad():
        encoder.w_head.bias[2 * W :] = -1e3
    prior = Normal(draw(N, W, seed=2), draw(N, W, seed=3).exp())
    w = encoder(draw(S, WHOLE), draw(N, PART, seed=1), batch, S, w_prior=prior).w
    torch.testing.assert_close(
        kl_divergence(w, prior), torch.zeros(S, W, dtype=torch.float64), rtol=0, atol=1e-12
    )


def test_prior_coupling_of_a_silent_head_is_that_of_gaussians_given_their_sum(batch_of, draw):
    encoder = build(coupling="scaled", prior_coupling=True)
    batch, prior_scale = batch_of(SIZES), draw(N, W).exp()
    prior = Normal(draw(N, W), prior_scale)
    with torch.no_grad():
        encoder.w_head.weight.zero_()
        encoder.w_head.bias.zero_()
        encoder.w_head.bias[2 * W :] = 40.0  # next to nothing is left of the sum's variance
        posterior = encoder(draw(S, WHOLE), draw(N, PART), batch, S, w_prior=prior)
    for s in range(S):
        own = batch == s
        variance = prior_scale[own].square()
        assert_close(posterior.w.rho[own], variance / variance.sum(dim=0))
        # The textbook's covariance of independent Gaussians of a given sum.
        for d in range(W):
            v = variance[:, d]
            given_sum = torch.diag(v) - torch.outer(v, v) / v.sum()
            assert_close(posterior.w.variance[own, d], given_sum.diagonal(), atol=1e-9, rtol=1e-7)


def initialised(posterior_init, prior, batch, whole, parts):
    """The posterior at first, and means and log-scales in units of the prior."""
    torch.manual_seed(3)
    encoder = CompVAEEncoder(
        WHOLE, PART, 64, w_channels=W, z_channels=Z, num_blocks=2, posterior_init=posterior_init
    ).double()
    with torch.no_grad():
        w = encoder(whole, parts, batch, S, w_prior=prior, z=torch.zeros(S, Z).double()).w
    return w, (w.loc - prior.mean) / prior.stddev, (w.scale / prior.stddev).log()


@pytest.mark.parametrize(("init", "log_scale"), [("prior", 0.0), ("low_variance", math.log(0.1))])
def test_a_residual_posterior_is_initialised_near_the_prior_or_with_low_variance(
    batch_of, draw, init, log_scale
):
    batch, whole, parts = batch_of(SIZES), draw(S, WHOLE), draw(N, PART)
    prior = Normal(draw(N, W), draw(N, W).exp())
    w, shift, found = initialised(init, prior, batch, whole, parts)
    linear, free, _ = initialised("linear", prior, batch, whole, parts)
    # The weights of a Linear of its own, but for a factor, and no bias.
    spread = {"prior": 0.1, "low_variance": 1.5}[init]
    assert_close((shift[0] - shift[1]) / (free[0] - free[1]), torch.full((W,), spread).double())
    assert_close(found, torch.full_like(found, log_scale), rtol=0.0, atol=0.1)
    # Little coupling: e^-3 of each part's noise against 1.
    sizes = torch.bincount(batch)[batch].double().unsqueeze(1)
    assert_close(
        w.rho, (math.exp(-3.0) / (1.0 + sizes * math.exp(-3.0))).expand(N, W), rtol=0.3, atol=0.0
    )
    assert kl_divergence(w, prior).sum() < kl_divergence(linear, prior).sum() or init != "prior"


def test_a_head_of_ones_own_is_initialised_by_itself(refuses):
    with refuses(ValueError, "posterior_init"):
        build(w_head=nn.Linear(HIDDEN, 3 * W), posterior_init="prior")
    with refuses(ValueError, "posterior_init"):
        build(posterior_init="narrow")


def test_every_parameter_is_trained(batch_of, draw):
    encoder = build()
    posterior = encoder(draw(S, WHOLE), draw(N, PART, seed=1), batch_of(SIZES), S)
    (posterior.w.rsample().square().sum() + posterior.z_sample.square().sum()).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None and (parameter.grad != 0).any(), name


def test_own_z_head_is_used(draw):
    encoder = build(z_head=nn.Linear(WHOLE, 2 * Z, dtype=torch.float64))
    whole = draw(1, WHOLE)
    posterior = encoder(whole, draw(2, PART))
    expected = encoder.z_head(whole).chunk(2, dim=-1)
    torch.testing.assert_close(posterior.z.mean, expected[0])
    torch.testing.assert_close(posterior.z.variance, expected[1].exp())


def test_a_single_part_and_no_batch(draw):
    posterior = build()(draw(1, WHOLE), draw(1, PART))
    assert posterior.w.loc.shape == (1, W) and posterior.w.batch_shape == (1, W)
    assert posterior.z_sample.shape == (1, Z)
    assert all(x.isfinite().all() for x in outputs(posterior))


@pytest.mark.parametrize("batch_size", [0, 1, 3])
def test_no_parts_at_all(batch_of, draw, batch_size):
    posterior = build()(draw(batch_size, WHOLE), draw(0, PART), batch_of([]), batch_size)
    assert posterior.z_sample.shape == (batch_size, Z)
    assert posterior.w.rsample().shape == (0, W)
    assert (posterior.w.entropy() == 0).all() and posterior.w.batch_shape == (batch_size, W)


def test_no_value_is_read_from_the_device():
    # Reading a value of a tensor on the meta device raises.
    encoder = build().to("meta")
    whole = torch.randn(2, WHOLE, device="meta", dtype=torch.float64)
    parts = torch.randn(5, PART, device="meta", dtype=torch.float64)
    batch = torch.zeros(5, dtype=torch.long, device="meta")
    assert encoder(whole, parts, batch, 2).w.rsample().shape == (5, W)


@pytest.mark.slow  # compiled with the model of test_forward.py as well
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiles_into_one_graph_for_all_shapes(batch_of, draw, seeded, compile_once, backend):
    encoder = build()

    def infer(whole, parts, batch, batch_size):
        return outputs(encoder(whole, parts, batch, batch_size))

    compiled = compile_once(infer, backend)
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        count = int(torch.randint(12, 20, (), generator=generator))
        batch = batch_of(torch.randint(0, 6, (count,), generator=generator).tolist())
        inputs = draw(count, WHOLE), draw(len(batch), PART, seed=1), batch, count
        with seeded(7):
            eager = infer(*inputs)
        with seeded(7):
            out = compiled(*inputs)
        for ours, theirs in zip(out, eager, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_half_precision_gives_distributions_in_32_bits(batch_of, draw):
    encoder = build().float()
    whole, parts = draw(S, WHOLE).float(), draw(N, PART, seed=1).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        posterior = encoder(whole, parts, batch_of(SIZES), S)
    assert {x.dtype for x in outputs(posterior)} == {torch.float32}


def test_repr():
    expected = (
        "CompVAEEncoder(5, 3, num_blocks=2, hidden_channels=8, w_channels=4, z_channels=2, "
        "coupling='scaled')"
    )
    assert repr(build(coupling="scaled")) == expected


def test_unfit_input_is_refused(refuses, batch_of, draw):
    encoder, batch = build(), batch_of(SIZES)
    whole, parts = draw(S, WHOLE), draw(N, PART, seed=1)
    with refuses(ValueError, "parts"):
        encoder(whole, parts[:, :2], batch, S)
    with refuses(ValueError, "whole"):
        encoder(whole[:, :4], parts, batch, S)
    with refuses(ValueError, "parts"):
        encoder(whole, parts.to("meta"), batch, S)
    with refuses(ValueError, "whole"):
        encoder(whole, parts, batch_of((3, 1, 2, 4, 1)))
    with refuses(ValueError, "batch"):
        encoder(whole, parts, batch[:-1], S)
    with refuses(ValueError, "batch"):
        encoder(whole, parts, torch.tensor([5] + 10 * [0]), S)
    for name in ("z", "z_eps"):
        with refuses(ValueError, name):
            encoder(whole, parts, batch, S, **{name: draw(S, 3)})
    with refuses(ValueError, "part_eps"):
        encoder(whole, parts, batch, S, part_eps=draw(N, 2))
    with refuses(TypeError, "generator"):
        encoder(whole, parts, batch, S, generator=7)


def test_unfit_options_are_refused_on_construction(refuses):
    with refuses(ValueError, "num_blocks"):
        CompVAEEncoder(WHOLE, PART, 8, 4, 2, num_blocks=0)
    with refuses(ValueError, "coupling"):
        CompVAEEncoder(WHOLE, PART, 8, 4, 2, coupling="tight")


def test_a_head_of_ones_own_reads_states_and_features(batch_of, draw):
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = nn.Linear(HIDDEN, 3 * W)

        def forward(self, h, parts):
            self.seen = parts
            return self.lin(h) + parts[:, :1]

    head = Head()
    encoder, plain = build(w_head=head, part_noise=False), build(part_noise=False)
    plain.load_state_dict(
        {name.replace("w_head.lin", "w_head"): v for name, v in encoder.state_dict().items()}
    )
    whole, parts, z = draw(S, WHOLE), draw(N, PART, seed=1), draw(S, Z, seed=2)
    one, other = (e(whole, parts, batch_of(SIZES), S, z=z).w for e in (encoder, plain))
    assert head.seen is parts
    shift = parts[:, :1]
    assert_close(one.loc, other.loc + shift)
    assert_close(one.scale, other.scale * torch.exp(0.5 * shift))
    assert_close(one.coupling_logits, other.coupling_logits + shift)
