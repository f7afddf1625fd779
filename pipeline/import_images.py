"""Bring in a dataset of one's own: files, digests and conf/data/NAME.yaml, a picture to look at, a smoke training.

python -m pipeline.import_images flowers ~/pictures/flowers       a folder with a folder of pictures for each class
python -m pipeline.import_images flowers ~/flowers --size 32x40   … of many sizes: each is cut and scaled
python -m pipeline.import_images digits ~/mnist.npz               arrays x_train, y_train (and x_test, y_test)
python -m pipeline.import_images letters ~/emnist                 IDX files, gzipped or not

Folders train/ and test/ are taken as such; else a share of each class becomes the test images. What is written lies
in data/imported/NAME. `python -m pipeline.compose data=NAME` then chooses it.
"""

import argparse
import re
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from pipeline.config.compose import Choice, outcome
from pipeline.config.messages import ConfigurationError, validated
from pipeline.config.schema import Configuration, Data, RawFiles
from pipeline.data.image_import import Imported, Size, import_images
from pipeline.data.prepared import Images
from pipeline.data.scoring import held_out
from pipeline.storage import atomic, digest, project
from pipeline.terminal import command
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import console

HEAD = "# Written by `python -m pipeline.import_images"
FILES = "train-images", "train-labels", "t10k-images", "t10k-labels"
SMOKE_IMAGES = 2000
SMOKE_MODELS = "article", "small"


def main() -> int:
    arguments = _parser().parse_args()
    name, source = arguments.name, Path(arguments.source).expanduser()
    place = project.CONF / "data" / f"{name}.yaml"
    if place.exists() and not arguments.replace:
        raise UserError(f"{place}: is there already. Choose another name, or --replace what an earlier import wrote.")
    folder = project.IMPORTED / name
    # Where it was made on another machine there is no folder: git ignores it.
    if place.exists() and not folder.exists() and not place.read_text("utf-8").startswith(HEAD):
        raise UserError(f"{place}: was not written by an import and stays as it is. Choose another name.")
    if not 0 < arguments.test_share < 1:
        raise UserError(f"--test-share: must be between 0 and 1, not {arguments.test_share:g}. Use 0.2")
    wanted = {key: getattr(arguments, key) for key in ("size", "grey", "test_share", "class_names")}
    imported = import_images(source, **wanted)
    contents = dict(zip(RawFiles.model_fields, map(as_idx, (*imported.training, *imported.test)), strict=True))
    declared = _declare(name, imported, contents, arguments.held_out)
    with atomic.write_folder(folder) as partial:
        from pipeline.figures.examples import draw_examples  # noqa: PLC0415 - matplotlib, once there is what to draw

        for part, content in contents.items():
            (partial / getattr(declared.files, part).name).write_bytes(content)
        (partial / "examples.png").write_bytes(draw_examples(*imported.training, declared.class_names))
    atomic.write_file(place, _as_yaml(declared, arguments))
    _tell(declared, imported, folder)
    model = None if arguments.no_training else _fitting(name)
    if model is not None:
        _try(name, model, imported)
    chosen = f" model={model}" if model in SMOKE_MODELS[1:] else ""
    console.print(f"python -m pipeline.compose data={name}{chosen} && dvc repro", soft_wrap=True)
    return 0


def _declare(name: str, imported: Imported, contents: Mapping[str, bytes], held_out: float) -> Data:
    """conf/data/NAME.yaml as a value. Raises ConfigurationError for a name or classes that can't be."""
    values = {
        "name": name,
        "image_shape": list(imported.training[0].shape[1:]),
        "class_names": list(imported.class_names),
        "files": {
            part: {
                "name": f"{file}-idx{content[3]}-ubyte",
                "bytes": len(content),
                "sha256": digest.of_bytes(content),
            }
            for file, (part, content) in zip(FILES, contents.items(), strict=True)
        },
        "sources": [{"kind": "folder", "path": f"{project.IMPORTED.relative_to(project.ROOT)}/{name}"}],
        "validation_images": 0,
        "held_out": round(held_out * len(imported.training[1])) if held_out < 1 else int(held_out),
        "split_seed": 0,
    }
    return validated(Data, values, prefix="data")


def as_idx(array: NDArray[np.uint8]) -> bytes:
    """Labels [n] or images [n, h, w, c] as the bytes of an IDX file of unsigned bytes; one channel is no dimension."""
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    return struct.pack(f">2xBB{array.ndim}I", 0x08, array.ndim, *array.shape) + array.tobytes()


