import numpy as np
import pytest

pytest.importorskip("matplotlib")

from compvae_pyg import plots


def metrics(steps=40, lowest=-2000.0):
    step = np.arange(1.0, steps + 1) * 50
    stage = np.where(step <= step[-1] / 2, "labels", "whole")
    kl_w = np.where(stage == "whole", 100.0, 0.0)
    kl_z = np.where(stage == "whole", np.linspace(2.0, -0.1, steps), 0.0)
    reconstruction = np.linspace(3000.0, lowest, steps)
    return {
        "step": step,
        "stage": stage,
        "kl_w_nats": kl_w,
        "kl_z_nats": kl_z,
        "reconstruction_nats": reconstruction,
        "elbo_nats": -(reconstruction + kl_w + kl_z),
    }


def lines_of(axes):
    return {str(line.get_label()): line for line in axes.lines}


def test_losses_are_drawn_in_nats_and_information_in_bits(drawn):
    figure = plots.plot_losses(metrics())
    drawn(figure)
    above, below = figure.axes
    assert (above.get_yscale(), below.get_yscale()) == ("linear", "log")
    (loss,) = (line for label, line in lines_of(above).items() if "ELBO" in label)
    (reconstruction,) = (line for label, line in lines_of(above).items() if "reconstr" in label)
    np.testing.assert_array_equal(reconstruction.get_ydata(), metrics()["reconstruction_nats"])
    np.testing.assert_array_equal(loss.get_ydata(), -metrics()["elbo_nats"])
    (kl_w,) = (line for label, line in lines_of(below).items() if "parts" in label)
    assert kl_w.get_ydata()[-1] == pytest.approx(100.0 / np.log(2.0))
    assert [text.get_text() for text in above.texts] == ["labels", "whole"]


def test_latents_that_cost_nothing_are_not_drawn():
    lines = lines_of(plots.plot_losses(metrics()).axes[1])
    (kl_z,) = (line.get_ydata() for label, line in lines.items() if "of the whole" in label)
    held = metrics()["kl_z_nats"] <= 0.0
    assert held.any()
    assert np.isnan(kl_z[held]).all()
    assert not np.isnan(kl_z[~held]).any()


def test_a_latent_of_next_to_no_cost_does_not_stretch_the_axis():
    numbers = metrics()
    numbers["kl_z_nats"] = np.full_like(numbers["step"], 1e-4)
    axes = plots.plot_losses(numbers).axes[1]
    assert any("below 0.01 nats" in label for label in lines_of(axes))
    assert axes.get_ylim()[0] > 10.0
    found = plots.plot_losses(metrics()).axes[1]
    assert found.get_ylim()[0] < 1.0
    assert not any("below" in label for label in lines_of(found))


@pytest.mark.parametrize("steps", [1, 2])
def test_the_shortest_of_trainings_can_be_drawn(drawn, steps):
    drawn(plots.plot_losses(metrics(steps)))


def test_metrics_without_what_is_drawn_are_refused(refuses):
    with refuses(ValueError, "metrics"):
        plots.plot_losses({name: values[:0] for name, values in metrics().items()})
    incomplete = metrics()
    del incomplete["stage"]
    with refuses(ValueError, "stage"):
        plots.plot_losses(incomplete)
