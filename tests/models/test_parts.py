from types import MappingProxyType

import numpy as np
import pytest
import torch

from compvae_pyg.models import check_parts
from compvae_pyg.models.parts import check_index, map_parts


@pytest.mark.parametrize(
    "parts",
    [
        torch.zeros(3),
        torch.zeros(3, 2, 2),
        {"color": torch.zeros(3)},
        MappingProxyType({"color": torch.zeros(3), "pos": torch.zeros(3, 2)}),
    ],
)
def test_rows_and_device_of_every_form_of_parts(parts):
    assert check_parts(parts) == (3, torch.device("cpu"))


def test_device_is_that_of_the_parts():
    assert check_parts(torch.zeros(0, 2, device="meta")) == (0, torch.device("meta"))


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ([1, 2], TypeError, "parts must be a tensor or a dict of tensors, not empty (got list)"),
        ({}, TypeError, "parts must be a tensor or a dict of tensors, not empty (got dict)"),
        (None, TypeError, "parts must be a tensor or a dict of tensors, not empty (got NoneType)"),
        ({"color": [1, 2]}, TypeError, "color must be a tensor (got list)"),
        (torch.tensor(1), ValueError, "parts must have one row per part (got a scalar)"),
        (
            {"color": torch.zeros(3), "size": torch.tensor(1)},
            ValueError,
            "size must have one row per part (got a scalar)",
        ),
        (
            {"color": torch.zeros(3), "pos": torch.zeros(2, 2)},
            ValueError,
            "pos must have as many rows as color (got 2, expected 3)",
        ),
        (
            {"color": torch.zeros(3), "pos": torch.zeros(3, 2, device="meta")},
            ValueError,
            "pos must be on the device of color (got meta, expected cpu)",
        ),
    ],
)
def test_unfit_parts_are_refused(refuses, parts, error, message):
    with refuses(error, message):
        check_parts(parts)


def test_functions_apply_to_each_field():
    parts = {"color": torch.tensor([1, 2]), "pos": torch.zeros(2, 2)}
    doubled = map_parts(lambda value: torch.cat([value, value]), parts)
    assert doubled["color"].tolist() == [1, 2, 1, 2] and doubled["pos"].shape == (4, 2)
    joint = map_parts(lambda a, b: torch.cat([a, b]), torch.zeros(1), torch.ones(2))
    assert joint.tolist() == [0.0, 1.0, 1.0]


def test_a_choice_is_a_mask_or_numbers():
    cpu = torch.device("cpu")
    for choice in (2, [2], (2,), range(2, 3), torch.tensor(2), torch.tensor([2]).int()):
        assert check_index(choice, 3, cpu).tolist() == [2]
    assert check_index(0, 3, cpu).tolist() == [0]
    assert check_index([True, False, True], 3, cpu).tolist() == [0, 2]
    assert check_index(np.array([2, 0]), 3, cpu).tolist() == [2, 0]
    assert check_index(np.array([True, False, True]), 3, cpu).tolist() == [0, 2]
    assert check_index(torch.tensor([False, True, False]), 3, cpu).tolist() == [1]
    for nothing in ([], torch.zeros(3, dtype=torch.bool), torch.zeros(0, dtype=torch.long)):
        out = check_index(nothing, 3, cpu)
        assert out.shape == (0,) and out.dtype == torch.long
