"""What a problem of one's own has to bring."""

import pytest
import torch

from compvae_pyg import Dots, Problem, Sines
from compvae_pyg.problems import pack, packed_batch


class Counts(Problem):
    name, part_fields, event_shape = "counts", ("value",), (1,)

    def sample(self, num_parts, generator=None):
        batch, _ = pack(num_parts)
        value = torch.rand(batch.shape, generator=generator)
        return packed_batch({"value": value}, num_parts.view(-1, 1).float(), num_parts)


def test_a_problem_needs_no_networks_and_no_course_of_training(refuses):
    counts = Counts()
    data = counts.sample(torch.tensor([2, 1]))
    assert list(counts.parts(data)) == ["value"] and data.whole.tolist() == [[2.0], [1.0]]
    with refuses(ValueError, "networks must be one of () (got 'small')"):
        counts.build("small")
    with refuses(ValueError, "schedule must be one of () (got 'roads')"):
        counts.schedule("roads")


def test_networks_are_found_under_the_name_of_the_problem():
    class Placed(Counts):
        name, networks = "dots", ("small",)

    assert Placed().build("small", channels=2).config == {
        "architecture": "dots-small",
        "options": {"channels": 2},
    }


@pytest.mark.parametrize("problem", [Dots(), Sines()], ids=lambda problem: problem.name)
def test_networks_draw_and_judge_wholes_when_no_whole_has_a_part(problem):
    torch.manual_seed(0)
    model = problem.build("small")
    none = problem.sample(torch.zeros(3, dtype=torch.long))
    parts = problem.parts(none)
    assert model.generate(parts, none.batch, 3).shape == (3, *problem.event_shape)
    terms = model.elbo(none.whole, parts, none.batch, 3)
    assert terms.elbo.shape == (3,) and bool(terms.elbo.isfinite().all())
    assert not terms.kl_w.any()
