"""Layers, the coupled Gaussian and the encoder."""

import math

import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch_geometric.data import Data

from compvae_pyg import CompVAEEncoder, GraphBlock, Residual, SumControlledNormal
from compvae_pyg.distributions import (
    NormalNetwork,
    ResidualSumControlledNormal,
    floor_log_variance,
)
from compvae_pyg.nn import PackedParts, pack
from wrong_input.values import (
    BATCH,
    COUNT,
    ELSEWHERE,
    GENERATOR,
    INDEX,
    MISSING,
    NO_NUMBER,
    NO_PARTS,
    NO_TENSOR,
    NUMBERS,
    ROWS,
    SIZE,
    SIZE_OF_WHOLES,
    WEIGHT,
    Entry,
    Wrong,
    always,
    at_random,
    count,
    given,
    in_field,
    matrix,
    samples,
)


def entries(sizes: list[int]) -> dict[str, Entry]:
    """Entry points, for sets of these sizes."""
    number, total = len(sizes), sum(sizes)
    batch = torch.arange(number).repeat_interleave(torch.tensor(sizes))
    packed = {"batch": batch, "batch_size": number}
    sets = {"batch": BATCH, "batch_size": SIZE}
    weight = torch.rand(total)
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

    # Packed parts

    numbers = {"count": torch.ones(total), "weight": weight}
    made = {"fields": {"size": x, "kind": torch.arange(total)}, **packed}
    wrong_fields: dict[str, Wrong] = {
        **{k: v for k, v in NO_PARTS.items() if k not in ("other fields", "a tensor")},
        **in_field("kind", {**NO_TENSOR, **ELSEWHERE, **ROWS, "a scalar": lambda t: t.sum()}),
    }
    wrong_numbers = {
        "count": {k: given(numbers["count"], f) for k, f in COUNT.items()},
        "weight": {k: given(weight, f) for k, f in WEIGHT.items()},
    }
    fields = ("parts", "batch", "size", "kind")
    out["PackedParts"] = Entry(
        PackedParts, made, {"fields": wrong_fields, **sets, **wrong_numbers}, {"fields": fields}
    )
    parts = PackedParts(**made, **numbers)
    out["PackedParts.of"] = Entry(
        PackedParts.of,
        {"parts": made["fields"], **packed},
        {"parts": wrong_fields, **sets, **wrong_numbers},
        {"parts": fields},
    )
    out["PackedParts.of packed parts"] = Entry(
        PackedParts.of,
        {"parts": parts},
        {
            "batch": {"given twice": always(batch)},
            "batch_size": {"given twice": always(number)},
            "count": {"given twice": always(numbers["count"])},
            "weight": {"given twice": always(weight)},
        },
    )
    out["PackedParts.of a graph"] = Entry(
        PackedParts.of,
        {"parts": Data(size=x, num_nodes=total)},
        {
            "batch": {"given twice": always(batch)},
            "batch_size": {"given twice": always(1)},
            **wrong_numbers,
        },
    )
    out["without"] = Entry(parts.without, {"index": 0}, {"index": INDEX})
    out["PackedParts.select"] = Entry(parts.select, {"sets": 0}, {"sets": INDEX})
    other = PackedParts(made["fields"], **packed)
    out["cat"] = Entry(
        parts.cat,
        {"other": other},
        {
            "other": {
                "a set more": always(PackedParts(made["fields"], batch, number + 1)),
                "other fields": always(other.with_fields({"size": x})),
                "a tensor": always(other.with_fields(x)),
                "another type": always(other.with_fields({**made["fields"], "size": x.long()})),
                "another width": always(other.with_fields({**made["fields"], "size": x[:, 1:]})),
                "another device": always(other.to("meta")),
            }
        },
        {"other": fields},
    )
    out["split"] = Entry(
        lambda chunk_size: list(parts.split(chunk_size)),
        {"chunk_size": 2},
        {"chunk_size": count(1)},
    )
    out["pad"] = Entry(
        parts.pad,
        {"num_parts": total + 2},
        {
            "num_parts": count(total),
            "num_sets": {k: v for k, v in count(number + 1).items() if k != "None"},
        },
    )
    out["pack"] = Entry(
        pack,
        {"num_parts": torch.tensor(sizes)},
        {"num_parts": {**NUMBERS, **MISSING, "negative": at_random(-1)}},
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
    for name in ("transform", "inverse", "log_prob_from_eps"):
        argument = "value" if name == "inverse" else "eps"
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
            },
            "generator": GENERATOR,
        },
    )
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
        also={"prior": ("q",)},  # as kl_divergence calls it
    )

    of_prior = Normal(torch.zeros(total, 4), torch.ones(total, 4))
    residual = {"shift": x, "log_variance": x.cos(), "coupling_logits": x.sin()}
    out["ResidualSumControlledNormal"] = Entry(
        ResidualSumControlledNormal,
        {"prior": of_prior, **residual, **packed, "coupling": "scaled"},
        {
            "prior": {
                **MISSING,
                "text": always("abc"),
                "a tensor": always(x),
                "a row more": always(Normal(torch.zeros(total + 1, 4), torch.ones(()))),
                "a column less": always(Normal(torch.zeros(total, 3), torch.ones(()))),
                "another device": always(Normal(x.to("meta"), 1.0, validate_args=False)),
            },
            **{name: {**matrix(typed=False, values=True), **MISSING} for name in residual},
            **sets,
            "coupling": {**MISSING, "text": always("tight"), "a number": always(1)},
        },
        # What is not finite shows in what is made of it.
        also={"shift": ("batch", "prior", "log_variance", "loc"), "log_variance": ("scale",)},
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
            "w_head": {"text": always("abc"), "a number": always(3)},
            "posterior_init": {**MISSING, "text": always("narrow"), "a number": always(1)},
        },
    )
    out["CompVAEEncoder with a head"] = Entry(
        CompVAEEncoder,
        {**sizes_of, "w_head": nn.Identity()},
        {"posterior_init": {"of the default head": always("prior")}},
    )
    prior = Normal(torch.zeros(total, 3), torch.ones(total, 3))
    latents = {
        "z": torch.randn(number, 2),
        "z_eps": torch.randn(number, 2),
        "part_eps": torch.randn(total, 4),
    }
    out["CompVAEEncoder()"] = Entry(
        CompVAEEncoder(**sizes_of),
        {"whole": torch.randn(number, 5), "parts": x, **packed},
        {
            "whole": {**matrix(), **MISSING},
            "parts": {**matrix(), **MISSING},
            "batch": BATCH,
            "batch_size": SIZE_OF_WHOLES,
            "edge_index": {name: given(edges, f) for name, f in edge_index.items()},
            **{
                name: {label: given(value, f) for label, f in matrix(typed=False).items()}
                for name, value in latents.items()
            },
            "generator": GENERATOR,
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
