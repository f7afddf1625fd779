"""Pictures of any size and colour as a network's images: fitted to what it was trained on, and said how.

The playground does the same (pipeline/explainer/pictures.js).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from pipeline.data.image_import import PICTURES, pictures_below, read_picture, to_upright_rgb
from pipeline.terminal.errors import UserError

NEAR = 20
"""Values of 0 to 255 by which pixels may differ from a background that is one colour."""

EVEN = 0.9
"""Share of the pixels of the border that are near its median where a picture has such a background."""

LOOKED_AT = 500
"""Images by which the backgrounds of a dataset are known."""


@dataclass(frozen=True)
class Photo:
    """A picture as the network sees it: uint8 [h, w, c], and what was done to it, in words."""

    path: Path
    pixels: NDArray[np.uint8]
    fitted: str


def find_pictures(paths: list[Path]) -> list[Path]:
    """The pictures that are named, and those below the folders that are. Raises UserError where there is none."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: is not there. Name a picture, or a folder with some.")
        below = pictures_below(path) if path.is_dir() else [path]
        if not below:
            raise UserError(f"{path}: holds no picture ({', '.join(sorted(PICTURES))}).")
        found += below
    return found


def fit_photo(path: Path, shape: tuple[int, int, int], *, light: bool | None, as_is: bool) -> Photo:
    """A picture in the network's height, width and channels.

    One of exactly that size is taken as it is. Else an even background is cut away around what is shown and then fills
    the picture up to the network's shape; `light` says whether the backgrounds of the training images are light (None:
    unknown), and a picture whose background is not so is inverted. `as_is` scales and does nothing else.
    Raises UserError for what is no picture.
    """
    return read_picture(path, lambda picture: _fit(path, picture, shape, light=light, as_is=as_is))


def _fit(path: Path, picture: Image.Image, shape: tuple[int, int, int], *, light: bool | None, as_is: bool) -> Photo:
    height, width, channels = shape
    rgb = to_upright_rgb(picture)
    steps: list[str] = []
    if rgb.size != (width, height) and as_is:
        rgb, steps = rgb.resize((width, height)), ["scaled"]
    elif rgb.size != (width, height):
        colour = tuple(np.median(_border(np.asarray(rgb)), axis=0).astype(int).tolist())
        if box := _what_is_shown(np.asarray(rgb.convert("L"))):
            rgb, steps = rgb.crop(box), ["trimmed"]
        rgb = _framed(rgb, width, height, colour)
        steps.append("scaled")
        if light is not None and (sum(colour) > 3 * 127) != light:
            rgb = ImageOps.invert(rgb)
            steps.append("inverted")
    image = np.asarray(rgb.convert("L"))[..., None] if channels == 1 else np.asarray(rgb)
    return Photo(path, image, ", ".join(steps) or "as it is")


def _framed(picture: Image.Image, width: int, height: int, colour: tuple[int, ...]) -> Image.Image:
    """A picture as large as fits into a frame of a colour, in its middle; one side may become a single pixel."""
    share = min(width / picture.width, height / picture.height)
    across, down = (max(1, int(share * side + 0.5)) for side in picture.size)
    frame = Image.new("RGB", (width, height), colour)
    frame.paste(picture.resize((across, down)), ((width - across) // 2, (height - down) // 2))
    return frame


def _what_is_shown(pixels: NDArray[np.uint8]) -> tuple[int, int, int, int] | None:
    """The box (left, top, right, bottom) of what differs from an even background; None where there is nothing to cut.

    Pixels are grey, uint8 [h, w].
    """
    border = _border(pixels).astype(int)
    background = int(np.median(border))
    if np.mean(np.abs(border - background) <= NEAR) < EVEN:
        return None
    box = Image.fromarray((np.abs(pixels.astype(int) - background) > NEAR).astype(np.uint8)).getbbox()
    return None if box == (0, 0, pixels.shape[1], pixels.shape[0]) else box


def have_light_backgrounds(images: NDArray[np.uint8]) -> bool:
    """Whether most of the first images uint8 [n, h, w, c] have a border that is lighter than grey."""
    lightness = [float(np.median(_border(image))) for image in images[:LOOKED_AT]]
    return sum(value > 127 for value in lightness) * 2 > len(lightness)


def _border(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The outermost pixels of a picture [h, w] or [h, w, c]."""
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
