"""Pictures of one's own, from folders, NumPy or IDX files: brought to one size, as arrays with numbered classes."""

import gzip
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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

NAMES = (
    (("x_train", "train_images", "images", "x"), ("y_train", "train_labels", "labels", "y")),
    (("x_test", "test_images"), ("y_test", "test_labels")),
)
"""Of the arrays of training and test images: the images, their labels."""

MOST_CLASSES = 256
MOST_PIXELS = 1 << 26
"""Of one picture: what is larger may be a bomb (a few bytes that become gigabytes)."""

SPLIT_SEED = 0

ORIENTATION = 0x0112
"""EXIF's tag."""

Result = TypeVar("Result")

Size = tuple[int, int]
"""Height and width in pixels."""

Arrays = Mapping[str, tuple[str, NDArray[Any]]]
"""By their names in small letters; each with what a message calls it."""


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images uint8 [n, h, w, c] and the names of their classes [n]."""

    images: NDArray[np.uint8]
    classes: NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class Imported:
    """Images uint8 [n, h, w, c] and labels uint8 [n] for training and for testing; `notes` say what was done."""

    training: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    test: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    class_names: tuple[str, ...]
    notes: tuple[str, ...]


def import_images(
    source: Path,
    *,
    size: Size | None = None,
    grey: bool | None = None,
    test_share: float = 0.2,
    class_names: Sequence[str] | None = None,
) -> Imported:
    """The images of a folder of class folders, of a `.npz` file, or of a folder with IDX files.

    Training and test images are told apart as the source does (train/ and test/, x_train and x_test); where it has one
    set, a stratified share of it (0..1) becomes the test images. The `size` of all, `grey` or colour: None is as the
    source has it. `class_names` are in the order of the source's own, sorted. Raises UserError for what can't be read,
    naming it.
    """
    notes: list[str] = []
    if source.suffix == ".npz":
        parts = _from_arrays(_npz_arrays(source), source)
    elif source.is_dir():
        idx = _idx_arrays(source)
        parts = _from_arrays(idx, source) if idx else _from_folders(source, size, notes)
    else:
        raise UserError(f"{source}: must be a folder of pictures, a folder of IDX files, or a .npz file. Name one.")
    parts = [_shaped(part, size, grey, source) for part in parts]
    if len(parts) == 1:
        parts = _split(parts[0], test_share, source)
        images = len(parts[1].images)
        notes.append(f"{images:,} of the pictures are test images: every class's share, drawn with seed 0")
    return _numbered(parts, grey, class_names, source, notes)


# Folders of pictures


def _from_folders(source: Path, wanted: Size | None, notes: list[str]) -> list[LabelledImages]:
    folders = {path.name.lower(): path for path in sorted(source.iterdir()) if path.is_dir()}
    own = [folders[name] for name in TRAINING if name in folders]
    others = [folders[name] for name in TEST if name in folders] if own else []
    parts = [_listed([*own, *others[1:]] or [source])]
    if others:
        parts.append(_listed(others[:1]))
        notes.extend(f"{path.name}/ was taken for training images, too" for path in others[1:])
        notes.append(f"the test images are those of {others[0].name}/")
    for part in parts:
        if len(set(part.values())) < 2:
            raise UserError(
                f"{source}: must hold a folder of pictures for each class, at least two "
                f"({', '.join(sorted(PICTURES))}), found {len(set(part.values()))}. Sort the pictures into them."
            )
    size = wanted or _common_size(source, [path for part in parts for path in part])
    read = []
    with bar("pictures") as progress:
        for part in parts:
            paths = progress.track(part, description="reading")
            images = [read_picture(path, lambda picture: np.asarray(to_rgb(picture, size))) for path in paths]
            read.append(LabelledImages(np.stack(images), np.array(list(part.values()))))
    return read


def _listed(roots: Sequence[Path]) -> dict[Path, str]:
    """The pictures below the class folders of `roots`, each with its class, sorted."""
    return {
        path: folder.name
        for root in roots
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
        for path in pictures_below(folder)
    }


def pictures_below(folder: Path) -> list[Path]:
    """The pictures in a folder and in those inside it, sorted; none that is hidden, as what a Mac keeps beside them."""
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in PICTURES and path.is_file()]
    return [path for path in paths if not path.name.startswith(".")]


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


def _npz_arrays(source: Path) -> Arrays:
    try:
        with np.load(source, allow_pickle=False) as file:
            return {name.lower(): (f"{source}, {name.lower()}", file[name]) for name in file.files}
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise UserError(f"{source}: is no file of NumPy arrays that can be read ({error}).") from None


def _idx_arrays(source: Path) -> Arrays:
    """The four IDX files of a folder, as arrays of a `.npz` file; {} where these four are not there."""
    paths = [path for path in sorted(source.iterdir()) if path.is_file() and "idx" in path.name]
    files = {
        f"{part}_{kind}": path
        for part, names in (("train", TRAINING), ("test", ("t10k", *TEST)))
        for kind in ("images", "labels")
        for path in paths
        if any(f"{name}-{kind}" in path.name for name in names)
    }
    return {name: (str(path), _decoded(path)) for name, path in files.items()} if len(files) == 4 else {}


def _decoded(path: Path) -> NDArray[np.uint8]:
    try:
        content = path.read_bytes()
        return decode_idx(gzip.decompress(content) if path.suffix == ".gz" else content, path)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: can't be read ({error}).") from None


def _from_arrays(arrays: Arrays, source: Path) -> list[LabelledImages]:
    parts = []
    for names in NAMES:
        images, labels = (next((arrays[name] for name in either if name in arrays), None) for either in names)
        if images is not None and labels is not None:
            parts.append(LabelledImages(_as_bytes(*images), _named(*labels)))
        elif not parts:
            raise UserError(
                f"{source}: must hold images and labels, named x_train and y_train (with x_test and y_test, or alone), "
                f"or images and labels; it holds {', '.join(arrays) or 'nothing'}."
            )
    return parts


def _as_bytes(name: str, images: NDArray[Any]) -> NDArray[np.uint8]:
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


def _named(name: str, labels: NDArray[Any]) -> NDArray[np.str_]:
    """The class of each label [n], [n, 1], or one-hot [n, classes], as a text."""
    if labels.ndim == 2:
        labels = labels[:, 0] if labels.shape[1] == 1 else labels.argmax(axis=1)
    if labels.ndim != 1 or labels.dtype.kind not in "iuUS":
        raise UserError(f"{name}: must be one number or text for each image, found {labels.dtype} {labels.shape}.")
    return np.char.decode(labels, errors="replace") if labels.dtype.kind == "S" else labels.astype(np.str_)


# What becomes of them


def _shaped(part: LabelledImages, size: Size | None, grey: bool | None, source: Path) -> LabelledImages:
    """The images in the size and with the channels that are wanted; colours that are all grey become one channel."""
    images = part.images
    if len(images) != len(part.classes) or not len(images):
        raise UserError(f"{source}: {len(images):,} images have {len(part.classes):,} labels; there must be one each.")
    if size is not None and images.shape[1:3] != size:
        rgb = images.repeat(3, axis=3) if images.shape[3] == 1 else images
        images = np.stack([np.asarray(to_rgb(Image.fromarray(image), size)) for image in rgb])
    if images.shape[3] == 3 and grey:
        images = np.stack([np.asarray(Image.fromarray(image).convert("L"))[..., None] for image in images])
    if images.shape[3] == 1 and grey is False:
        images = images.repeat(3, axis=3)
    return replace(part, images=images)


def _split(whole: LabelledImages, share: float, source: Path) -> list[LabelledImages]:
    """Training and test images of one set, each class with its share; at least one image of each in both."""
    classes, numbers, counts = np.unique(whole.classes, return_inverse=True, return_counts=True)
    for name, count in zip(classes, counts, strict=True):
        if count * min(share, 1 - share) < 1:
            raise UserError(
                f"{source}: class {name} has {count} images, of which {share:g} for testing leaves one side "
                "without any. Add pictures, take the class away, or write another --test-share."
            )
    parts = split(numbers.astype(np.uint8), round(len(numbers) * share), SPLIT_SEED)
    return [LabelledImages(whole.images[part], whole.classes[part]) for part in parts]


def _numbered(
    parts: Sequence[LabelledImages], grey: bool | None, names: Sequence[str] | None, source: Path, notes: Sequence[str]
) -> Imported:
    """Training and test images with classes numbered 0, 1, … in the order of their names, numbers by their value."""
    present = [set(part.classes.tolist()) for part in parts]
    classes = sorted(set.union(*present), key=lambda name: (int(name), name) if name.isdigit() else (0, name))
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise UserError(f"{source}: must have 2 to {MOST_CLASSES} classes, found {len(classes)}.")
    for part, title in zip(present, ("training", "test"), strict=True):
        if missing := [name for name in classes if name not in part]:
            raise UserError(f"{source}: class {missing[0]} has no {title} image. Add some, or take the class away.")
    if names is not None and len(names) != len(classes):
        there = ", ".join(classes[:5])
        raise UserError(f"--class-names: must be {len(classes)} names, for {there} …, not {len(names)}. Name them all.")
    shapes = [part.images.shape[1:] for part in parts]
    if shapes[0] != shapes[1]:
        raise UserError(f"{source}: training images are {shapes[0]}, test images {shapes[1]}. Write a --size for both.")
    channels = shapes[0][2]
    if grey is None and all((part.images[..., :1] == part.images).all() for part in parts):
        channels = 1
    number = {name: position for position, name in enumerate(classes)}
    training, test = (
        (
            np.ascontiguousarray(part.images[..., :channels]),
            np.array([number[name] for name in part.classes.tolist()], dtype=np.uint8),
        )
        for part in parts
    )
    return Imported(training, test, tuple(names or classes), tuple(notes))
