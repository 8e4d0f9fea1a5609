import pytest


@pytest.fixture(scope="module")
def report(load_script):
    return load_script("benchmarks/report.py")


def measured(seconds):
    """What pytest-benchmark leaves of wholes by counts, timed in turn."""
    info = {"problem": "sines", "networks": "small", "wholes": 64, "seconds": seconds}
    benchmark = {"fullname": "benchmarks/test_generation.py::test_counts", "extra_info": info}
    return {"origin": {}, "benchmarks": [benchmark]}


@pytest.mark.parametrize(("factor", "met"), [(1.08, "yes"), (1.12, "no")])
def test_counts_are_compared_round_by_round(report, factor, met):
    # The machine slows down in the middle: rounds differ, the ratios within them do not.
    one = [1e-3, 1e-3, 5e-3, 1e-3, 9e-3]
    many = [factor * time for time in one]
    results = report.compact(measured({"1": one, "1,000": one, "1,000,000": many}))
    text = report.generation(results["generation"]["rows"])
    assert f"| {factor:.2f} |" in text.split("| 1,000,000 |")[1]
    target = f"| counts of 1,000,000 over counts of 1: ≤ 1.10 | {factor:.2f} | {met} |"
    assert target in report.targets(results, {})


def test_a_target_that_was_not_measured_is_not_shown(report):
    assert "counts" not in report.targets({}, {})


def test_what_one_thread_measured_stands_beside_the_rest(report):
    slow, fast = (
        report.compact(measured({"1": [1e-3], "1,000,000": [factor * 1e-3]}))
        for factor in (1.3, 1.05)
    )
    fast["generation"]["origin"] = {"command": "pytest --threads 1", "commit": "abc"}
    text = report.targets(slow, fast)
    assert "≤ 1.10 | 1.30 | no | 1.05 | yes |" in text
    assert "`pytest --threads 1` at abc" in text


def test_compiled_networks_have_columns_of_their_own(report):
    """Packed sets stand against the quicker of the padded ones; the lower bound is the same."""
    times = {
        "batching": (
            {"width": 128, "sets": 256, "sizes": "uniform", "parts": 10, "real_share": 0.5},
            {"packed": 1.0, "padded": 1.8, "packed, compiled": 0.8, "padded, compiled": 1.7},
        ),
        "block": (
            {"test": "encoder", "width": 128},
            {"encoder": 1.5, "products": 1.0, "made": 0.9, "compiled": 1.2},
        ),
        "step": (
            {"problem": "sines", "networks": "small"},
            {"step": 1.6, "floor": 1.0, "data": 0.08, "compiled": 1.4},
        ),
    }
    names = {"batching": "batching", "block": "encoder", "step": "step"}
    results = {}
    for suite, (info, seconds) in times.items():
        benchmark = {
            "fullname": f"benchmarks/test_{suite}.py::test_{names[suite]}",
            "extra_info": {**info, "seconds": {name: [t] for name, t in seconds.items()}},
        }
        results |= report.compact({"origin": {}, "benchmarks": [benchmark]})
    text = report.targets(results, {})
    assert "| target | measured | met | compiled | met |" in text
    # 1.8 × 0.5; the quicker of 1.8 and 1.7, over 0.8, × 0.5.
    assert ", 256 sets at width 128: ≥ 0.95 | 0.90 | no | 1.06 | yes |" in text
    assert "width 128: ≤ 1.4 | 1.50 | no | 1.20 | yes |" in text
    assert "step of the small sines over its lower bound: ≤ 1.5 | 1.60 | no | 1.40 | yes |" in text
    assert "data of the small sines, of the step: ≤ 5 % | 5.0% | yes | 5.7% | no |" in text
    assert "compiled" not in report.targets(measured_only(results), {})


def measured_only(results):
    """The same results without what was compiled."""
    return {
        suite: {
            **result,
            "rows": [
                {
                    **row,
                    "seconds": {n: s for n, s in row["seconds"].items() if "compiled" not in n},
                }
                for row in result["rows"]
            ],
        }
        for suite, result in results.items()
    }
