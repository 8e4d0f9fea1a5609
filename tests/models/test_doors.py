"""Parts come in as tensors, as packed parts and as PyG's graphs: all give the same numbers."""

import pytest
import torch
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

from compvae_pyg import Dots, rank_parts
from compvae_pyg.models import attribute
from compvae_pyg.nn import PackedParts

DOTS = Dots()
SIZES = (3, 0, 1, 2)


def seed(number=3):
    return torch.Generator().manual_seed(number)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return DOTS.build("small", hidden_channels=8).requires_grad_(False)


@pytest.fixture(scope="module")
def drawn():
    return DOTS.sample(torch.tensor(SIZES), seed(1))


CALLS = {
    "elbo": lambda m, x, *p, **o: torch.stack(m.elbo(x, *p, generator=seed(), **o)[:3]),
    "forward": lambda m, x, *p, **o: m(x, *p, generator=seed(), **o).elbo,
    "posterior": lambda m, x, *p, **o: m.posterior(x, *p, generator=seed(), **o).w.loc,
    "infer": lambda m, x, *p, **o: m.infer(x, *p, generator=seed(), **o).w_sum,
    "reconstruct": lambda m, x, *p, **o: m.reconstruct(x, *p, generator=seed(), **o),
    "log_likelihood": lambda m, x, *p, **o: m.log_likelihood(
        x, *p, num_samples=3, chunk_size=2, generator=seed(), **o
    ),
    "attribute": lambda m, x, *p, **o: attribute(m, x, *p, generator=seed(), **o).parts,
    "rank_parts": lambda m, x, *p, **o: (
        rank_parts(m, x[:1], *p, num_samples=2, generator=seed(), **o).log_likelihood
    ),
    "generate": lambda m, x, *p, **o: m.generate(*p, generator=seed(), **o),
    "compose": lambda m, x, *p, **o: m.compose(*p, generator=seed(), **o).w_sum,
    "generator": lambda m, x, *p, **o: m.generator(*p, generator=seed(), **o).mean,
    "w_sum_prior": lambda m, x, *p, **o: m.generator.w_sum_prior(*p, **o).stddev,
}
calls = pytest.mark.parametrize("name", CALLS)


@calls
@pytest.mark.filterwarnings("ignore:the best candidate")
def test_every_form_of_the_parts_gives_the_same_numbers(model, drawn, name):
    fields, whole = DOTS.parts(drawn), drawn.whole
    expected = CALLS[name](model, whole, fields, drawn.batch, 4)
    # What the packed batch of the problem has beside its fields, intensities, is not read.
    stored = [
        Data(color=d.color, pos=d.pos, whole=d.whole, num_nodes=len(d.color))
        for d in drawn.to_data_list()
    ]
    (loaded,) = DataLoader(stored, batch_size=4)
    for parts in (PackedParts(fields, drawn.batch, 4), drawn, loaded):
        assert torch.equal(CALLS[name](model, whole, parts), expected), type(parts)


@calls
@pytest.mark.filterwarnings("ignore:the best candidate")
def test_a_graph_by_itself_is_one_set(model, drawn, name):
    one = Data(color=drawn.color[:3], pos=drawn.pos[:3], num_nodes=3)
    expected = CALLS[name](model, drawn.whole[:1], {"color": one.color, "pos": one.pos})
    assert torch.equal(CALLS[name](model, drawn.whole[:1], one), expected)
    assert torch.equal(CALLS[name](model, drawn.whole[:1], Batch.from_data_list([one])), expected)


@calls
def test_sets_are_not_given_twice(refuses, model, drawn, name):
    fields = DOTS.parts(drawn)
    for parts in (drawn, PackedParts(fields, drawn.batch, 4)):
        for beside in ((drawn.batch,), (drawn.batch, 4), (None, 4)):
            with refuses(ValueError, "batch" if beside[0] is not None else "batch_size"):
                CALLS[name](model, drawn.whole, parts, *beside)


def test_wholes_stored_with_the_parts_are_no_field_of_them(model):
    # One part each: then a whole has as many rows as there are parts.
    data = DOTS.sample(torch.ones(5, dtype=torch.long))
    assert "whole" not in model.compose(data).parts.fields
    assert model.elbo(data.whole, data).elbo.shape == (5,)


@pytest.mark.parametrize("name", [name for name in CALLS if name != "attribute"])
@pytest.mark.filterwarnings("ignore:the best candidate")
def test_counts_and_weights_come_with_the_parts_or_beside_them(model, drawn, name):
    fields, count = DOTS.parts(drawn), torch.tensor([2, 1, 3, 1, 1, 4])
    weight = torch.linspace(0.5, 1.5, 6)
    sets = drawn.batch, 4
    packed = PackedParts(fields, *sets, count=count, weight=weight)
    expected = CALLS[name](model, drawn.whole, packed)
    for parts, options in (
        ((fields, *sets), {"count": count, "weight": weight}),
        ((drawn,), {"count": count, "weight": weight}),
    ):
        assert torch.equal(CALLS[name](model, drawn.whole, *parts, **options), expected)
    # A posterior of the parts does not depend on their weights.
    for left in ("count",) if name == "posterior" else ("count", "weight"):
        options = {k: v for k, v in {"count": count, "weight": weight}.items() if k != left}
        assert not torch.equal(CALLS[name](model, drawn.whole, fields, *sets, **options), expected)
