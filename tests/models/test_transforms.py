"""Hooks on every layer, derivatives of derivatives, and torch.func."""

import copy

import pytest
import torch
from torch.distributions import Distribution

from compvae_pyg import CompVAE, Dots, Sines

PROBLEMS = {"dots": Dots(), "sines": Sines()}
SIZES = (3, 0, 1, 2)
S, N = 4, 6


def tensors(value, depth=0):
    """All tensors in what a layer returns."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors(item, depth)
    elif isinstance(value, Distribution) and depth < 3:
        for item in vars(value).values():
            yield from tensors(item, depth + 1)


@pytest.fixture(params=PROBLEMS)
def shipped(request):
    """A shipped model, and wholes of its problem as a PyG batch."""
    problem = PROBLEMS[request.param]
    model = CompVAE.from_pretrained(f"{problem.name}-small")
    data = problem.sample(torch.tensor([3, 1, 5]), torch.Generator().manual_seed(0))
    return model, data


def test_what_a_layer_returned_stays_as_it_was(shipped):
    model, data = shipped
    kept = []

    def keep(module, args, out):
        kept.extend((type(module).__name__, value, value.clone()) for value in tensors(out))

    for module in model.modules():
        module.register_forward_hook(keep)
    whole = data.whole.clone()
    terms = model.elbo(whole, data)
    terms.elbo.sum().backward()
    model.generate(data)
    model.infer(whole, data).remove(0).decode()
    model.log_likelihood(whole, data, num_samples=2)
    assert len(kept) > 100
    for name, value, before in kept:
        assert torch.equal(value.nan_to_num(), before.nan_to_num()), name
    assert torch.equal(whole, data.whole)


@pytest.mark.filterwarnings("ignore:For backward hooks to be called", "ignore:Full backward hook")
def test_backward_hooks_on_every_layer_leave_the_gradients_as_they_are(shipped):
    model, data = shipped
    model = model.double()
    plain, called = copy.deepcopy(model), set()
    for name, module in model.named_modules():
        module.register_full_backward_hook(lambda *_, name=name: called.add(name))
    for one in (model, plain):
        terms = one.elbo(data.whole, data, generator=torch.Generator().manual_seed(1))
        terms.elbo.sum().backward()
    for (name, one), other in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None), name
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad, msg=name)
    layers = {
        name
        for name, module in model.named_modules()
        if any(p.grad is not None for p in module.parameters(recurse=False))
    }
    # Those that are tables of parameters, not layers that are called, have no backward pass.
    assert len(layers) > 20 and len(layers - called) <= 2, layers - called


@pytest.mark.parametrize("residual_posterior", [False, True])
@pytest.mark.parametrize("coupling", ["paper", "scaled"])
def test_second_derivatives_of_the_elbo_are_those_of_differences(
    small_model, batch_of, draw, coupling, residual_posterior
):
    model = small_model(coupling=coupling, residual_posterior=residual_posterior)
    batch = batch_of((2, 1))

    def bound(whole, parts):
        return model.elbo(whole, parts, batch, generator=torch.Generator().manual_seed(1)).elbo

    given = draw(2, 5).requires_grad_(), draw(3, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(bound, given)
    assert torch.autograd.gradgradcheck(bound, given)


def test_many_latents_of_the_whole_are_a_loop_over_them(small_model, batch_of, draw):
    model = small_model().requires_grad_(False)
    whole, parts, batch = draw(S, 5), draw(N, 3, seed=1), batch_of(SIZES)
    features, part_eps = model.embedding(whole, parts, batch), draw(N, 4, seed=2)
    many = draw(7, S, 2, seed=3)

    def latents(z):
        w = model.encoder(*features, batch, S, z=z, part_eps=part_eps).w
        return w.loc, w.scale, w.coupling_logits, w.sum_mean, w.entropy()

    at_once = torch.func.vmap(latents)(many)
    for k, z in enumerate(many):
        for one, other in zip(at_once, latents(z), strict=True):
            torch.testing.assert_close(one[k], other)
    slopes = torch.func.vmap(torch.func.jacrev(lambda z: latents(z)[3].sum(1)))(many)
    # The sum of the parts of a whole depends on its own latent alone.
    assert slopes.shape == (7, S, S, 2)
    own = torch.eye(S, dtype=torch.bool)
    assert (slopes[:, ~own] == 0).all() and (slopes[:, own][:, [0, 2, 3]] != 0).any()


def test_parameters_may_be_handed_over_as_arguments(small_model, batch_of, draw):
    model, batch = small_model(), batch_of(SIZES)
    given = draw(S, 5), draw(N, 3, seed=1), batch, S
    other = {name: 1.1 * value.detach() for name, value in model.named_parameters()}

    def loss(parameters):
        generator = torch.Generator().manual_seed(1)
        terms = torch.func.functional_call(model, parameters, given, {"generator": generator})
        return terms.elbo.sum()

    changed = copy.deepcopy(model)
    changed.load_state_dict(other)
    expected = changed.elbo(*given, generator=torch.Generator().manual_seed(1)).elbo.sum()
    torch.testing.assert_close(loss(other), expected)
    expected.backward()
    gradients = torch.func.grad(loss)(other)
    for name, parameter in changed.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, msg=name)
