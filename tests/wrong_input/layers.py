"""Layers, the coupled Gaussian and the encoder."""

import math

import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from compvae_pyg import CompVAEEncoder, GraphBlock, NormalNetwork, Residual, SumControlledNormal
from compvae_pyg.nn import floor_log_variance, resolve_batch
from wrong_input.values import (
    BATCH,
    ELSEWHERE,
    MISSING,
    NO_NUMBER,
    NO_TENSOR,
    SIZE,
    SIZE_OF_WHOLES,
    WEIGHT,
    Entry,
    Wrong,
    always,
    at_random,
    count,
    given,
    matrix,
    samples,
)


def entries(sizes: list[int]) -> dict[str, Entry]:
    """Entry points, for sets of these sizes."""
    number, total = len(sizes), sum(sizes)
    batch = torch.arange(number).repeat_interleave(torch.tensor(sizes))
    packed = {"batch": batch, "batch_size": number}
    sets = {"batch": BATCH, "batch_size": SIZE}
    out: dict[str, Entry] = {}

    # Layers

    out["GraphBlock"] = Entry(
        GraphBlock,
        {"in_channels": 4, "out_channels": 3, "aggr": "sum"},
        {
            "in_channels": count(1),
            "out_channels": count(1),
            "aggr": {"text": always("nonsense"), "a number": always(3)},
        },
    )
    out["Residual"] = Entry(Residual, {"channels": 4}, {"channels": count(1)})
    x = torch.randn(total, 4)
    out["Residual()"] = Entry(
        Residual(4), {"x": x}, {"x": {**matrix(rows=False), "three dimensions": lambda t: t[:, :3]}}
    )
    del out["Residual()"].wrong["x"]["a vector"]
    out["GraphBlock()"] = Entry(
        GraphBlock(4, 3),
        {"x": x, **packed},
        {"x": {**matrix(), **MISSING}, **sets},
        also={"x": ("batch", "part")},
    )
    edges = torch.stack([torch.arange(total), torch.arange(total).flip(0)])
    edge_index: dict[str, Wrong] = {
        **NO_TENSOR,
        **ELSEWHERE,
        "a vector": lambda e: e[0],
        "transposed": lambda e: torch.cat([e, e], dim=1).T,
        "real numbers": lambda e: e.float(),
        "a part too many": at_random(total),
        "a negative part": at_random(-1),
    }
    out["GraphBlock() on edges"] = Entry(
        GraphBlock(4, 3), {"x": x, "edge_index": edges}, {"edge_index": edge_index}
    )
    out["resolve_batch"] = Entry(
        resolve_batch, {"num_parts": total, "device": torch.device("cpu"), **packed}, sets
    )
    out["floor_log_variance"] = Entry(
        floor_log_variance,
        {"log_variance": x, "min_scale": 0.1},
        {
            "log_variance": {**MISSING, "text": always("a"), "integers": lambda t: t.long()},
            "min_scale": {**NO_NUMBER, **MISSING, "zero": always(0.0), "negative": always(-1.0)},
        },
    )
    out["NormalNetwork"] = Entry(
        NormalNetwork,
        {"net": nn.Linear(3, 4), "min_scale": 0.1, "event_dims": 1},
        {
            "net": {**MISSING, "text": always("abc")},
            "min_scale": {**NO_NUMBER, **MISSING, "zero": always(0.0), "negative": always(-1.0)},
            "mean_channels": count(1) | {"None": always("none")},
            "event_dims": count(0),
        },
    )

    # The coupled Gaussian

    law = {"loc": x, "scale": x.exp(), "coupling_logits": x.sin(), **packed, "coupling": "scaled"}
    out["SumControlledNormal"] = Entry(
        SumControlledNormal,
        law,
        {
            "loc": {**matrix(typed=False), **MISSING, "NaN": at_random(math.nan)},
            "scale": {
                **matrix(values=True, typed=False),
                **MISSING,
                "zero": at_random(0.0),
                "negative": at_random(-1.0),
            },
            "coupling_logits": {**matrix(typed=False, values=True), **MISSING},
            **sets,
            "coupling": {**MISSING, "text": always("tight"), "a number": always(1)},
        },
        also={"loc": ("scale", "batch")},
    )
    q = SumControlledNormal(**law)
    out["log_prob"] = Entry(
        q.log_prob, {"value": x}, {"value": samples(matrix(values=True, typed=False))}
    )
    for name in ("transform", "inverse", "log_prob_from_noise"):
        argument = "value" if name == "inverse" else "noise"
        out[name] = Entry(getattr(q, name), {argument: x}, {argument: samples(matrix(typed=False))})
    out["rsample"] = Entry(
        q.rsample,
        {"sample_shape": (2,)},
        {
            "sample_shape": {
                "negative": always((-1,)),
                "text": always("abc"),
                "a fraction": always((2.5,)),
                "a number": always(1.5),
            }
        },
    )
    weight = torch.rand(total)
    out["weighted_sum"] = Entry(
        q.weighted_sum, {"weight": weight}, {"weight": {**WEIGHT, **MISSING}}
    )
    out["kl_divergence"] = Entry(
        lambda prior: kl_divergence(q, prior),
        {"prior": Normal(torch.zeros(total, 4), torch.ones(()))},
        {
            "prior": {
                "a row more": always(Normal(torch.zeros(total + 1, 4), torch.ones(()))),
                "a column less": always(Normal(torch.zeros(total, 3), torch.ones(()))),
                "another device": always(Normal(x.to("meta"), 1.0, validate_args=False)),
            }
        },
    )

    # The encoder

    sizes_of = {
        "whole_channels": 5,
        "part_channels": 4,
        "hidden_channels": 6,
        "w_channels": 3,
        "z_channels": 2,
        "num_blocks": 1,
    }
    out["CompVAEEncoder"] = Entry(
        CompVAEEncoder,
        {**sizes_of, "coupling": "paper"},
        {
            **{name: count(1) for name in sizes_of},
            "coupling": {**MISSING, "text": always("tight"), "a number": always(1)},
            "aggr": {"text": always("nonsense"), "a number": always(3)},
            "z_head": {"text": always("abc"), "a number": always(3)},
        },
    )
    prior = Normal(torch.zeros(total, 3), torch.ones(total, 3))
    out["CompVAEEncoder()"] = Entry(
        CompVAEEncoder(**sizes_of),
        {"whole": torch.randn(number, 5), "parts": x, **packed},
        {
            "whole": {**matrix(), **MISSING},
            "parts": {**matrix(), **MISSING},
            "batch": BATCH,
            "batch_size": SIZE_OF_WHOLES,
            "edge_index": {name: given(edges, f) for name, f in edge_index.items()},
            "z": {name: given(torch.randn(number, 2), f) for name, f in matrix().items()},
            "w_prior": {
                "text": always("abc"),
                "a tensor": always(prior.mean),
                "a row more": always(Normal(torch.zeros(total + 1, 3), 1.0)),
                "a column less": always(Normal(torch.zeros(total, 2), 1.0)),
            },
        },
        also={"parts": ("batch",), "batch_size": ("whole", "batch")},
    )

    return out
