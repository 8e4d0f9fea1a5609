"""Train CompVAE on a problem of your own: images of several handwritten digits.

A part is a digit's class and its position; which of scikit-learn's scanned digits it is, is not
given to the model. A whole is the canvas, on which the darkest ink at each pixel counts. A
classifier trained on single real digits then reads the canvases that the model draws, at the given
positions: its accuracy stands beside that on true canvases, made of digits unseen in training.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import tyro
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC
from torch_geometric.utils import scatter

from compvae_pyg import PackedParts, Problem, plots
from compvae_pyg.command_line import RunOptions, is_first_process, one_line_errors
from compvae_pyg.evaluation import (
    Estimate,
    format_table,
    mean_square,
    measure_wholes,
    write_evaluation,
)
from compvae_pyg.networks import Categorical, build_images, cut_patches, place_patches
from compvae_pyg.nn import pack
from compvae_pyg.problems import packed_batch
from compvae_pyg.training import Schedule, train

# --- The problem, its networks and its training schedule ------------------------------------------

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


def networks():
    # A template has a margin around the digit.
    fields = {"category": Categorical(10)}
    return build_images(fields=fields, size=CANVAS, extent=1.5 * EXTENT)


def schedule(num_steps):
    shares = (0.3, 0.5, 0.2)
    return Schedule.staged(num_steps, 64, max_parts=4, initial_rate=2e-3, shares=shares, beta_w=2.0)


# --- The measure ----------------------------------------------------------------------------------


def evaluate(model, digits, classifier, **options):
    def read(images, data):
        """Return the share of the digits of each canvas that the classifier reads correctly."""
        cut = cut_patches(images, data.pos, data.batch, DIGIT, EXTENT).flatten(1)
        right = torch.as_tensor(classifier.predict(cut.numpy())) == data.category
        sets = PackedParts.of(data)
        return sets.sum(right.float()) / sets.sizes()

    def rmse(images, others):
        return partial(Estimate.root_mean, mean_square(images - others))

    def measure(data, source):
        packed, parts = (data.batch, data.num_graphs), digits.parts(data)
        redrawn = digits.render(digits.ink(data.category, source), data.pos, *packed)
        generated, other = (model.generate(parts, *packed) for _ in range(2))
        true, own = (read(images, data) for images in (data.whole, generated))
        return {
            "accuracy (ground truth)": true,
            "generated": own,
            "ratio": partial(Estimate.ratio, own, true),
            "reconstructed": read(model.reconstruct(data.whole, parts, *packed), data),
            "rmse between two (ground truth)": rmse(redrawn, data.whole),
            "between two generated": rmse(generated, other),
        }

    return measure_wholes(model, digits, measure, num_weighted=16, num_samples=16, **options)


# --- The figure -----------------------------------------------------------------------------------


@torch.no_grad()
def compose(model, digits, seed):
    """Edit an observed canvas part by part, and draw new ones."""
    source = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)

    def parts(*digits_at):
        category, x, y = zip(*digits_at, strict=True)
        return {"category": torch.tensor(category), "pos": torch.tensor([x, y]).T}

    def operation(title, composition, ink):
        truth = digits.render(ink, composition.parts["pos"], composition.batch, 1)
        return plots.Operation(title, truth[0], composition.decode().mean[0])

    three = parts((2, -0.5, -0.5), (5, 0.1, 0.0), (8, 0.5, 0.55))
    seven, six = parts((7, 0.55, -0.5)), parts((6, 0.1, 0.0))
    two, five, eight, of_seven, of_six = digits.ink(torch.tensor([2, 5, 8, 7, 6]), source).split(1)
    ink = torch.cat([two, five, eight])
    seen = model.infer(digits.render(ink, three["pos"], torch.zeros(3, dtype=torch.long), 1), three)
    operations = [
        operation("2, 5, 8 observed", seen, ink),
        operation("2 removed", seen.remove(0), ink[1:]),
        operation("7 added", seen.add(seven), torch.cat([ink, of_seven])),
        operation("6 for 5", seen.replace(1, six), torch.cat([two, of_six, eight])),
    ]
    complete = model.compose(digits.parts(digits.sample(torch.tensor([6]), source)))
    growing = [complete.remove(list(range(k, 6))).decode().mean for k in range(1, 7)]
    series = {
        "2, 5, 8 drawn": torch.cat([model.generate(three) for _ in range(6)]),
        "one by one": torch.cat(growing),
    }
    return plots.plot_operations(operations, series)


# --- The program ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
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
    print(f"The classifier reads {score:.3f} of the held-out single digits.")

    torch.manual_seed(options.seed)
    model = networks()
    steps = 10_800 if options.steps is None else options.steps
    train(digits, model, schedule(steps), options)
    if not is_first_process():
        return
    model.save_pretrained(options.output)

    rows = evaluate(
        model,
        others,
        classifier,
        num_parts=options.num_parts or (1, 2, 3, 4, 6, 8),
        num_wholes=options.num_wholes,
        seed=options.seed,
    )
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
    with one_line_errors():
        main(tyro.cli(Options, description=__doc__))
