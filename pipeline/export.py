"""Write a trained network as files that are used without this project, each with a program of a few lines that does so.

python -m pipeline.export --keras --onnx --litert          the network of `dvc repro`, into exports/<identity>/
python -m pipeline.export --onnx --run 5d0a09…             a run of a sweep
python -m pipeline.export --litert --to phone/

Images are uint8 [n, height, width] (with channels last where there are several), what comes out are probabilities. Each
file is asked about 100 test images before it is kept: its probabilities must be those of the network. --onnx and
--litert need packages more: `.tools/bin/uv pip install --python .venv --require-hashes -r requirements/export.txt`
"""

import argparse
import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.data.prepared import load_test
from pipeline.run.record import find_record
from pipeline.storage import atomic, project
from pipeline.terminal import command
from pipeline.terminal.errors import UserError

if TYPE_CHECKING:
    import keras

CHECKED = 100
TOLERANCE = 1e-5
"""Between probabilities; of a network in bfloat16, which the other formats compute in float32, LOOSE."""
LOOSE = 0.05

Images = NDArray[np.uint8]
Answers = NDArray[np.float32]


@dataclass(frozen=True)
class Form:
    """A kind of file: its name, the packages that writing and checking it need, what asks it, the program."""

    name: str
    packages: tuple[str, ...]
    ask: Callable[[Path, Images], Answers]
    program: str


def main() -> int:
    arguments = _parser().parse_args()
    kinds = [kind for kind in FORMS if getattr(arguments, kind)]
    if not kinds:
        raise UserError(f"name what to write: {', '.join(f'--{kind}' for kind in FORMS)}")
    for form in map(FORMS.__getitem__, kinds):
        if missing := [name for name in form.packages if importlib.util.find_spec(name) is None]:
            raise UserError(
                f"{form.name}: needs {', '.join(missing)}. `.tools/bin/uv pip install --python .venv --require-hashes "
                "-r requirements/export.txt` installs what exports need."
            )
    training = find_record(arguments.run).training
    folder = Path(arguments.to) if arguments.to else project.ROOT / "exports" / training.run.identity
    images = load_test(project.PREPARED).images[:CHECKED]
    if images.shape[1:] != tuple(training.run.specification.image_shape):
        raise UserError(f"{project.PREPARED}: what is prepared are no images of this network. `dvc repro preprocess`")
    from pipeline.run.weights import export_network  # noqa: PLC0415 - TensorFlow takes seconds to load

    model = export_network(training)
    images = images.reshape(len(images), *model.input_shape[1:])
    expected = np.asarray(model.predict_on_batch(images))
    tolerance = LOOSE if "bfloat16" in training.run.specification.training.precision else TOLERANCE
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "images.npy", images, allow_pickle=False)
    for kind in kinds:
        _write(kind, model, folder, images, expected, tolerance)
    return 0


def _write(kind: str, model: "keras.Model", folder: Path, images: Images, expected: Answers, tolerance: float) -> None:
    """Put one file in place, with its program, once it answers as the network does. Raises UserError where not."""
    form = FORMS[kind]
    folder /= form.name.partition(".")[2]
    with atomic.write_folder(folder) as partial, warnings.catch_warnings():
        # Of what the converters import.
        warnings.simplefilter("ignore", FutureWarning)
        path = partial / form.name
        if kind == "keras":
            model.save(path)
        else:
            model.export(path, format=kind, verbose=False)
        (partial / "use.py").write_text(form.program, "utf-8")
        difference = float(np.abs(form.ask(path, images) - expected).max())
        if not difference <= tolerance:
            raise UserError(
                f"{form.name}: its probabilities differ by {difference:.2g} from the network's on {len(images)} "
                f"images, more than {tolerance:g}; it was not kept."
            )
    print(
        f"{folder / form.name}: probabilities of {len(images)} test images within {difference:.1g} of the network's; "
        "use.py shows how to use it"
    )


def _ask_keras(path: Path, images: Images) -> Answers:
    from pipeline.network.build import keras  # type: ignore[attr-defined]  # noqa: PLC0415 - without its lines

    return np.asarray(keras.saving.load_model(path, compile=False, safe_mode=True).predict_on_batch(images))


def _ask_onnx(path: Path, images: Images) -> Answers:
    import onnxruntime  # type: ignore[import-not-found]  # noqa: PLC0415 - an extra

    session = onnxruntime.InferenceSession(path)
    return np.asarray(session.run(None, {session.get_inputs()[0].name: images})[0])


def _ask_litert(path: Path, images: Images) -> Answers:
    from ai_edge_litert.interpreter import Interpreter  # type: ignore[import-not-found]  # noqa: PLC0415

    interpreter = Interpreter(str(path))
    given = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(given, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given, images)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


HEAD = '''"""The classes of the images in ../images.npy, as numbers. Needs {packages}."""
import numpy as np
'''

FORMS = {
    "keras": Form(
        "model.keras",
        (),
        _ask_keras,
        HEAD.format(packages="numpy and keras, with tensorflow")
        + """import keras

images = np.load("../images.npy")
model = keras.saving.load_model("model.keras", compile=False)
print(model.predict(images, verbose=0).argmax(axis=1).tolist())
""",
    ),
    "onnx": Form(
        "model.onnx",
        ("tf2onnx", "onnx", "onnxruntime"),
        _ask_onnx,
        HEAD.format(packages="numpy and onnxruntime")
        + """import onnxruntime

images = np.load("../images.npy")
session = onnxruntime.InferenceSession("model.onnx")
probabilities = session.run(None, {session.get_inputs()[0].name: images})[0]
print(probabilities.argmax(axis=1).tolist())
""",
    ),
    "litert": Form(
        "model.tflite",
        ("ai_edge_litert",),
        _ask_litert,
        HEAD.format(packages="numpy and ai-edge-litert")
        + """from ai_edge_litert.interpreter import Interpreter

images = np.load("../images.npy")
interpreter = Interpreter("model.tflite")
given, answer = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
interpreter.resize_tensor_input(given, images.shape)
interpreter.allocate_tensors()
interpreter.set_tensor(given, images)
interpreter.invoke()
print(interpreter.get_tensor(answer).argmax(axis=1).tolist())
""",
    ),
}


def _parser() -> argparse.ArgumentParser:
    parser = command.arguments(__doc__, "export")
    for name, form in FORMS.items():
        parser.add_argument(f"--{name}", action="store_true", help=form.name)
    parser.add_argument("--run", metavar="ID", help="a run of a sweep, by its identity; else that of `dvc repro`")
    parser.add_argument("--to", metavar="FOLDER", help="default: exports/<identity>")
    return parser


if __name__ == "__main__":
    command.run(main)
