"""Names of classes in any script: drawn where the system has a font, else replaced by something that can be read."""

import subprocess
import sys
import warnings
from collections.abc import Iterator

import matplotlib.font_manager as manager
import numpy as np
import pytest

from pipeline.figures import style
from pipeline.figures.examples import draw_examples
from pipeline.figures.run_figures import confusion, mistakes
from pipeline.figures.style import png
from pipeline.storage import project

KUZUSHIJI = ["お", "き", "す", "つ", "な", "は", "ま", "や", "れ", "を"]
LATIN = ["T-shirt/top", "Ängström", "Ωμέγα", "Юбка"]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A system that has no font but matplotlib's."""
    own = [font for font in manager.fontManager.ttflist if font.name == style.FIRST]
    with monkeypatch.context() as patch:
        patch.setattr(manager.fontManager, "ttflist", own)
        patch.setattr(manager, "findSystemFonts", list)
        _forget()
        yield
    _forget()


def _forget() -> None:
    style.families.cache_clear()
    style._characters.cache_clear()


def drawn(names: list[str]) -> list[bytes]:
    """Pictures that name all classes. A character that no font has is a warning of matplotlib's, here an error."""
    count = len(names)
    images = np.zeros((count, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(count)
    wrong = np.roll(np.eye(count, dtype=np.float32), -1, axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return [
            draw_examples(images, labels.astype(np.uint8), names),
            png(confusion(np.eye(count, dtype=np.int64), names)),
            png(mistakes(images, labels, wrong, names)),
        ]


@pytest.mark.usefixtures("bare")
def test_without_a_font_the_number_of_the_class_takes_the_place_of_its_name() -> None:
    assert [style.legible(name, number) for number, name in enumerate(["Hemd", "シャツ"])] == ["Hemd", "class 1"]
    assert drawn(KUZUSHIJI) == drawn([f"class {number}" for number in range(10)])
    said = style.note(KUZUSHIJI)
    assert said is not None
    assert "pictures show the number of a class" in said
    assert "\n" not in said
    assert style.note(LATIN) is None


PLAIN = """
import numpy as np
from pipeline.figures.run_figures import confusion
from pipeline.figures.style import png
png(confusion(np.eye(2, dtype=np.int64), ["Hemd", "Hose"]))
"""


def test_that_a_font_has_no_bold_is_not_told() -> None:
    done = subprocess.run([sys.executable, "-c", PLAIN], cwd=project.ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.skipif(len(style.families()) == 1, reason="this system has no font of these characters")
def test_with_a_font_the_names_are_drawn() -> None:
    assert style.note(KUZUSHIJI) is None
    assert drawn(KUZUSHIJI) != drawn([f"class {number}" for number in range(10)])


def test_names_that_matplotlibs_font_has_are_drawn_alike_on_every_system(request: pytest.FixtureRequest) -> None:
    here = drawn(LATIN)
    request.getfixturevalue("bare")
    assert drawn(LATIN) == here