def _as_yaml(declared: Data, arguments: argparse.Namespace) -> str:
    size = "" if arguments.size is None else f" --size {arguments.size[0]}x{arguments.size[1]}"
    options = size + {None: "", True: " --grey", False: " --colour"}[arguments.grey]
    head = f"{HEAD} {arguments.name} …{options}`.\n"
    return head + yaml.safe_dump(declared.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def _tell(declared: Data, imported: Imported, folder: Path) -> None:
    height, width, channels = declared.image_shape
    console.print(
        f"{len(imported.training[1]):,} training and {len(imported.test[1]):,} test images of {height} × {width} × "
        f"{channels} in {len(declared.class_names)} classes; a sweep holds out {declared.held_out:,} to select on"
    )
    for note in imported.notes:
        console.print(f"note: {note}")
    console.print(f"look at them: {folder.relative_to(project.ROOT) / 'examples.png'}")


def _smoke(name: str, model: str) -> Configuration:
    return outcome(Choice({"data": name, "model": model, "training": "smoke"}, {})).configuration


def _fitting(name: str) -> str | None:
    """The first network that fits the images; says why those before it do not."""
    for model in SMOKE_MODELS:
        try:
            _smoke(name, model)
        except ConfigurationError as error:
            console.print(f"warning: the network model={model} does not fit these images: {error}")
        else:
            return model
    console.print("no network of conf/model was tried; `python -m pipeline.compose` shows what does not fit")
    return None


def _try(name: str, model: str, imported: Imported) -> None:
    """Train for an epoch on some of the images and say what came of it."""
    from pipeline.network.fit import Fit  # noqa: PLC0415 - TensorFlow takes seconds to load
    from pipeline.run.identity import identity  # noqa: PLC0415

    training, test = map(_some, (imported.training, imported.test))
    fit = Fit(identity(_smoke(name, model), training.digest).ingredients, training)
    for _ in fit.remaining([], lambda _steps: None):
        pass
    accuracy = np.mean(fit.predictor(test.images).argmax(axis=1) == test.labels)
    chance = np.bincount(test.labels).max() / len(test.labels)
    console.print(
        f"one epoch of model={model} on {len(training.labels):,} images: {accuracy:.1%} of some test images right "
        f"(the largest class: {chance:.1%})"
    )


def _some(labelled: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> Images:
    whole = Images(*labelled)
    return whole if len(whole.labels) <= SMOKE_IMAGES else held_out(whole, SMOKE_IMAGES, 0)


def _parser() -> argparse.ArgumentParser:
    parser = command.arguments(__doc__, "import_images")
    parser.add_argument("name", metavar="NAME", type=_name, help="what the dataset is called: data=NAME")
    parser.add_argument("source", metavar="SOURCE", help="a folder of pictures or IDX files, or a .npz file")
    parser.add_argument("--size", type=_size, metavar="HxW", help="cut and scale every picture to it, as in 32x40")
    colour = parser.add_mutually_exclusive_group()
    colour.add_argument("--grey", action="store_true", default=None, help="one channel, whatever the pictures have")
    colour.add_argument("--colour", dest="grey", action="store_false", default=None, help="three channels")
    parser.add_argument("--test-share", type=float, default=0.2, metavar="X", help="of a source without test images")
    parser.add_argument(
        "--held-out", type=_amount, default=1 / 6, metavar="N", help="images, or a share, that a sweep selects on"
    )
    parser.add_argument(
        "--class-names", type=lambda text: text.split(","), metavar="A,B,…", help="in the order of the source"
    )
    parser.add_argument("--no-training", action="store_true", help="without the smoke training")
    parser.add_argument("--replace", action="store_true", help="in place of an earlier import of this name")
    return parser


def _name(text: str) -> str:
    if re.fullmatch(r"[a-z][a-z0-9_]{0,40}", text) is None:
        raise argparse.ArgumentTypeError("must be small letters, digits and _, a letter first")
    return text


def _size(text: str) -> Size:
    sizes = re.fullmatch(r"([1-9][0-9]{0,3})[x×]([1-9][0-9]{0,3})", text)
    if sizes is None:
        raise argparse.ArgumentTypeError("must be height x width in pixels, as in 32x40")
    return int(sizes[1]), int(sizes[2])


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = 0
    if not (0 < amount < 1 or (amount >= 1 and amount.is_integer())):
        raise argparse.ArgumentTypeError("must be a number of images, or a share as in 0.2")
    return amount


if __name__ == "__main__":
    command.run(main)
