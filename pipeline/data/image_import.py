"""Pictures of one's own, from folders, NumPy or IDX files: brought to one size, as arrays with numbered classes."""

import gzip
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pipeline.data.idx import decode_idx
from pipeline.data.prepared import split
from pipeline.terminal.errors import UserError
from pipeline.terminal.progress import bar

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
TRAINING = "train", "training"
TEST = "test", "testing", "val", "valid", "validation"
"""Folders and arrays by the names that others give them, in this order; an IDX file of test images is `t10k` too."""

MOST_CLASSES = 256
MOST_PIXELS = 1 << 26
"""Of one picture: what is larger may be a bomb (a few bytes that become gigabytes)."""

SPLIT_SEED = 0

ORIENTATION = 0x0112
"""EXIF's tag."""

Result = TypeVar("Result")

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class Wishes:
    """What a person asks for beside the source; None: as the source is.

    `grey` or colour, `size` of all pictures, `test_share` (0..1) of them as test images where the source has none,
    `class_names` in the order of the source's own classes, sorted.
    """

    size: Size | None = None
    grey: bool | None = None
    test_share: float = 0.2
    class_names: Sequence[str] | None = None


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images uint8 [n, h, w, c] and the names of their classes [n]."""

    images: NDArray[np.uint8]
    classes: Sequence[str]


@dataclass(frozen=True, eq=False)
class Imported:
    """Images uint8 [n, h, w, c] and labels uint8 [n] for training and for testing; `notes` say what was done."""

    training: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    test: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


def import_images(source: Path, wishes: Wishes) -> Imported:
    """The images of a folder of class folders, of a `.npz` file, or of a folder with IDX files.

    Training and test images are told apart as the source does (train/ and test/, x_train and x_test); where it has one
    set, a stratified share of it becomes the test images. Raises UserError for what can't be read, naming it.
    """
    notes: list[str] = []
    if source.suffix == ".npz":
        training, test = _from_arrays(source)
    elif source.is_dir():
        idx = _idx_files(source)
        training, test = _from_idx(idx) if idx else _from_folders(source, wishes, notes)
    else:
        raise UserError(f"{source}: must be a folder of pictures, a folder of IDX files, or a .npz file. Name one.")
    training = _shaped(training, wishes, source)
    if test is not None:
        test = _shaped(test, wishes, source)
    else:
        training, test = _split(training, wishes.test_share, source)
        notes.append(f"{len(test.images):,} of the pictures are test images: every class's share, drawn with seed 0")
    return _numbered(training, test, wishes, source, notes)


# Folders of pictures


def _from_folders(source: Path, wishes: Wishes, notes: list[str]) -> tuple[LabelledImages, LabelledImages | None]:
    folders = {path.name.lower(): path for path in sorted(source.iterdir()) if path.is_dir()}
    own = [folders[name] for name in TRAINING if name in folders]
    others = [folders[name] for name in TEST if name in folders]
    if not own:
        parts = [_listed([source])]
    elif not others:
        parts = [_listed(own)]
    else:
        parts = [_listed([*own, *others[1:]]), _listed(others[:1])]
        notes.extend(f"{path.name}/ was taken for training images, too" for path in others[1:])
        notes.append(f"the test images are those of {others[0].name}/")
    for part in parts:
        if len(set(part.values())) < 2:
            raise UserError(
                f"{source}: must hold a folder of pictures for each class, at least two "
                f"({', '.join(sorted(PICTURES))}), found {len(set(part.values()))}. Sort the pictures into them."
            )
    size = wishes.size or _common_size(source, [path for part in parts for path in part])
    with bar("pictures") as progress:
        task = progress.add_task("reading", total=sum(map(len, parts)))
        read = [
            LabelledImages(_stacked(part, size, lambda: progress.advance(task)), list(part.values())) for part in parts
        ]
    return read[0], read[1] if len(read) > 1 else None


def _listed(roots: Iterable[Path]) -> dict[Path, str]:
    """The pictures below the class folders of `roots`, each with its class, sorted."""
    return {
        path: folder.name
        for root in roots
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in PICTURES and path.is_file() and not path.name.startswith(".")
    }


def _common_size(source: Path, paths: Sequence[Path]) -> Size:
    """The size that all pictures have. Raises UserError where they differ, with the sizes that there are."""
    sizes = Counter(read_picture(path, _upright_size) for path in paths)
    if len(sizes) > 1:
        there = ", ".join(f"{count:,} of {height} × {width}" for (height, width), count in sizes.most_common(3))
        (height, width), _ = sizes.most_common(1)[0]
        raise UserError(
            f"{source}: pictures must be of one size, found {len(sizes)} ({there}{' …' if len(sizes) > 3 else ''}). "
            f"Say to which height and width each is cut and scaled: --size {height}x{width}"
        )
    return next(iter(sizes))


def _upright_size(picture: Image.Image) -> Size:
    """Height and width as it is held, by its EXIF: a quarter of a turn exchanges them."""
    is_turned = picture.getexif().get(ORIENTATION, 1) >= 5
    return (picture.width, picture.height) if is_turned else (picture.height, picture.width)


def _stacked(paths: Iterable[Path], size: Size, advance: Callable[[], object]) -> NDArray[np.uint8]:
    """uint8 [n, height, width, 3]; a grey picture has three equal channels."""
    images = []
    for path in paths:
        images.append(read_picture(path, lambda picture: np.asarray(to_rgb(picture, size))))
        advance()
    return np.stack(images)


def to_rgb(picture: Image.Image, size: Size) -> Image.Image:
    """Upright, on white where it is transparent, cut in the middle to the shape of `size` and scaled to it."""
    picture, (height, width) = to_upright_rgb(picture), size
    return picture if picture.size == (width, height) else ImageOps.fit(picture, (width, height))


def to_upright_rgb(picture: Image.Image) -> Image.Image:
    """As its EXIF says it is held, with 8 bits for each of three colours, on white where it is transparent."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I;16", "I;16B", "I;16L", "I"):
        picture = Image.fromarray((np.asarray(picture) // 257).clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert("RGB")


def read_picture(path: Path, use: Callable[[Image.Image], Result]) -> Result:
    """What `use` makes of a picture. Raises UserError for one that can't be read."""
    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore")
            if picture.width * picture.height > MOST_PIXELS:
                raise UserError(f"{path}: {picture.width:,} × {picture.height:,} pixels are too many. Make it smaller.")
            return use(picture)
    except (OSError, ValueError, SyntaxError, EOFError, zlib.error, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: is no picture that can be read ({error}). Replace it or take it away.") from None


# Arrays


def _from_arrays(source: Path) -> tuple[LabelledImages, LabelledImages | None]:
    try:
        with np.load(source, allow_pickle=False) as file:
            arrays = {name.lower(): file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise UserError(f"{source}: is no file of NumPy arrays that can be read ({error}).") from None
    training = _pair(
        arrays, source, ("x_train", "train_images", "images", "x"), ("y_train", "train_labels", "labels", "y")
    )
    test = _pair(arrays, source, ("x_test", "test_images"), ("y_test", "test_labels"))
    if training is None:
        raise UserError(
            f"{source}: must hold images and labels, named x_train and y_train (with x_test and y_test, or alone), "
            f"or images and labels; it holds {', '.join(arrays) or 'nothing'}."
        )
    return training, test


def _pair(
    arrays: Mapping[str, NDArray[Any]], source: Path, images: Sequence[str], labels: Sequence[str]
) -> LabelledImages | None:
    present = [next((name for name in names if name in arrays), None) for names in (images, labels)]
    if present[0] is None or present[1] is None:
        return None
    return LabelledImages(
        _as_bytes(arrays[present[0]], f"{source}, {present[0]}"), _named(arrays[present[1]], f"{source}, {present[1]}")
    )


def _as_bytes(images: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """uint8 [n, h, w, c] of images [n, h, w], [n, h, w, c] or [n, c, h, w]: 0 to 255, or numbers from 0 to 1."""
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or not {1, 3} & {images.shape[1], images.shape[3]}:
        raise UserError(f"{name}: must be images [n, height, width] with 1 or 3 channels, found {images.shape}.")
    if images.shape[3] not in (1, 3):
        images = np.moveaxis(images, 1, 3)
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    if images.dtype.kind not in "iuf" or not np.isfinite(images).all() or images.min() < 0 or images.max() > 255:
        raise UserError(f"{name}: pixels must be 0 to 255, or 0.0 to 1.0; they are not. Scale them first.")
    scale = 255 if images.dtype.kind == "f" and images.max() <= 1 else 1
    scaled: NDArray[np.uint8] = np.rint(images * scale).astype(np.uint8)
    return scaled


def _named(labels: NDArray[Any], name: str) -> list[str]:
    """The class of each label [n], [n, 1], or one-hot [n, classes], as a text."""
    if labels.ndim == 2:
        labels = labels[:, 0] if labels.shape[1] == 1 else labels.argmax(axis=1)
    if labels.ndim != 1 or labels.dtype.kind not in "iuUS":
        raise UserError(f"{name}: must be one number or text for each image, found {labels.dtype} {labels.shape}.")
    return [label.decode(errors="replace") if isinstance(label, bytes) else str(label) for label in labels.tolist()]


# IDX files


def _idx_files(source: Path) -> dict[str, Path]:
    """`train images`, `train labels`, `test images`, `test labels` → the file; {} where these four are not there."""
    parts = {"train": TRAINING, "test": ("t10k", *TEST)}
    paths = [path for path in sorted(source.iterdir()) if path.is_file() and "idx" in path.name]
    files = {
        f"{part} {kind}": path
        for part, names in parts.items()
        for kind in ("images", "labels")
        for path in paths
        if kind in path.name and any(f"{name}-{kind}" in path.name for name in names)
    }
    return files if len(files) == 4 else {}


def _from_idx(files: Mapping[str, Path]) -> tuple[LabelledImages, LabelledImages]:
    arrays = {}
    for name, path in files.items():
        try:
            content = path.read_bytes()
            arrays[name] = decode_idx(gzip.decompress(content) if path.suffix == ".gz" else content, path)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path}: can't be read ({error}).") from None
    return (
        LabelledImages(
            _as_bytes(arrays["train images"], str(files["train images"])),
            _named(arrays["train labels"], str(files["train labels"])),
        ),
        LabelledImages(
            _as_bytes(arrays["test images"], str(files["test images"])),
            _named(arrays["test labels"], str(files["test labels"])),
        ),
    )


# What becomes of them


def _shaped(part: LabelledImages, wishes: Wishes, source: Path) -> LabelledImages:
    """The images in the size and with the channels that are wanted; colours that are all grey become one channel."""
    images = part.images
    if len(images) != len(part.classes) or not len(images):
        raise UserError(f"{source}: {len(images):,} images have {len(part.classes):,} labels; there must be one each.")
    if wishes.size is not None and images.shape[1:3] != wishes.size:
        rgb = images.repeat(3, axis=3) if images.shape[3] == 1 else images
        images = np.stack([np.asarray(to_rgb(Image.fromarray(image), wishes.size)) for image in rgb])
    if images.shape[3] == 3 and wishes.grey:
        images = np.stack([np.asarray(Image.fromarray(image).convert("L"))[..., None] for image in images])
    if images.shape[3] == 1 and wishes.grey is False:
        images = images.repeat(3, axis=3)
    return replace(part, images=images)


def _split(whole: LabelledImages, share: float, source: Path) -> tuple[LabelledImages, LabelledImages]:
    """Training and test images of one set, each class with its share; at least one image of each in both."""
    counts = Counter(whole.classes)
    short = [name for name, count in counts.items() if count * share < 1 or count * (1 - share) < 1]
    if short:
        raise UserError(
            f"{source}: class {short[0]} has {counts[short[0]]} images, of which {share:g} for testing leaves one side "
            "without any. Add pictures, take the class away, or write another --test-share."
        )
    numbers = _numbers(whole.classes, sorted(counts))
    kept, held_out = split(numbers, round(len(numbers) * share), SPLIT_SEED)
    return (
        LabelledImages(whole.images[kept], [whole.classes[index] for index in kept]),
        LabelledImages(whole.images[held_out], [whole.classes[index] for index in held_out]),
    )


def _numbered(
    training: LabelledImages, test: LabelledImages, wishes: Wishes, source: Path, notes: Sequence[str]
) -> Imported:
    """Both parts with classes numbered 0, 1, … in the order of their names, numbers by their value."""
    names = wishes.class_names
    classes = sorted(
        {*training.classes, *test.classes}, key=lambda name: (int(name), name) if name.isdigit() else (0, name)
    )
    for part, title in ((training, "training"), (test, "test")):
        if missing := [name for name in classes if name not in set(part.classes)]:
            raise UserError(f"{source}: class {missing[0]} has no {title} image. Add some, or take the class away.")
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise UserError(f"{source}: must have 2 to {MOST_CLASSES} classes, found {len(classes)}.")
    if names is not None and len(names) != len(classes):
        there = ", ".join(classes[:5])
        raise UserError(f"--class-names: must be {len(classes)} names, for {there} …, not {len(names)}. Name them all.")
    first, second = training.images, test.images
    if first.shape[1:] != second.shape[1:]:
        raise UserError(
            f"{source}: training images are {first.shape[1:]}, test images {second.shape[1:]}. Write a --size for both."
        )
    if first.shape[3] == 3 and wishes.grey is None and _is_grey(first) and _is_grey(second):
        first, second = first[..., :1], second[..., :1]
    return Imported(
        training=(np.ascontiguousarray(first), _numbers(training.classes, classes)),
        test=(np.ascontiguousarray(second), _numbers(test.classes, classes)),
        class_names=tuple(names or classes),
        notes=tuple(notes),
    )


def _is_grey(images: NDArray[np.uint8]) -> bool:
    return bool((images[..., :1] == images).all())


def _numbers(classes: Sequence[str], order: Sequence[str]) -> NDArray[np.uint8]:
    number = {name: position for position, name in enumerate(order)}
    return np.array([number[name] for name in classes], dtype=np.uint8)
