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


def test_losses_lie_where_the_logarithmic_axis_says(drawn):
    figure = plots.plot_losses(metrics())
    drawn(figure)
    axes, bits = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert axes.get_yscale() == bits.get_yscale() == "log"
    total = next(line for label, line in lines.items() if "ELBO" in label)
    reconstruction = next(line for label, line in lines.items() if "reconstruction" in label)
    # -2,000 is the lowest value: raised by a round constant that both labels give.
    assert "+ 2,200 nats" in total.get_label() and "+ 2,200 nats" in reconstruction.get_label()
    np.testing.assert_allclose(
        reconstruction.get_ydata(), metrics()["reconstruction_nats"] + 2200.0
    )
    np.testing.assert_allclose(total.get_ydata(), 2200.0 - metrics()["elbo_nats"])
    np.testing.assert_allclose(np.array(axes.get_ylim()) / np.log(2.0), bits.get_ylim())
    assert [text.get_text() for text in axes.texts] == ["labels", "whole"]


def test_positive_losses_are_not_shifted():
    labels = [line.get_label() for line in plots.plot_losses(metrics(lowest=50.0)).axes[0].lines]
    assert not any("+" in str(label) for label in labels)


def test_latents_that_cost_nothing_are_not_drawn():
    lines = plots.plot_losses(metrics()).axes[0].lines
    kl_z = next(line for line in lines if "$z$" in str(line.get_label())).get_ydata()
    held = metrics()["kl_z_nats"] <= 0.0
    assert held.any()
    assert np.isnan(kl_z[held]).all()
    assert not np.isnan(kl_z[~held]).any()


def test_a_latent_of_next_to_no_cost_does_not_stretch_the_axis():
    numbers = metrics(lowest=50.0)
    numbers["kl_z_nats"] = np.full_like(numbers["step"], 1e-4)
    axes = plots.plot_losses(numbers).axes[0]
    assert "$z$: latent of the whole, below 0.01 nats" in [line.get_label() for line in axes.lines]
    assert axes.get_ylim()[0] > 10.0
    found = plots.plot_losses(metrics(lowest=50.0)).axes[0]
    assert found.get_ylim()[0] < 1.0
    assert not any("below" in str(line.get_label()) for line in found.lines)


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
