"""Summarise trainings on the dots, or on the sines, over their seeds, as a Markdown table.

    python benchmarks/summarise.py docs/results/dots-small/seed*

Each folder holds an ``evaluation.json``. An entry is the mean over the seeds; where they differ
visibly, the smallest and the largest of them stand beside it.
"""

import json
import math
import sys
from pathlib import Path

COLUMNS = {
    "generated site accuracy": ("generated_accuracy", "{:.3f}"),
    "truth's": ("true_accuracy", "{:.3f}"),
    "ratio": ("accuracy_ratio", "{:.3f}"),
    "rec. rmse": ("reconstruction_rmse", "{:.3f}"),
    "rmse to truth": ("generated_rmse", "{:.3f}"),
    "two truths'": ("true_rmse", "{:.3f}"),
    "amplitude": ("generated_amplitude", "{:.2f}"),
    "truth's mean": ("true_amplitude", "{:.2f}"),
    "its sd": ("generated_amplitude_std", "{:.2f}"),
    "truth's sd": ("true_amplitude_std", "{:.2f}"),
    "leak": ("generated_leak", "{:.2f}"),
    "KL_w (bits)": ("kl_w", "{:.0f}"),
    "KL_z (bits)": ("kl_z", "{:.1f}"),
    "ELBO (nats)": ("elbo", "{:.0f}"),
}


def main(folders: list[str]) -> None:
    reports = [json.loads((Path(f) / "evaluation.json").read_text()) for f in folders]
    # What both problems have in common, and what this one has.
    columns = {t: (n, f) for t, (n, f) in COLUMNS.items() if n in reports[0]["rows"][0]}
    print(f"| K | {' | '.join(columns)} |")
    print("|--:|" + "--:|" * len(columns))
    for rows in zip(*(report["rows"] for report in reports), strict=True):
        cells = [str(rows[0]["num_parts"])]
        for title, (name, form) in columns.items():
            unit = math.log(2.0) if "bits" in title else 1.0
            values = [row[name]["mean"] / unit for row in rows]
            mean, low, high = (
                form.format(value)
                for value in (sum(values) / len(values), min(values), max(values))
            )
            cells.append(mean if low == high else f"{mean} ({low}–{high})")
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
