"""The demo of the households: what its tab shows of a street, by its homes and the weather."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from compvae_pyg.demo.alternative_text import alternative_text
from compvae_pyg.models import CompVAE
from compvae_pyg.problems.households.problem import Households

__all__ = ["KINDS", "add_tab", "day_like", "draw_days", "peak_table", "summary", "time_table"]

KINDS = [(residents, pump) for pump in (0, 1) for residents in range(1, 6)]
STREET = (65, 60, 40, 30, 25, 20, 20, 15, 15, 10)  # homes of each kind at first
FIRST = -4.0  # °C
LIGHT_STEP = 5.0  # W/m²
LARGEST_COUNT = 500
NUM_DRAWN = 1000
NEARLY = (2.0, 25.0)  # °C and W/m²: days that differ by less are alike
COLORS = {"95 %": "#56B4E9", "median": "#0072B2", "5 %": "#56B4E9", "one day": "#E69F00"}
PLOTS = {
    "street-day": "Load over the day, median and 5 to 95 % of draws, of",
    "street-peak": "How likely the day's peak is above a load, of",
}


def day_like(conditions: Tensor, temperature: float, daylight: float | None = None) -> Tensor:
    r"""Return the mean conditions of days that are nearly as warm and, if it is given, as light.

    Days count the less the less they are like it, by a Gaussian kernel.

    Args:
        conditions: Those of the days, the first mean temperature, the second mean irradiance,
            ``[D, F]``.
        temperature: In °C.
        daylight: In W/m².

    Example:
        >>> days = torch.tensor([[-5.0, 30.0, 1.0, 0.0], [20.0, 250.0, 90.0, 0.0]])
        >>> day_like(days, -4.0)
        tensor([-5., 30.,  1.,  0.])
    """
    distance = ((conditions[:, 0] - temperature) / NEARLY[0]).square()
    if daylight is not None:
        distance = distance + ((conditions[:, 1] - daylight) / NEARLY[1]).square()
    return torch.softmax(-0.5 * distance, 0) @ conditions


@torch.no_grad()
def draw_days(
    model: CompVAE,
    counts: Sequence[int],
    context: Tensor | None,
    seed: int,
    number: int = NUM_DRAWN,
) -> Tensor:
    """Draw days of a street in kW, ``[number, T]``; without homes they are zero.

    Args:
        model: The model.
        counts: How many homes there are of each of the ``KINDS``.
        context: Conditions of the day, ``[F]``, if the model is given them.
        seed: Seed of all noise.
        number: Number of draws.

    Example:
        >>> model = Households(day="hidden").build("small")
        >>> draw_days(model, 10 * [3], None, seed=0, number=5).shape
        torch.Size([5, 48])
    """
    if sum(counts) == 0:
        return torch.zeros(number, *model.event_shape)
    residents, pump = torch.tensor(KINDS).unbind(dim=1)
    return model.generate_counts(
        torch.tensor(counts).expand(number, -1),
        {"residents": residents, "heat_pump": pump},
        context=None if context is None else context.expand(number, -1),
        observation_noise=True,
        generator=torch.Generator().manual_seed(seed),
    )


def time_table(load: Tensor, step_hours: float) -> dict[str, list[Any]]:
    """Return the columns of a table of draws' 5, 50 and 95 % at each step, and of the first draw.

    Example:
        >>> table = time_table(torch.rand(100, 48), 0.5)
        >>> len(table["hour"]), table["hour"][:2], table["curve"][0]
        (192, [0.25, 0.75], '95 %')
    """
    levels = torch.quantile(load, torch.tensor([0.95, 0.5, 0.05]), dim=0)
    curves = {"95 %": levels[0], "median": levels[1], "5 %": levels[2], "one day": load[0]}
    hours = [step_hours * (step + 0.5) for step in range(load.shape[1])]
    return {
        "hour": len(curves) * hours,
        "kW": torch.cat([*curves.values()]).tolist(),
        "curve": [name for name in curves for _ in hours],
    }


def peak_table(load: Tensor) -> dict[str, list[float]]:
    """Return the columns of a table of levels, and of shares of the days whose peak is higher.

    Without a load, no peak is above zero.

    Example:
        >>> table = peak_table(torch.arange(1000.0).view(-1, 1))
        >>> table["peak, kW"][50], table["share of days above"][50]
        (499.5, 0.5)
    """
    peak = load.amax(dim=1)
    if not bool(peak.any()):
        return {"peak, kW": [0.0, 1.0], "share of days above": [0.0, 0.0]}
    below = torch.linspace(0.0, 1.0, 101)
    level = torch.quantile(peak, below)
    return {"peak, kW": level.tolist(), "share of days above": (1.0 - below).tolist()}


def summary(counts: Sequence[int], load: Tensor) -> str:
    """Return what the homes of a street are and what their peak is, in a sentence.

    Example:
        >>> summary([0] * 10, torch.zeros(5, 48))
        'no homes: no load'
    """
    homes = sum(counts)
    if homes == 0:
        return "no homes: no load"
    pumps = sum(n for n, (_, pump) in zip(counts, KINDS, strict=True) if pump)
    peak = load.amax(dim=1)
    middle, high = torch.quantile(peak, torch.tensor([0.5, 0.95])).tolist()
    return (
        f"{homes} home{'s' * (homes > 1)}, {pumps} with a heat pump: a peak of {middle:.4g} kW in "
        f"the median, {middle / homes:.3g} kW a home, and above {high:.4g} kW on one day in 20"
    )


def add_tab(gr: Any, app: Any, model: CompVAE, problem: Households) -> None:
    """Add homes by their counts and the weather, in Gradio, ``gr``, to the page ``app``."""
    import pandas

    conditions = problem.pool.conditions if problem.day == "given" else None
    seed = gr.State(0)
    sliders, weather = [], []
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            said = gr.Markdown(elem_id="street-said")
            day = gr.LinePlot(
                x="hour", y="kW", color="curve", title="the street's day", height=340,
                x_lim=[0, 24], y_lim=[0, None], y_axis_format=".4~r",
                color_map=COLORS, elem_id="street-day",
            )  # fmt: skip
            peak = gr.LinePlot(
                x="peak, kW", y="share of days above", title="the day's peak", height=260,
                y_lim=[0, 1], x_label_angle=-45, elem_id="street-peak",
            )  # fmt: skip
            again = gr.Button("Draw again", elem_id="draw-street")
            gr.Markdown(
                f"Of {NUM_DRAWN} draws of the model for one and the same weather. With the "
                "temperature the daylight moves to what days of that temperature have. Single "
                "homes are the model's weak point: their highest peaks are rough."
            )
        with gr.Column(scale=1, min_width=320):
            if conditions is not None:
                light = float(day_like(conditions, FIRST)[1])
                for k, (name, label, at, step) in enumerate(
                    (
                        ("temperature", "mean temperature, °C", FIRST, 0.5),
                        ("daylight", "mean daylight, W/m²", light, LIGHT_STEP),
                    )
                ):
                    # Not beyond the days of training: the sliders stay where the model knows.
                    low = math.ceil(float(conditions[:, k].min()) / step) * step
                    high = math.floor(float(conditions[:, k].max()) / step) * step
                    at = round(at / step) * step
                    weather.append(
                        gr.Slider(low, high, value=at, step=step, label=label, elem_id=name)
                    )
                weather.append(gr.Checkbox(False, label="weekend", elem_id="weekend"))
            for (residents, pump), value in zip(KINDS, STREET, strict=True):
                label = f"homes of {residents} resident{'s' * (residents > 1)}"
                sliders.append(
                    gr.Slider(
                        0,
                        LARGEST_COUNT,
                        value=value,
                        step=1,
                        label=label + ", with a heat pump" * pump,
                        elem_id=f"homes-{residents}{'-pump' * pump}",
                    )
                )
    street = gr.Textbox(visible="hidden", elem_id="street")

    def show(seed: int, *given: Any) -> tuple[Any, ...]:
        counts, context, remark = [int(n) for n in given[: len(KINDS)]], None, ""
        if conditions is not None:
            temperature, daylight, weekend = given[len(KINDS) :]
            evening = float(day_like(conditions, temperature, daylight)[2])
            context = torch.tensor([temperature, daylight, evening, float(weekend)])
            far = (conditions[:, :2] - context[:2]).abs() / torch.tensor(NEARLY)
            if not bool((far < 1.5).all(dim=1).any()):
                remark = " No day of training was like this: what is shown is a guess."
        load = draw_days(model, counts, context, seed)
        text = summary(counts, load)
        if sum(counts) == 0:
            remark = ""
        return (
            f"**{text[0].upper()}{text[1:]}.**{remark}",
            # Limits that change with what is shown can leave the page with what was shown before.
            pandas.DataFrame(time_table(load, problem.pool.step_hours)),
            pandas.DataFrame(peak_table(load)),
            text,
        )

    def warm(seed: int, *given: Any) -> tuple[Any, ...]:
        assert conditions is not None
        light = float(day_like(conditions, given[len(KINDS)])[1])
        light = round(light / LIGHT_STEP) * LIGHT_STEP
        return (light, *show(seed, *given[: len(KINDS) + 1], light, given[-1]))

    inputs, outputs = [seed, *sliders, *weather], [said, day, peak, street]
    last: dict[str, Any] = {"show_progress": "hidden", "trigger_mode": "always_last"}
    app.load(show, inputs, outputs)
    app.load(None, js=alternative_text("street", PLOTS))
    if weather:
        temperature, daylight, weekend = weather
        temperature.input(warm, inputs, [daylight, *outputs], **last)
        for each in (daylight, weekend):
            each.input(show, inputs, outputs, **last)
    for slider in sliders:
        slider.input(show, inputs, outputs, **last)
    again.click(lambda seed: seed + 1, seed, seed).then(show, inputs, outputs)
