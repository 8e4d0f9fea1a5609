"""What a problem of one's own has to bring."""

import torch

from compvae_pyg import Problem
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


def test_networks_are_found_under_the_name_of_the_problem_and_saved_with_its_parameters():
    class Placed(Counts):
        name, networks = "dots", ("small",)

        def __init__(self):
            self.border, self.images = 0.5, torch.zeros(3)

    assert Placed().build("small", channels=2).config == {
        "problem": "dots",
        "parameters": {"border": 0.5},
        "preset": "small",
        "options": {"channels": 2},
    }
