"""Write a page to play with: what a convolution is, each argument of Conv2D, and one trained network from inside.

python -m pipeline.playground                         the run of `dvc repro`
python -m pipeline.playground 5d0a09365891db9c        a run of a sweep, by its identity, or a record's folder

One HTML file that opens offline, from disk, and asks nobody for anything: send it to whom you like.
"""

from pathlib import Path

from pipeline.explainer.page import HALF, content_of, encoded, page, weights_in
from pipeline.run.record import find_record
from pipeline.storage import atomic, project
from pipeline.terminal import command

FOLDER = project.REPORTS / "playground"

LARGEST = 1_000_000
"""Bytes of a page that is passed on easily."""


def main() -> int:
    parser = command.arguments(__doc__, "playground")
    parser.add_argument("run", nargs="?", help="a run's identity or a record's folder; without it that of `dvc repro`")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: reports/playground/<identity>.html")
    arguments = parser.parse_args()
    record = find_record(arguments.run)
    content = content_of(record)
    text = page(content)
    if len(text.encode()) > LARGEST:
        print("note: the network is large: its weights are kept as float16, and probabilities are right to about 0.001")
        text = page(content | {"weights": encoded(weights_in(content), HALF)})
    if (size := len(text.encode())) > LARGEST:
        print(f"note: {record.training.run.parameters:,} parameters make a page of {size / 1e6:.1f} MB")
    target = arguments.output or FOLDER / f"{record.training.run.identity}.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_file(target, text)
    print(f"{target}: {size / 1e3:.0f} kB; open it in a browser")
    return 0


if __name__ == "__main__":
    command.run(main)
