import math
from dataclasses import asdict

import pytest
import torch

from compvae_pyg.evaluation import evaluate_elbo
from compvae_pyg.evaluation.isolation import isolated
from compvae_pyg.evaluation.sampling import evaluation_generator, evaluation_wholes


def test_known_terms_are_told_as_they_are(oracle, dots):
    (row,) = evaluate_elbo(oracle, dots, num_parts=[2], num_wholes=7, batch_size=3)
    log_likelihood = -3072 * 0.5 * (0.25**2 + math.log(2 * math.pi))
    assert (row.num_parts, row.num_wholes) == (2, 7)
    assert row.log_likelihood.mean == pytest.approx(log_likelihood)
    assert row.elbo.mean == pytest.approx(log_likelihood - 3.5)
    assert row.reconstruction_rmse.mean == pytest.approx(0.25)
    assert row.kl_w.mean == 3.0
    assert row.kl_z.mean == 0.5
    assert row.kl_w.standard_error == 0.0
    assert row.kl_w_bits.mean == pytest.approx(3.0 / math.log(2.0))
    assert row.kl_z_bits.mean == pytest.approx(0.5 / math.log(2.0))


def test_no_batch_is_larger_than_asked_and_no_whole_is_lost(oracle, dots):
    evaluate_elbo(oracle, dots, num_parts=[1, 3], num_wholes=7, batch_size=3)
    assert oracle.batch_sizes == [3, 3, 1] * 2


def test_terms_are_those_of_the_model_on_the_wholes_of_the_seed(untrained, dots):
    (row,) = evaluate_elbo(untrained, dots, num_parts=[3], num_wholes=5, seed=4)
    source = evaluation_generator(4, 3)
    with isolated(untrained, 4) as device:
        (data,) = evaluation_wholes(dots, 3, 5, 10, source, device)
        terms = untrained.elbo(data.whole, dots.parts(data), data.batch, 5)
    assert data.ptr.diff().tolist() == [3] * 5
    for name in ("log_likelihood", "kl_w", "kl_z"):
        value = getattr(terms, name).double()
        assert getattr(row, name).mean == pytest.approx(float(value.mean()))
        error = float(value.std()) / math.sqrt(5)
        assert getattr(row, name).standard_error == pytest.approx(error)


def test_a_row_depends_on_its_arguments_alone(untrained, dots):
    options = {"num_wholes": 6, "batch_size": 4}
    rows = evaluate_elbo(untrained, dots, num_parts=[1, 4], **options)
    torch.rand(5)
    state = torch.get_rng_state()
    (alone,) = evaluate_elbo(untrained, dots, num_parts=[4], **options)
    assert torch.equal(torch.get_rng_state(), state)
    assert asdict(alone) == asdict(rows[1])
    first, second = (evaluation_generator(0, size).initial_seed() for size in (1, 4))
    assert first != second
    (other,) = evaluate_elbo(untrained, dots, num_parts=[4], seed=1, **options)
    assert other.elbo != alone.elbo


def test_wholes_are_not_those_of_a_training_with_the_same_seed(dots):
    pytest.importorskip("lightning")
    from compvae_pyg.problems import Curriculum, Schedule
    from compvae_pyg.training import GeneratedDataset

    schedule = Schedule(3, 4, curriculum=Curriculum(1, 1, every=0))
    seen = GeneratedDataset(dots, schedule, seed=0)
    (data,) = evaluation_wholes(dots, 1, 4, 4, evaluation_generator(0, 1), torch.device("cpu"))
    assert not any(torch.isin(data.pos, seen[step].pos).any() for step in range(3))


@pytest.mark.parametrize(
    ("option", "found"),
    [
        ({"num_parts": [0]}, "0, 8 and 250"),
        ({"num_wholes": 0}, "1, 0 and 250"),
        ({"batch_size": 0}, "1, 8 and 0"),
    ],
)
def test_nothing_to_measure_is_refused(oracle, dots, refuses, option, found):
    options = {"num_parts": [1], "num_wholes": 8, **option}
    message = f"num_parts, num_wholes and batch_size must be at least 1 (got {found})"
    with refuses(ValueError, message):
        evaluate_elbo(oracle, dots, **options)
