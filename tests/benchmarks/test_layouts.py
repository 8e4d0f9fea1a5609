"""That what the benchmarks compare is the same computation, and their floors what they say."""

import json

import pytest
import torch
from torch import nn

from benchmarks import report
from benchmarks.layouts import CONTENDERS, SIZES, Case
from benchmarks.measure import Products, peak_bytes, products_of_layers

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", [name for name in CONTENDERS if name != "packed"])
def test_contenders_agree_on_outputs_and_gradients(name):
    case = Case.draw(16, torch.tensor([3, 1, 7, 1, 4, 3]), CPU)
    expected = CONTENDERS["packed"](case).results()
    try:
        results = CONTENDERS[name](case).results()
    except NotImplementedError as error:
        # Nested tensors lacked operations at first.
        pytest.skip(f"torch {torch.__version__} has no {error}")
    for key, value in results.items():
        torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-4, msg=key)


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_those_of_the_distribution(name):
    sizes = SIZES[name](256)
    assert len(sizes) == 256 and int(sizes.min()) >= 1
    assert torch.equal(sizes, SIZES[name](256))


def test_peak_of_tensors_is_counted_to_the_byte():
    def run():
        a = torch.empty(2**20)
        b = torch.empty(2**19)
        del a
        return torch.empty(2**18) + b[: 2**18]

    # Together at a time: a and b; or b, the third and the sum.
    assert peak_bytes(run, CPU) == 4 * (2**20 + 2**19)


def test_products_are_counted_forward_and_back():
    layers = nn.Sequential(nn.Linear(8, 16), nn.ELU(), nn.Linear(16, 4))
    x = torch.randn(10, 8, requires_grad=True)
    with Products() as made:
        layers(x).sum().backward()
    each = 3 * 2 * 10 * (8 * 16 + 16 * 4)
    assert made.flops == each and len(made.calls) == 6
    with Products() as bare:
        products_of_layers({layers[0]: 10, layers[2]: 10}, CPU)()
    assert bare.flops == each


def test_results_become_ratios_round_by_round_and_a_table(tmp_path, monkeypatch):
    raw = {
        "origin": {
            "command": "python -m pytest",
            "commit": "abc",
            "changed": False,
            "machine": "M",
            "cores": 2,
            "threads": 2,
            "python": "3",
            "versions": {"torch": "2"},
        },
        "benchmarks": [
            {
                "fullname": "benchmarks/test_block.py::test_block[64]",
                "extra_info": {
                    "width": 64,
                    "seconds": {"block": [2.0, 4.0, 9.0], "products": [1.0, 1.0, 3.0]},
                },
            }
        ],
    }
    (row,) = report.compact(raw)["block"]["rows"]
    assert row["ratio"]["products"] == pytest.approx([0.2917, 1 / 3, 0.4167], abs=1e-3)
    assert row["seconds"]["block"] == [3.0, 4.0, 6.5] and row["rounds"] == 3
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- generation -->\nold\n<!-- end -->\nafter\n", encoding="utf-8")
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results")
    raw["benchmarks"][0] = {
        "fullname": "benchmarks/test_generation.py::test_from_parts[x]",
        "extra_info": {
            "problem": "dots",
            "networks": "small",
            "wholes": 10,
            "parts_each": 8,
            "seconds": {"from parts": [0.5, 0.5]},
        },
    }
    file = tmp_path / "raw.json"
    file.write_text(json.dumps(raw), encoding="utf-8")
    report.main((file,))
    text = page.read_text(encoding="utf-8")
    assert "| dots, small | 8 | 10 | 20.0 |  |" in text
    assert text.startswith("before\n<!-- generation -->") and text.endswith("<!-- end -->\nafter\n")
    assert "old" not in text and "`python -m pytest` at abc: M, 2 cores, 2 threads" in text
