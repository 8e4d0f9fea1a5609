import math
from itertools import pairwise

import pytest
import torch

from compvae_pyg.training import NonFiniteGuard, TrainingDivergedError

GOOD, BAD = torch.tensor(1.0), torch.tensor(math.nan)


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(torch.as_tensor(one[name]), torch.as_tensor(other[name])) for name in one
    )


def changed_steps(states):
    return [not same(before, after) for before, after in pairwise(states)]


@pytest.mark.parametrize("kind", ["not_finite", "steep"])
def test_a_bad_step_touches_neither_weights_nor_adam(module, faults, recorder, fit, kind):
    """The loss is infinite with a finite gradient, or finite with an infinite one."""
    setattr(faults, kind, {13, 15})
    with pytest.warns(RuntimeWarning, match=r"step 13 was skipped"):
        fit(module, recorder)
    skipped = [not changed for changed in changed_steps(recorder.weights)]
    assert [step for step, skip in enumerate(skipped, start=1) if skip] == [13, 15]
    for step in (13, 15):
        rates = {"lr": recorder.adam[step]["lr"]}
        assert same(recorder.adam[step], recorder.adam[step - 1] | rates)
    assert module.step == 20
    assert int(module.guard.state["skipped"]) == 2
    assert all(bool(torch.isfinite(p).all()) for p in module.parameters())


def test_a_bad_first_step_leaves_adam_at_its_beginning(module, faults, recorder, fit):
    faults.not_finite = {0}
    with pytest.warns(RuntimeWarning, match=r"step 0 was skipped"):
        fit(module, recorder)
    assert all(not value.any() for name, value in recorder.adam[0].items() if name != "lr")


def test_only_the_first_bad_step_is_reported(module, faults, fit):
    faults.not_finite = {2, 3, 7, 11, 12}
    with pytest.warns(RuntimeWarning) as caught:
        fit(module)
    messages = [str(w.message) for w in caught if "skipped" in str(w.message)]
    assert len(messages) == 1 and "step 2" in messages[0]


def test_training_that_diverges_for_good_is_an_error(module, faults, fit, refuses):
    faults.not_finite = range(9, 20)
    with refuses(TrainingDivergedError, "step 9"), pytest.warns(RuntimeWarning):
        fit(module)
    # Judged after step 16, the first multiple of 4 with such a run behind it.
    assert module.step == 16
    last = module.schedule.at(8)
    terms = faults.terms[8]
    expected = (-terms.log_likelihood + last.beta_w * terms.kl_w).mean()
    assert float(module.guard.state["last_loss"]) == pytest.approx(float(expected))


def test_a_run_one_short_of_the_limit_is_no_divergence(module, faults, fit):
    faults.not_finite = {9, 10, 11, 13, 14, 15}
    with pytest.warns(RuntimeWarning):
        fit(module)
    assert int(module.guard.state["skipped"]) == 6


def test_a_run_that_ends_before_it_is_looked_at_stays_latched():
    guard = NonFiniteGuard(patience=2)
    norms = [GOOD, BAD, GOOD, BAD, BAD, GOOD]
    skips = [bool(guard.judge(step, GOOD, norm)) for step, norm in enumerate(norms)]
    assert skips == [False, True, False, True, True, True]
    with pytest.raises(TrainingDivergedError, match="step 3"):
        guard.check(6, "whole")


def test_the_state_of_a_guard_is_all_it_needs():
    one = NonFiniteGuard(patience=5)
    for step, norm in enumerate([GOOD, BAD, BAD]):
        one.judge(step, torch.tensor(0.5 + step), norm)
    other = NonFiniteGuard(patience=5)
    other.state = dict(one.state)
    for guard in (one, other):
        for step in range(3, 6):
            guard.judge(step, GOOD, BAD)
    messages = []
    for guard in (one, other):
        with pytest.raises(TrainingDivergedError) as caught:
            guard.check(6, "whole")
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "0.5" in messages[0]


def test_patience_must_be_positive(refuses):
    with refuses(ValueError, "patience"):
        NonFiniteGuard(0)
