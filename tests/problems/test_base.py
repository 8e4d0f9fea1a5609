"""What a problem of one's own has to bring."""

from functools import partial
from types import MappingProxyType

import pytest
import torch

from compvae_pyg import Dots, Problem, Sines
from compvae_pyg.evaluation import evaluate
from compvae_pyg.networks import Categorical, build_curves, build_images
from compvae_pyg.nn import pack
from compvae_pyg.problems import packed_batch
from compvae_pyg.training import GeneratedDataset, Schedule


class Counts(Problem):
    name, part_fields, event_shape = "counts", ("value",), (1,)

    def sample(self, num_parts, generator=None):
        batch, _ = pack(num_parts)
        value = torch.rand(batch.shape, generator=generator)
        return packed_batch({"value": value}, num_parts.view(-1, 1).float(), num_parts)


def test_a_problem_needs_no_networks(refuses):
    counts = Counts()
    data = counts.sample(torch.tensor([2, 1]))
    assert list(counts.parts(data)) == ["value"] and data.whole.tolist() == [[2.0], [1.0]]
    with refuses(ValueError, "preset"):
        counts.build("small")


def test_networks_are_found_under_the_name_of_the_problem_and_saved_with_its_parameters():
    class Edged(Counts):
        name, presets = "edged", MappingProxyType(dict(Dots.presets))

        def __init__(self):
            self.border, self.images = 0.5, torch.zeros(3)

    assert Edged().build("small", hidden_channels=8).config == {
        "problem": "edged",
        "parameters": {"border": 0.5},
        "preset": "small",
        "options": {"hidden_channels": 8},
    }


KIND = {"category": Categorical(3)}


@pytest.mark.parametrize(
    ("build", "fields"),
    [
        (partial(Dots().build, "small"), ("color", "pos")),
        (partial(Sines().build, "small"), ("category",)),
        (partial(build_images, fields=KIND, size=(12, 12)), ("category", "pos")),
        (partial(build_curves, fields=KIND, length=9), ("category",)),
    ],
    ids=["dots", "sines", "images", "curves"],
)
def test_networks_draw_and_judge_wholes_when_no_whole_has_a_part(build, fields):
    torch.manual_seed(0)
    model, batch = build(), torch.zeros(0, dtype=torch.long)
    parts = {name: torch.zeros(0, 2) if name == "pos" else batch for name in fields}
    wholes = model.generate(parts, batch, 3)
    assert wholes.shape == (3, *model.event_shape)
    terms = model.elbo(wholes, parts, batch, 3)
    assert terms.elbo.shape == (3,) and bool(terms.elbo.isfinite().all())
    assert not terms.kl_w.any()


@pytest.mark.parametrize(
    "name", ["edge_index", "indexes", "face", "batch", "batch_of", "whole", "ptr", "num_nodes"]
)
def test_names_that_pyg_treats_specially_are_refused(refuses, name):
    with refuses(ValueError, name):
        packed_batch({name: torch.zeros(3)}, torch.zeros(2, 4), torch.tensor([1, 2]))


def test_rows_that_do_not_match_are_refused(refuses):
    num_parts = torch.tensor([1, 2])
    with refuses(ValueError, "num_parts"):
        packed_batch({"kind": torch.zeros(4)}, torch.zeros(2, 4), num_parts)
    with refuses(ValueError, "size"):
        packed_batch({"kind": torch.zeros(3), "size": torch.zeros(2)}, torch.zeros(2, 4), num_parts)
    for whole in (torch.zeros(3, 4), torch.zeros(())):
        with refuses(ValueError, "whole"):
            packed_batch({"kind": torch.zeros(3)}, whole, num_parts)
    with refuses(TypeError, "whole"):
        packed_batch({"kind": torch.zeros(3)}, None, num_parts)
    with refuses(TypeError, "parts"):
        packed_batch({}, torch.zeros(2, 4), num_parts)


WRONG_SAMPLES = {
    "None": (lambda data: None, TypeError, "sample"),
    "one graph": (lambda data: data[0], TypeError, "sample"),
    "a pair": (lambda data: (data.whole, data.color), TypeError, "sample"),
    "no field": (lambda data: _without(data, "color"), ValueError, "color"),
    "no whole": (lambda data: _without(data, "whole"), ValueError, "whole"),
    "a set less": (lambda data: _with_whole(data, data.whole[1:]), ValueError, "whole"),
    "another size": (lambda data: _with_whole(data, data.whole[..., 1:]), ValueError, "whole"),
}


def _without(data, name):
    del data[name]
    return data


def _with_whole(data, whole):
    data.whole = whole
    return data


@pytest.mark.parametrize("label", WRONG_SAMPLES)
def test_what_is_not_a_sample_of_the_problem_is_reported(refuses, monkeypatch, untrained, label):
    change, error, name = WRONG_SAMPLES[label]
    sample = Dots.sample
    monkeypatch.setattr(Dots, "sample", lambda self, *args: change(sample(self, *args)))
    with refuses(error, name):
        GeneratedDataset(Dots(), Schedule(2, batch_size=4))[0]
    with refuses(error, name):
        evaluate(untrained, Dots(), num_parts=[2], num_wholes=3)
