import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Distribution, MultivariateNormal, Normal, kl_divergence

from compvae_pyg.distributions import ResidualSumControlledNormal, SumControlledNormal

D = 3
SIZES = (3, 0, 1, 5, 2, 0)

couplings = pytest.mark.parametrize("coupling", ["paper", "scaled"])
set_sizes = pytest.mark.parametrize("size", [1, 2, 5])


def parameters(num_parts, seed=0, channels=D, spread=1.0):
    """Means, scales (from about 0.1 to 10 times the spread) and coupling logits, ``[N, D]``."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(3, num_parts, channels, generator=generator, dtype=torch.float64)
    return draw[0], (spread * draw[1]).exp(), 2.0 * draw[2]


def one_set(size, coupling, seed=0):
    return SumControlledNormal(*parameters(size, seed), coupling=coupling)


def dense_distributions(q, dense_law, member):
    """The dense Gaussian of the members for which the mask holds, in each coordinate."""
    return [
        dense_law(q.loc[member, d], q.scale[member, d], q.coupling_logits[member, d], q.coupling)
        for d in range(q.loc.shape[1])
    ]


def prior(num_parts, seed=1):
    loc, scale, _ = parameters(num_parts, seed)
    return Normal(loc, scale)


# Against the dense Gaussian


@couplings
@given(
    sizes=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    spread=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_densities_and_moments_are_those_of_the_dense_gaussian(
    batch_of, dense_law, coupling, sizes, spread, seed
):
    batch, count = batch_of(sizes), len(sizes)
    q = SumControlledNormal(*parameters(len(batch), seed, 2, spread), batch, count, coupling)
    p = Normal(*parameters(len(batch), seed + 1, 2, spread)[:2])
    value = q.loc + 3.0 * parameters(len(batch), seed + 2, 2)[0]
    log_prob, entropy, kl = q.log_prob(value), q.entropy(), kl_divergence(q, p)
    for s in range(count):
        mine = batch == s
        if not mine.any():
            assert log_prob[s].tolist() == entropy[s].tolist() == kl[s].tolist() == [0.0, 0.0]
            assert q.sum_mean[s].tolist() == q.sum_variance[s].tolist() == [0.0, 0.0]
            continue
        for d, dense in enumerate(dense_distributions(q, dense_law, mine)):
            torch.testing.assert_close(log_prob[s, d], dense.log_prob(value[mine, d]))
            torch.testing.assert_close(entropy[s, d], dense.entropy())
            product = MultivariateNormal(p.loc[mine, d], torch.diag(p.scale[mine, d] ** 2))
            torch.testing.assert_close(kl[s, d], kl_divergence(dense, product))
            covariance = dense.covariance_matrix
            torch.testing.assert_close(q.mean[mine, d], dense.mean)
            torch.testing.assert_close(q.variance[mine, d], covariance.diagonal())
            torch.testing.assert_close(q.sum_mean[s, d], dense.mean.sum())
            torch.testing.assert_close(q.sum_distribution.mean[s, d], dense.mean.sum())
            torch.testing.assert_close(
                q.sum_distribution.variance[s, d],
                covariance.sum(),
                rtol=1e-6,
                atol=1e-9 * covariance.max(),
            )
            torch.testing.assert_close(
                q.sum_variance[s, d], covariance.sum(), rtol=1e-6, atol=1e-9 * covariance.max()
            )


@couplings
@set_sizes
def test_transform_is_a_root_of_the_dense_covariance(dense_law, coupling, size):
    q = one_set(size, coupling)
    # Column j is what a unit of eps in member j does to the members, in every coordinate.
    units = torch.eye(size, dtype=torch.float64).unsqueeze(-1).expand(size, size, D)
    root = (q.transform(units) - q.loc).transpose(0, 1)
    expected = dense_distributions(q, dense_law, slice(None))
    for d in range(D):
        torch.testing.assert_close(root[..., d] @ root[..., d].T, expected[d].covariance_matrix)


@couplings
@pytest.mark.parametrize("size", [1, 3])
def test_samples_have_the_moments_of_the_dense_gaussian(dense_law, coupling, size):
    q, draws = one_set(size, coupling), 20_000
    sample = q.rsample((draws,))
    expected = dense_distributions(q, dense_law, slice(None))
    for d in range(D):
        loc, covariance = expected[d].mean, expected[d].covariance_matrix
        variance = covariance.diagonal()
        error = (sample[..., d].mean(0) - loc) / (variance / draws).sqrt()
        assert error.abs().max() < 4.5
        centred = sample[..., d] - loc
        spread = (variance.outer(variance) + covariance.square()) / draws
        error = (centred.T @ centred / draws - covariance) / spread.sqrt()
        assert error.abs().max() < 4.5


@couplings
@pytest.mark.parametrize("wide", [True, False])
def test_a_distribution_in_units_of_a_prior_is_that_distribution(batch_of, coupling, wide):
    batch = batch_of(SIZES)
    shift, scale, logits = parameters(len(batch))
    unit = prior(len(batch) if wide else 1)
    mine = ResidualSumControlledNormal(
        unit, shift, 2.0 * scale.log(), logits, batch, len(SIZES), coupling
    )
    plain = SumControlledNormal(
        unit.mean + unit.stddev * shift, unit.stddev * scale, logits, batch, len(SIZES), coupling
    )
    for name in ("loc", "scale", "rho", "log_null", "sum_variance"):
        torch.testing.assert_close(getattr(mine, name), getattr(plain, name))
    torch.testing.assert_close(mine.kl_to_prior(), kl_divergence(plain, unit))
    for other in (unit, Normal(unit.loc, unit.scale), prior(len(batch), seed=5)):
        torch.testing.assert_close(kl_divergence(mine, other), kl_divergence(plain, other))


@couplings
def test_divergence_in_units_of_the_prior_keeps_its_digits_in_32_bits(coupling):
    # Means of 1 with scales of 1e-9: the shift is lost as soon as it is added.
    one, zero, none = torch.ones(1, 1), torch.zeros(1, 1), torch.full((1, 1), -100.0)
    unit = Normal(one, 1e-9 * one)
    q = ResidualSumControlledNormal(unit, 3.0 * one, zero, none, coupling=coupling)
    assert q.kl_to_prior().item() == pytest.approx(4.5)
    assert kl_divergence(q, unit).item() == pytest.approx(4.5)


@couplings
def test_kl_is_the_mean_of_the_log_ratio_of_densities(batch_of, coupling):
    batch = batch_of((3, 1))
    q = SumControlledNormal(*parameters(4), batch, coupling=coupling)
    p, draws = prior(4), 10_000
    w = q.rsample((draws,))
    log_p = torch.zeros(draws, 2, D, dtype=torch.float64).index_add(1, batch, p.log_prob(w))
    ratio = q.log_prob(w) - log_p
    error = (ratio.mean(0) - kl_divergence(q, p)) / (ratio.std(0) / math.sqrt(draws))
    assert error.abs().max() < 4.5


def test_prior_broadcasts_over_parts(batch_of):
    q = SumControlledNormal(*parameters(4), batch_of((3, 1)))
    loc, scale, _ = parameters(1)
    wide = Normal(loc.expand(4, D), scale.expand(4, D))
    for narrow in (Normal(loc, scale), Normal(loc[0], scale[0])):
        torch.testing.assert_close(kl_divergence(q, narrow), kl_divergence(q, wide))


# Divergence: sign and zero


@couplings
@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=4), seed=st.integers(0, 2**31))
def test_kl_is_not_negative_and_zero_only_without_coupling(batch_of, coupling, sizes, seed):
    batch = batch_of(sizes)
    loc, scale, logits = parameters(len(batch), seed)
    same = Normal(loc, scale)
    apart = SumControlledNormal(loc, scale, torch.full_like(loc, -1e3), batch, coupling=coupling)
    torch.testing.assert_close(
        kl_divergence(apart, same), loc.new_zeros(len(sizes), D), rtol=0, atol=1e-12
    )
    coupled = SumControlledNormal(loc, scale, logits, batch, coupling=coupling)
    assert (kl_divergence(coupled, same) > 0).all()
    assert (kl_divergence(coupled, prior(len(batch), seed + 1)) > 0).all()


# What members tell by themselves, and what they have in common


@couplings
@given(
    sizes=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    spread=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_divergence_is_that_of_the_marginals_and_the_total_correlation(
    batch_of, dense_law, coupling, sizes, spread, seed
):
    batch, count = batch_of(sizes), len(sizes)
    q = SumControlledNormal(*parameters(len(batch), seed, 2, spread), batch, count, coupling)
    p = Normal(*parameters(len(batch), seed + 1, 2, spread)[:2])
    common = q.total_correlation()
    for s in range(count):
        mine = batch == s
        if not mine.any():
            assert common[s].tolist() == [0.0, 0.0]
            continue
        for d, dense in enumerate(dense_distributions(q, dense_law, mine)):
            apart = Normal(dense.mean, dense.variance.sqrt()).entropy().sum()
            torch.testing.assert_close(common[s, d], apart - dense.entropy(), rtol=1e-6, atol=1e-9)
    alone = torch.zeros(count, 2, dtype=torch.float64)
    alone.index_add_(0, batch, kl_divergence(q.marginals, p))
    torch.testing.assert_close(alone + common, kl_divergence(q, p), rtol=1e-9, atol=1e-9)
    assert (common > -1e-12).all()


@couplings
def test_nothing_is_in_common_without_coupling_or_without_others(batch_of, coupling):
    loc, scale, logits = parameters(4)
    apart = SumControlledNormal(loc, scale, torch.full_like(loc, -1e3), coupling=coupling)
    torch.testing.assert_close(apart.total_correlation(), loc.new_zeros(1, D), rtol=0.0, atol=1e-12)
    # In 32 bits 1 - rho, formed by subtraction, is zero for a member that keeps nothing.
    q = SumControlledNormal(
        *(x.float() for x in (loc, scale, 0.0 * logits + 30.0)), batch_of((1,) * 4), 4, coupling
    )
    common = q.total_correlation()
    torch.testing.assert_close(common, torch.zeros_like(common), rtol=0.0, atol=1e-5)
    torch.testing.assert_close(q.stddev, scale.float() * math.exp(-30.0))


@couplings
def test_without_coupling_the_members_are_independent(coupling):
    loc, scale, _ = parameters(4)
    q = SumControlledNormal(loc, scale, torch.full_like(loc, -1e3), coupling=coupling)
    p, value = Normal(loc, scale), parameters(4, 2)[0]
    torch.testing.assert_close(q.log_prob(value)[0], p.log_prob(value).sum(0))
    torch.testing.assert_close(q.entropy()[0], p.entropy().sum(0))
    torch.testing.assert_close(q.variance, p.variance)
    torch.testing.assert_close(q.sum_variance[0], p.variance.sum(0))


# The sum and its control


def test_variance_of_the_sum_follows_eq_7_for_no_unequal_scales():
    # METHOD: the paper has Var(sum) = (sum of variances)(1 - R), which would vanish as R -> 1.
    loc = torch.zeros(2, 1, dtype=torch.float64)
    scale = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    logits = torch.full_like(loc, 40.0)
    paper = SumControlledNormal(loc, scale, logits, coupling="paper")
    # With rho = (1/2, 1/2): (1 - 2)^2 + (3 - 2)^2.
    assert paper.sum_variance.item() == pytest.approx(2.0)
    sums = paper.rsample((20_000,)).sum(-2)
    assert sums.var().item() == pytest.approx(2.0, rel=4.5 * math.sqrt(2 / 20_000))
    scaled = SumControlledNormal(loc, scale, logits, coupling="scaled")
    assert scaled.sum_variance.item() == pytest.approx(10.0 * math.exp(-80.0) / 4.0)
    assert scaled.rsample((100,)).sum(-2).abs().max() < 1e-13


@couplings
def test_equal_scales_let_both_couplings_control_the_sum(coupling):
    loc = torch.zeros(3, 1, dtype=torch.float64)
    for logit in (-2.0, 0.0, 5.0, 20.0):
        q = SumControlledNormal(
            loc, torch.full_like(loc, 2.0), torch.full_like(loc, logit), coupling=coupling
        )
        null = 1.0 / (1.0 + 3.0 * math.exp(logit))
        # (K sigma^2)(1 - R)^2, where eq. 7 has one factor 1 - R too few.
        assert q.sum_variance.item() == pytest.approx(3 * 4 * null**2, rel=1e-6, abs=1e-20)


@pytest.mark.parametrize("seed", range(5))
def test_scaled_coupling_drives_the_variance_of_the_sum_to_zero_for_any_scales(seed):
    loc, scale, logits = parameters(5, seed, spread=2.0)
    sums = [
        SumControlledNormal(loc, scale, logits + push, coupling="scaled").sum_variance
        for push in (0.0, 4.0, 8.0, 30.0)
    ]
    for more, less in itertools.pairwise(sums):
        assert (less < more).all()
    assert (sums[-1] < 1e-20 * scale.square().sum(0)).all()


@couplings
@given(
    sizes=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    seed=st.integers(0, 2**31),
)
def test_weighted_sum_has_the_dense_gaussian_s_moments(batch_of, dense_law, coupling, sizes, seed):
    batch, count = batch_of(sizes), len(sizes)
    q = SumControlledNormal(*parameters(len(batch), seed, 2), batch, count, coupling)
    weight = parameters(len(batch), seed + 1, 1)[0].squeeze(1)
    weighted = q.weighted_sum(weight)
    for s in range(count):
        mine = batch == s
        if not mine.any():
            assert weighted.mean[s].tolist() == weighted.variance[s].tolist() == [0.0, 0.0]
            continue
        for d, dense in enumerate(dense_distributions(q, dense_law, mine)):
            a, covariance = weight[mine], dense.covariance_matrix
            torch.testing.assert_close(weighted.mean[s, d], a @ dense.mean)
            torch.testing.assert_close(
                weighted.variance[s, d],
                a @ covariance @ a,
                rtol=1e-6,
                atol=1e-9 * covariance.max() * a.square().max(),
            )


@couplings
def test_weights_of_one_are_no_weights_and_a_weight_of_zero_leaves_its_member_out(
    batch_of, coupling
):
    batch = batch_of((3, 1))
    q = SumControlledNormal(*parameters(4), batch, coupling=coupling)
    weighted = q.weighted_sum(torch.ones(4))
    torch.testing.assert_close(weighted.mean, q.sum_mean)
    torch.testing.assert_close(weighted.variance, q.sum_variance)
    one = q.weighted_sum(torch.tensor([0, 1, 0, 1]))
    torch.testing.assert_close(one.mean, q.mean[[1, 3]])
    torch.testing.assert_close(one.variance, q.variance[[1, 3]])


def test_equal_weights_keep_a_nearly_certain_sum_certain_in_32_bits():
    # 0.1 - 0.1 R, formed by subtraction, is rounding error here.
    q = SumControlledNormal(
        torch.zeros(3, 1), torch.ones(3, 1), torch.full((3, 1), 30.0), coupling="scaled"
    )
    weighted = q.weighted_sum(torch.full((3,), 0.1))
    torch.testing.assert_close(weighted.stddev, 0.1 * q.sum_variance.sqrt())
    assert weighted.stddev.item() == pytest.approx(0.1 * math.sqrt(3.0) * math.exp(-30.0) / 3.0)


@couplings
def test_couplings_coincide_for_equal_scales(coupling):
    loc, _, logits = parameters(4)
    scale = torch.full_like(loc, 0.7)
    value = parameters(4, 2)[0]
    q = SumControlledNormal(loc, scale, logits, coupling=coupling)
    r = SumControlledNormal(loc, scale, logits, coupling="paper")
    torch.testing.assert_close(q.log_prob(value), r.log_prob(value))
    torch.testing.assert_close(q.variance, r.variance)


# Maps between eps and value


@couplings
@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    seed=st.integers(0, 2**31),
)
def test_inverse_undoes_transform(batch_of, coupling, sizes, seed):
    batch = batch_of(sizes)
    q = SumControlledNormal(*parameters(len(batch), seed), batch, len(sizes), coupling)
    generator = torch.Generator().manual_seed(seed)
    eps = torch.randn(2, len(batch), D, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(q.inverse(q.transform(eps)), eps, rtol=1e-8, atol=1e-8)
    value = q.loc + eps
    torch.testing.assert_close(q.transform(q.inverse(value)), value, rtol=1e-8, atol=1e-8)


@couplings
def test_density_of_a_sample_is_known_from_its_eps(batch_of, coupling):
    q = SumControlledNormal(*parameters(6), batch_of((2, 0, 4)), 3, coupling)
    eps = torch.randn(5, 6, D, dtype=torch.float64)
    torch.testing.assert_close(q.log_prob_from_eps(eps), q.log_prob(q.transform(eps)))


@couplings
def test_density_from_eps_is_exact_in_32_bits_where_the_sum_is_nearly_certain(coupling):
    """At 1 - R of some 1e-9 the inverse of a 32-bit sample is meaningless."""
    loc, scale, _ = parameters(4)
    logits = torch.full_like(loc, 20.0)
    eps = torch.randn(4, D, dtype=torch.float64)
    exact = SumControlledNormal(loc, scale, logits, coupling=coupling).log_prob_from_eps(eps)
    single = SumControlledNormal(loc.float(), scale.float(), logits.float(), coupling=coupling)
    torch.testing.assert_close(
        single.log_prob_from_eps(eps.float()), exact.float(), rtol=1e-4, atol=1e-4
    )


@couplings
def test_sample_is_the_transform_of_standard_normal_eps(coupling):
    q = one_set(3, coupling)
    torch.manual_seed(5)
    w = q.rsample((2,))
    torch.manual_seed(5)
    torch.testing.assert_close(w, q.transform(torch.randn(2, 3, D, dtype=torch.float64)))


@couplings
def test_gradients_are_the_derivatives(batch_of, coupling):
    batch = batch_of((3, 0, 1, 2))
    loc, scale, logits = (x.requires_grad_() for x in parameters(6, channels=2))
    m, s, eps = (x.detach().requires_grad_() for x in parameters(6, 1, channels=2))

    def everything(loc, scale, logits, m, s, eps):
        q = SumControlledNormal(loc, scale, logits, batch, 4, coupling)
        w = q.transform(eps)
        return (
            w,
            q.inverse(m),
            q.log_prob(m),
            q.entropy(),
            kl_divergence(q, Normal(m, s)),
            q.variance,
            q.sum_variance,
        )

    assert torch.autograd.gradcheck(everything, (loc, scale, logits, m, s, eps))


@couplings
def test_gradients_flow_through_rsample_and_not_through_sample(coupling):
    inputs = [x.requires_grad_() for x in parameters(3)]
    q = SumControlledNormal(*inputs, coupling=coupling)
    gradients = torch.autograd.grad(q.rsample().square().sum(), inputs)
    assert all((g != 0).all() for g in gradients)
    assert not q.sample().requires_grad


# Packing


@couplings
def test_packed_sets_are_as_each_alone(batch_of, coupling):
    batch = batch_of(SIZES)
    q = SumControlledNormal(*parameters(len(batch)), batch, len(SIZES), coupling)
    p = prior(len(batch))
    value = parameters(len(batch), 2)[0]
    for s, size in enumerate(SIZES):
        mine = batch == s
        alone = SumControlledNormal(
            q.loc[mine], q.scale[mine], q.coupling_logits[mine], coupling=coupling
        )
        assert alone.batch_shape == (1, D) and int(mine.sum()) == size
        torch.testing.assert_close(q.log_prob(value)[s], alone.log_prob(value[mine])[0])
        torch.testing.assert_close(q.entropy()[s], alone.entropy()[0])
        torch.testing.assert_close(q.sum_mean[s], alone.sum_mean[0])
        torch.testing.assert_close(q.sum_variance[s], alone.sum_variance[0])
        torch.testing.assert_close(q.variance[mine], alone.variance)
        torch.testing.assert_close(q.transform(value)[mine], alone.transform(value[mine]))
        kl = kl_divergence(alone, Normal(p.loc[mine], p.scale[mine]))
        torch.testing.assert_close(kl_divergence(q, p)[s], kl[0])


@couplings
def test_order_of_members_does_not_matter(coupling):
    loc, scale, logits = parameters(5)
    value, order = parameters(5, 2)[0], torch.tensor([3, 0, 4, 1, 2])
    q = SumControlledNormal(loc, scale, logits, coupling=coupling)
    r = SumControlledNormal(loc[order], scale[order], logits[order], coupling=coupling)
    torch.testing.assert_close(r.log_prob(value[order]), q.log_prob(value))
    torch.testing.assert_close(r.sum_variance, q.sum_variance)
    torch.testing.assert_close(r.variance, q.variance[order])


@couplings
@pytest.mark.parametrize("sample_shape", [(), (4,), (2, 3)])
def test_shapes(batch_of, coupling, sample_shape):
    q = SumControlledNormal(*parameters(11), batch_of(SIZES), 6, coupling)
    assert q.batch_shape == (6, D) and q.event_shape == ()
    w = q.rsample(sample_shape)
    assert w.shape == (*sample_shape, 11, D)
    assert q.sample(sample_shape).shape == w.shape
    assert q.inverse(w).shape == w.shape
    assert q.log_prob(w).shape == (*sample_shape, 6, D)
    assert q.entropy().shape == q.sum_mean.shape == q.sum_variance.shape == (6, D)
    assert q.mean.shape == q.mode.shape == q.variance.shape == q.stddev.shape == (11, D)


@couplings
@pytest.mark.parametrize("batch_size", [0, 1, 3])
def test_no_members_at_all(batch_of, coupling, batch_size):
    q = SumControlledNormal(*parameters(0), batch_of([]), batch_size, coupling)
    p = prior(0)
    assert q.rsample((2,)).shape == (2, 0, D)
    for out in (
        q.log_prob(q.rsample()),
        q.entropy(),
        kl_divergence(q, p),
        q.sum_variance,
        q.weighted_sum(torch.ones(0)).variance,
        q.total_correlation(),
    ):
        assert out.shape == (batch_size, D)
        assert (out == 0).all()


# Precision


@couplings
def test_nearly_certain_sum_has_a_finite_density_and_divergence_in_32_bits(coupling):
    # 1 - R, formed by subtraction, is zero here.
    logit, size = 60.0, 4
    q = SumControlledNormal(
        torch.zeros(size, 1), torch.ones(size, 1), torch.full((size, 1), logit), coupling=coupling
    )
    null = -(logit + math.log(size))
    entropy = 0.5 * size * (1.0 + math.log(2.0 * math.pi)) + null
    assert q.entropy().item() == pytest.approx(entropy, rel=1e-6)
    # With rho = 1 / K the trace is K - 1.
    kl = kl_divergence(q, Normal(torch.zeros(1), torch.ones(1)))
    assert kl.item() == pytest.approx(0.5 * (size - 1 - size) - null, rel=1e-6)
    at_mean = -0.5 * size * math.log(2.0 * math.pi) - null
    assert q.log_prob(q.loc).item() == pytest.approx(at_mean, rel=1e-6)


@pytest.mark.parametrize(("coupling", "unit"), [("paper", 1e-20), ("scaled", 1e-16)])
def test_divergence_depends_on_ratios_of_scales_alone_in_32_bits(coupling, unit):
    loc, scale, logits = (x.float() for x in parameters(4))
    q = SumControlledNormal(loc, unit * scale, logits, coupling=coupling)
    r = SumControlledNormal(loc, scale, logits, coupling=coupling)
    small = kl_divergence(q, Normal(loc, torch.full_like(loc, unit)))
    torch.testing.assert_close(small, kl_divergence(r, Normal(loc, torch.ones_like(loc))))


def test_no_value_is_read_from_the_device():
    # Reading a value of a tensor on the meta device raises.
    ones = torch.ones(5, D, device="meta")
    batch = torch.zeros(5, dtype=torch.long, device="meta")
    q = SumControlledNormal(ones, ones, ones, batch, 2, validate_args=False)
    w = q.rsample((7,))
    assert q.log_prob(w).shape == (7, 2, D)
    assert kl_divergence(q, Normal(ones, ones, validate_args=False)).shape == (2, D)
    assert q.weighted_sum(ones[:, 0]).variance.shape == q.total_correlation().shape == (2, D)


# Being a distribution


def test_is_a_torch_distribution():
    q = one_set(2, "paper")
    assert isinstance(q, Distribution) and q.has_rsample


@couplings
def test_repr(batch_of, coupling):
    q = SumControlledNormal(*parameters(4), batch_of((3, 0, 1)), 3, coupling)
    expected = f"SumControlledNormal(num_parts=4, batch_size=3, channels=3, coupling={coupling!r})"
    assert repr(q) == expected


def test_repr_of_one_in_units_of_a_prior_has_its_name():
    q = ResidualSumControlledNormal(prior(1), *parameters(4))
    assert repr(q).startswith("ResidualSumControlledNormal(num_parts=4, batch_size=1, channels=3,")


def test_default_coupling_is_the_paper_s():
    assert SumControlledNormal(*parameters(2)).coupling == "paper"
    assert ResidualSumControlledNormal(prior(1), *parameters(2)).coupling == "paper"


# What does not fit


def test_unknown_coupling_is_refused(refuses):
    with refuses(ValueError, "coupling"):
        SumControlledNormal(*parameters(2), coupling="tight")


def test_parameters_of_unfit_shapes_are_refused(refuses):
    loc, scale, logits = parameters(4)
    with refuses(ValueError, "loc"):
        SumControlledNormal(loc[:, 0], scale[:, 0], logits[:, 0])
    with refuses(ValueError, "scale"):
        SumControlledNormal(loc, scale[:3], logits)
    with refuses(ValueError, "coupling_logits"):
        SumControlledNormal(loc, scale, logits[:, :1])
    with refuses(ValueError, "shift"):
        ResidualSumControlledNormal(prior(1), loc[:, 0], scale, logits)
    with refuses(ValueError, "log_variance"):
        ResidualSumControlledNormal(prior(1), loc, scale[:3], logits)


def test_a_prior_that_does_not_fit_is_refused(refuses):
    q = one_set(4, "paper")
    residual = ResidualSumControlledNormal(prior(1), *parameters(4))
    for unfit in (prior(3), Normal(torch.zeros(1, 2), 1.0), Normal(torch.zeros(2, 4, 3), 1.0)):
        with refuses(ValueError, "prior"):
            ResidualSumControlledNormal(unfit, *parameters(4))
        for mine in (q, residual):
            with refuses(ValueError, "q"):
                kl_divergence(mine, unfit)
    with refuses(TypeError, "prior"):
        ResidualSumControlledNormal(torch.zeros(4, 3), *parameters(4))


@pytest.mark.parametrize("value", [None, 1.0, torch.ones(4, D, dtype=torch.long)])
def test_parameters_that_are_no_real_tensors_are_refused(refuses, value):
    loc, scale, logits = parameters(4)
    with refuses(TypeError, "loc"):
        SumControlledNormal(value, scale, logits)
    with refuses(TypeError, "scale"):
        SumControlledNormal(loc, value, logits)
    with refuses(TypeError, "coupling_logits"):
        SumControlledNormal(loc, scale, value)


def test_parameters_on_two_devices_are_refused(refuses):
    loc, scale, logits = parameters(4)
    with refuses(ValueError, "scale"):
        SumControlledNormal(loc, scale.to("meta"), logits)


def test_unfit_batch_is_refused(refuses):
    for unfit in ([0, 0, 1], [1, 0, 0, 1], [0, 0, 2, 2]):
        with refuses(ValueError, "batch"):
            SumControlledNormal(*parameters(4), torch.tensor(unfit))


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_scale_that_is_not_positive_is_refused(refuses, bad):
    loc, scale, logits = parameters(2)
    scale[1, 2] = bad
    with refuses(ValueError, "scale"):
        SumControlledNormal(loc, scale, logits, validate_args=True)


@pytest.mark.parametrize("name", ["loc", "scale", "coupling_logits"])
def test_parameters_that_are_nan_are_refused(refuses, name):
    values = dict(zip(("loc", "scale", "coupling_logits"), parameters(2), strict=True))
    values[name][1, 2] = math.nan
    with refuses(ValueError, name):
        SumControlledNormal(**values, validate_args=True)


@couplings
def test_value_and_eps_of_unfit_shapes_are_refused(refuses, coupling):
    q = one_set(4, coupling)
    for shape in ([3, 3], [4, 2], [3], [4, 3, 1]):
        unfit = torch.zeros(shape, dtype=torch.float64)
        for method in (q.log_prob, q.inverse):
            with refuses(ValueError, "value"):
                method(unfit)
        for method in (q.transform, q.log_prob_from_eps):
            with refuses(ValueError, "eps"):
                method(unfit)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_value_that_is_not_finite_is_refused(refuses, bad):
    value = torch.zeros(4, D, dtype=torch.float64)
    value[2, 1] = bad
    with refuses(ValueError, "value"):
        SumControlledNormal(*parameters(4), validate_args=True).log_prob(value)


@couplings
def test_nan_stays_in_its_set_and_coordinate_without_validation(batch_of, coupling):
    q = SumControlledNormal(
        *parameters(4), batch_of((2, 2)), coupling=coupling, validate_args=False
    )
    value = parameters(4, 2)[0]
    spoilt = value.clone()
    spoilt[2, 1] = math.nan
    out, clean = q.log_prob(spoilt), q.log_prob(value)
    assert out.isnan().nonzero().tolist() == [[1, 1]]
    torch.testing.assert_close(out.nan_to_num(), clean.where(~out.isnan(), clean.new_zeros(())))


def test_unfit_weights_are_refused(refuses):
    for unfit in (torch.ones(3, 1), torch.ones(2), torch.tensor([1.0, math.nan, 1.0])):
        with refuses(ValueError, "weight"):
            one_set(3, "paper").weighted_sum(unfit)
    for unfit in ([1.0] * 3, torch.ones(3) > 0):
        with refuses(TypeError, "weight"):
            one_set(3, "paper").weighted_sum(unfit)


@pytest.mark.parametrize("coupling", ["paper", "scaled"])
def test_a_weighted_sum_without_variance_spoils_no_gradient(coupling):
    leaves = [torch.ones(3, 2, requires_grad=True) for _ in range(3)]
    q = SumControlledNormal(*leaves, coupling=coupling)
    weight = torch.zeros(3, requires_grad=True)
    weighted = q.weighted_sum(weight)
    assert (weighted.stddev == 0.0).all()
    (weighted.mean + weighted.stddev).sum().backward()
    assert all(leaf.grad.isfinite().all() for leaf in (*leaves, weight))
    torch.testing.assert_close(weight.grad, torch.full((3,), 2.0))


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan])
def test_a_divergence_from_a_normal_without_a_scale_is_refused(refuses, scale):
    zeros, ones = torch.zeros(2, 1), torch.ones(2, 1)
    p = SumControlledNormal(zeros, ones, zeros)
    residual = ResidualSumControlledNormal(Normal(zeros, ones), zeros, zeros, zeros)
    q = Normal(zeros, torch.tensor([[1.0], [scale]]), validate_args=False)
    for posterior in (p, residual):
        with refuses(ValueError, "scale"):
            kl_divergence(posterior, q)
