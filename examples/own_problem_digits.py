"""Train CompVAE on a problem of your own: images of several handwritten digits.

A part is a digit's class and its position; which of scikit-learn's scanned digits it is, nobody
tells the model. A whole is the canvas, on which the darkest ink at each pixel counts. A classifier
that has only seen single real digits then reads the canvases that the model draws, at the places
that were asked for: its accuracy stands beside that on true canvases, made of digits unseen in
training.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC
from torch_geometric.utils import scatter

from compvae_pyg import Problem, plots
from compvae_pyg.evaluation import ElboRow, Estimate, format_table, write_evaluation
from compvae_pyg.evaluation.elbo import mean_square, measure_wholes
from compvae_pyg.nn import set_sum
from compvae_pyg.problems import (
    Curriculum,
    LearningRate,
    Schedule,
    Stage,
    build_placed,
    cut_patches,
    pack,
    packed_batch,
    place_patches,
)
from compvae_pyg.training import train
from compvae_pyg.training.command_line import RunOptions, is_first_process, one_line_errors

# --- The problem ----------------------------------------------------------------------------------

CANVAS, DIGIT = (24, 24), (8, 8)
EXTENT = DIGIT[0] / CANVAS[0]


class Digits(Problem):
    name = "digits"
    part_fields = ("category", "pos")
    intrinsic_fields = ("ink",)
    event_shape = (1, *CANVAS)

    def __init__(self, images, classes):
        # Sorted by class, so that the digits of a class follow one another.
        self.images = images[classes.argsort(stable=True)]
        self.count = classes.bincount(minlength=10)

    def sample(self, num_parts, generator=None):
        batch, _ = pack(num_parts)
        category = torch.randint(10, batch.shape, generator=generator)
        pos = (2.0 * torch.rand(len(batch), 2, generator=generator) - 1.0) * (1.0 - EXTENT)
        ink = self.ink(category, generator)
        whole = self.render(ink, pos, batch, len(num_parts))
        return packed_batch({"category": category, "pos": pos, "ink": ink}, whole, num_parts)

    def ink(self, category, generator=None):
        """Draw a scanned digit of each class, [N, 1, 8, 8]."""
        share = torch.rand(len(category), generator=generator)
        first = self.count.cumsum(0) - self.count
        return self.images[first[category] + (share * self.count[category]).long()]

    def render(self, ink, pos, batch, batch_size):
        return scatter(place_patches(ink, pos, CANVAS, EXTENT), batch, 0, batch_size, reduce="max")


def schedule(num_steps=None):
    steps = 3600 if num_steps is None else num_steps
    return Schedule(
        num_steps=steps,
        batch_size=64,
        stages=(
            Stage("labels", 0.3, inferred="none", loss="squared_error"),
            Stage("parts", 0.5, inferred="parts", beta_w=(2.0, 1.0)),
            Stage("whole", 0.2, beta_z=(10.0, 1.0)),
        ),
        curriculum=Curriculum(first=4, last=4, every=0),
        learning_rate=LearningRate.for_run(steps, initial=2e-3),
        betas=(0.9, 0.98),
    )


def networks():
    # A template has a margin around the digit.
    return build_placed(num_categories=10, image_shape=Digits.event_shape, extent=1.5 * EXTENT)


# --- The measure ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    bound: ElboRow
    true_accuracy: Estimate
    generated_accuracy: Estimate
    accuracy_ratio: Estimate
    reconstructed_accuracy: Estimate
    two_truths_rmse: Estimate
    two_generated_rmse: Estimate

    def cells(self):
        bound = self.bound.cells()
        return {
            "K": bound["K"],
            "truth's accuracy": f"{self.true_accuracy.mean:.3f}",
            "generated": f"{self.generated_accuracy.mean:.3f}",
            "ratio": f"{self.accuracy_ratio.mean:.3f} ± {self.accuracy_ratio.standard_error:.3f}",
            "reconstructed": f"{self.reconstructed_accuracy.mean:.3f}",
            "rec. rmse": bound["rec. rmse"],
            "two truths'": f"{self.two_truths_rmse.mean:.3f}",
            "two generated's": f"{self.two_generated_rmse.mean:.3f}",
            **{name: bound[name] for name in ("KL_w (bits)", "KL_z (bits)", "ELBO")},
        }


def evaluate(model, digits, classifier, num_parts, num_wholes, seed):
    def read(images, data):
        """Return the share of the digits of each canvas that the classifier reads as asked."""
        cut = cut_patches(images, data.pos, data.batch, DIGIT, EXTENT).flatten(1)
        right = torch.as_tensor(classifier.predict(cut.numpy())) == data.category
        return set_sum(right.float(), data.batch, data.num_graphs) / data.ptr.diff()

    def measure(data, source):
        placed = data.pos, data.batch, data.num_graphs
        other_truth = digits.render(digits.ink(data.category, source), *placed)
        parts = digits.parts(data)
        generated, other = (model.generate(parts, data.batch, data.num_graphs) for _ in range(2))
        reconstructed = model.reconstruct(data.whole, parts, data.batch, data.num_graphs)
        return {
            "true": read(data.whole, data),
            "generated": read(generated, data),
            "reconstructed": read(reconstructed, data),
            "two_truths": mean_square(data.whole - other_truth),
            "two_generated": mean_square(generated - other),
        }

    measured = measure_wholes(
        model,
        digits,
        measure,
        num_parts=num_parts,
        num_wholes=num_wholes,
        num_weighted=16,
        num_samples=16,
        seed=seed,
        batch_size=250,
    )
    return [
        Row(
            bound,
            true_accuracy=Estimate.of(values["true"]),
            generated_accuracy=Estimate.of(values["generated"]),
            accuracy_ratio=Estimate.ratio(values["generated"], values["true"]),
            reconstructed_accuracy=Estimate.of(values["reconstructed"]),
            two_truths_rmse=Estimate.root_mean(values["two_truths"]),
            two_generated_rmse=Estimate.root_mean(values["two_generated"]),
        )
        for bound, values in measured
    ]


# --- The figure -----------------------------------------------------------------------------------


@torch.no_grad()
def compose(model, digits, seed):
    """Take an observed canvas apart, put it together otherwise, and draw new ones."""
    source = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    parts = {
        "category": torch.tensor([2, 5, 8]),
        "pos": torch.tensor([[-0.5, -0.5], [0.1, 0.0], [0.5, 0.55]]),
    }
    ink = digits.ink(parts["category"], source)
    seven, six = torch.tensor([7]), torch.tensor([6])
    other = {"category": seven, "pos": torch.tensor([[0.55, -0.5]])}
    changed = {"category": six, "pos": parts["pos"][1:2]}

    def operation(title, composition, ink):
        pos, batch = composition.parts["pos"], composition.batch
        truth = digits.render(ink, pos, batch, 1)
        return plots.Operation(title, paper(truth)[0], paper(composition.decode().mean)[0])

    seen = model.infer(digits.render(ink, parts["pos"], torch.zeros(3, dtype=torch.long), 1), parts)
    of_seven, of_six = digits.ink(seven, source), digits.ink(six, source)
    operations = [
        operation("2, 5, 8 observed", seen, ink),
        operation("2 removed", seen.remove(0), ink[1:]),
        operation("7 added", seen.add(other), torch.cat([ink, of_seven])),
        operation("6 for 5", seen.replace(1, changed), torch.cat([ink[:1], of_six, ink[2:]])),
    ]
    again = torch.cat([model.generate(parts) for _ in range(6)])
    data = digits.sample(torch.tensor([6]), source)
    complete = model.compose(digits.parts(data))
    growing = [complete.remove(list(range(k, 6))) for k in range(1, 7)]
    return plots.plot_operations(
        operations,
        {
            "2, 5, 8 drawn": paper(again),
            "one by one": paper(torch.cat([one.decode().mean for one in growing])),
        },
    )


def paper(images):
    """Return images of black ink on white paper, in RGB."""
    return 1.0 - images.clamp(0.0, 1.0).expand(-1, 3, -1, -1)


# --- The program ----------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Options(RunOptions):
    output: Path = Path("outputs/digits")
    """Folder for the model, its metrics, its evaluation and its figures."""


def main(options):
    scans = load_digits()
    images = torch.tensor(scans.images, dtype=torch.float32).unsqueeze(1) / 16.0
    classes = torch.tensor(scans.target)
    seen, unseen = train_test_split(
        range(len(classes)), test_size=1 / 3, stratify=classes, random_state=0
    )
    digits, others = (Digits(images[part], classes[part]) for part in (seen, unseen))
    classifier = SVC(gamma=0.001 * 16.0**2).fit(images[seen].flatten(1), classes[seen])
    score = classifier.score(images[unseen].flatten(1), classes[unseen])
    print(f"The classifier reads {score:.3f} of the single digits that it has not seen.")

    with one_line_errors():
        torch.manual_seed(options.seed)
        model = networks()
        train(digits, model, schedule(options.steps), **options.train_arguments())
    if not is_first_process():
        return
    model.save_pretrained(options.output)

    num_parts = options.num_parts or (1, 2, 3, 4, 6, 8)
    rows = evaluate(model, others, classifier, num_parts, options.num_wholes, options.seed)
    write_evaluation(options.output / "evaluation.json", rows, seed=options.seed)
    print(format_table(rows))
    losses = plots.plot_losses(plots.read_metrics(options.output / "metrics.csv"))
    losses.savefig(options.output / "losses.png")
    compose(model, others, options.seed).savefig(options.output / "compositions.png")
    print(
        f"\nIn {options.output}: the model (config.json, model.safetensors), metrics.csv, "
        "evaluation.json, losses.png, and compositions.png"
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
