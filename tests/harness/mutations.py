"""Edits of the code, in the rooms that decide a result and outside of them, and what each must make run again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TRAINED = frozenset({"train", "identity"})
SCORED = frozenset({"evaluate", "scoring"})
NOTHING = frozenset[str]()


@dataclass(frozen=True)
class Mutation:
    """`old` becomes `new` in the file `path`; `moves` are the fingerprints and hashes that must be others then."""

    title: str
    path: str
    old: str
    new: str
    moves: frozenset[str]

    def plant(self, root: Path) -> None:
        """Edit the copy of the project in `root`. Raises AssertionError where the code is no longer what it was."""
        path = root / self.path
        text = path.read_text("utf-8")
        assert text.count(self.old) == 1, f"{self.path}: {self.old!r} stands there {text.count(self.old)} times"
        path.write_text(text.replace(self.old, self.new), "utf-8")


IN_THE_ROOM = (
    Mutation(
        "train on 32 of the images only",
        "pipeline/network/fit.py",
        "images.images if whole else images.images[kept],\n            images.labels if whole",
        "images.images[:32],\n            images.labels[:32] if True",
        TRAINED,
    ),
    Mutation(
        "one epoch less",
        "pipeline/network/fit.py",
        "self.epochs = training.epochs",
        "self.epochs = training.epochs - 1",
        TRAINED,
    ),
    Mutation(
        "another seed for the order",
        "pipeline/network/fit.py",
        'default_rng(derive_seed(seed, "order", epoch))',
        'default_rng(derive_seed(seed + 1, "order", epoch))',
        TRAINED,
    ),
    Mutation("flips less often", "pipeline/network/fit.py", "seed) < 0.5", "seed) < 0.4", TRAINED),
    Mutation(
        "weight decay on biases too",
        "pipeline/network/fit.py",
        '["bias", "gamma", "beta"]',
        '["gamma", "beta"]',
        TRAINED,
    ),
    Mutation(
        "the split takes other images",
        "pipeline/data/prepared.py",
        "held_out[order[:share]] = True",
        "held_out[order[-share:]] = True",
        TRAINED | SCORED,
    ),
    Mutation(
        "32 of the prepared images are read",
        "pipeline/data/prepared.py",
        "Images(images, labels, _digest(summary, names))",
        "Images(images[:32], labels[:32], _digest(summary, names))",
        TRAINED | SCORED,
    ),
    Mutation(
        "the decoding",
        "pipeline/data/idx.py",
        "import struct\n",
        "import struct\n\nOTHER = 1\n",
        TRAINED | {"preprocess"},
    ),
    Mutation(
        "the filters grow otherwise",
        "pipeline/config/layers.py",
        "model.filter_growth ** (number - 1)",
        "model.filter_growth ** number",
        TRAINED,
    ),
    Mutation(
        "dropout in every block",
        "pipeline/config/layers.py",
        'changes: dict[str, Any] = {"conv": _conv(block.conv)}',
        'changes: dict[str, Any] = {"conv": _conv(block.conv), "dropout": 0.5}',
        TRAINED,
    ),
    Mutation(
        "dropout before pooling",
        "pipeline/config/layers.py",
        '    if block.pooling != "none":\n',
        '    yield Layer(f"{name}_early", "activation", shape, block=block)\n    if block.pooling != "none":\n',
        TRAINED,
    ),
    Mutation(
        "halve the accuracy that is computed",
        "pipeline/run/metrics.py",
        "accuracy=float(",
        "accuracy=0.5 * float(",
        SCORED,
    ),
    Mutation(
        "halve the accuracy that is written",
        "pipeline/run/evaluate_run.py",
        "asdict(scores)",
        'asdict(scores) | {"accuracy": 0.5 * scores.accuracy}',
        SCORED,
    ),
    Mutation(
        "score 100 of the test images only",
        "pipeline/data/scoring.py",
        'ScoringSet("test", images, ',
        'ScoringSet("test", Images(images.images[:100], images.labels[:100]), ',
        SCORED,
    ),
    Mutation(
        "score 100 of the images held out only",
        "pipeline/data/scoring.py",
        "Images(images.images[indices], images.labels[indices])",
        "Images(images.images[indices[:100]], images.labels[indices[:100]])",
        SCORED,
    ),
    Mutation(
        "score a network without its weights",
        "pipeline/run/weights.py",
        "variable.assign(arrays[variable.path])",
        "variable.assign(0 * arrays[variable.path])",
        SCORED,
    ),
    Mutation(
        "another colour in a picture",
        "pipeline/figures/style.py",
        "import io\n",
        "import io\n\nOTHER = 1\n",
        frozenset({"preprocess", "evaluate"}),
    ),
    Mutation(
        "prepared otherwise",
        "pipeline/preprocess.py",
        "EXAMPLES = ",
        "OTHER = 1\nEXAMPLES = ",
        frozenset({"preprocess"}),
    ),
)
"""What decides a result: it runs again."""

OUTSIDE = (
    Mutation(
        "an error's words, of prepared images",
        "pipeline/data/summary.py",
        "what is prepared is",
        "prepared is",
        NOTHING,
    ),
    Mutation(
        "an error's words, in the configuration",
        "pipeline/config/messages.py",
        "LONGEST_VALUE = 80",
        "LONGEST_VALUE = 81",
        NOTHING,
    ),
    Mutation(
        "an error's words, in the room",
        "pipeline/network/fit.py",
        "Start another process for it.",
        "Start one more process for it.",
        NOTHING,
    ),
    Mutation("a docstring in the room", "pipeline/network/fit.py", '"""A run\'s network', '"""The network', NOTHING),
    Mutation("what resumes", "pipeline/run/train_run.py", "going on after epoch", "resumed after epoch", NOTHING),
    Mutation(
        "what tells",
        "pipeline/studies/console.py",
        "from pipeline.terminal.progress import console\n",
        "from pipeline.terminal.progress import console\n\nOTHER = 1\n",
        NOTHING,
    ),
    Mutation("what mirrors", "pipeline/tracking/mirror.py", "MOST_METRICS = ", "OTHER = 1\nMOST_METRICS = ", NOTHING),
    Mutation(
        "what reports", "pipeline/findings/write.py", "def write_report(", "OTHER = 1\n\n\ndef write_report(", NOTHING
    ),
    Mutation("a verb", "pipeline/train.py", '    command.arguments(__doc__, "train").parse_args()\n', "", NOTHING),
)
"""What can't change a weight or a score: nothing runs again but `check`."""


@contextmanager
def planted(root: Path, mutation: Mutation) -> Iterator[None]:
    """The copy of the project in `root` with the mutation, for the time of the block."""
    kept = (root / mutation.path).read_bytes()
    mutation.plant(root)
    try:
        yield
    finally:
        (root / mutation.path).write_bytes(kept)
