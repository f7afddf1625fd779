"""The IDX decoder, and every way in which a header can be wrong."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.idx import COLOUR_IMAGES, GREY_IMAGES, LABELS, appearance, decode_idx
from pipeline.terminal.errors import UserError
from tests.sample import FOLDER, NAMES, content

PATH = Path("some/file")


def idx(*dimensions: int, data: bytes = b"", kind: int = 8, start: bytes = b"\0\0", count: int | None = None) -> bytes:
    number = len(dimensions) if count is None else count
    return start + bytes([kind, number]) + struct.pack(f">{len(dimensions)}I", *dimensions) + data


def test_bytes_fill_the_array_row_by_row() -> None:
    array = decode_idx(idx(2, 2, 3, data=bytes(range(12))), PATH)
    assert array.dtype == np.uint8
    assert array.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]


@pytest.mark.parametrize("shape", [(5,), (5, 4), (5, 4, 3), (5, 4, 3, 2), (1, 1, 1, 1)])
def test_one_to_four_dimensions_are_read(shape: tuple[int, ...]) -> None:
    assert decode_idx(idx(*shape, data=bytes(int(np.prod(shape)))), PATH).shape == shape


def test_real_files_are_read() -> None:
    assert decode_idx(content("train_images"), PATH, GREY_IMAGES).shape == (600, 28, 28)
    assert np.bincount(decode_idx(content("test_labels"), PATH, LABELS)).tolist() == [20] * 10


IMAGES = idx(2, 2, 2, data=bytes(8))


@pytest.mark.parametrize(
    ("data", "rule", "found"),
    [
        (b"", "begin with two zero bytes", "nothing"),
        (b"\0\0\x08", "begin with two zero bytes", "bytes that begin with 00 00 08"),
        (idx(1, data=b"x", start=b"\0\1"), "two zero bytes", "bytes that begin with 00 01 08 01"),
        (idx(1, data=b"x", start=b"\1\0"), "two zero bytes", "bytes that begin with 01 00 08 01"),
        (b"\n<!DOCTYPE HTML><html>", "two zero bytes", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "two zero bytes", 'text that begins with "version https'),
        (b"PK\x03\x04", "two zero bytes", "a zip archive"),
        (b"\x93NUMPY\x01", "two zero bytes", "a NumPy file"),
        ((FOLDER / f"{NAMES['train_images']}.gz").read_bytes(), "two zero bytes", "gzip, not yet decompressed"),
        (idx(1, data=b"xxxx", kind=0x0D), "unsigned bytes (type 0x08)", "float32"),
        (idx(1, data=b"x", kind=0x09), "unsigned bytes (type 0x08)", "int8"),
        (idx(1, data=b"x", kind=0x07), "unsigned bytes (type 0x08)", "the unknown type 0x07"),
        (idx(count=0), "must have 1 to 4 dimensions", "0"),
        (idx(1, 1, 1, 1, 1, data=b"x"), "must have 1 to 4 dimensions", "5"),
        (idx(1, 1, count=3), "must have a header of 16 bytes", "12 bytes in all"),
        (idx(0), "at least 1 in each dimension", "0"),
        (idx(2, 0, 28), "at least 1 in each dimension", "2 × 0 × 28"),
        (IMAGES[:-1], "must have 24 bytes, as its header says (2 × 2 × 2)", "23"),
        (IMAGES + b"\0", "must have 24 bytes, as its header says (2 × 2 × 2)", "25"),
        (idx(2**32 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1), "340,282,366,604,025,813,516,997,721,482,669,850,645", "20"),
        # 2³² × 2³² is 0 in 64 bits.
        (idx(2**31, 2**31, 4), "must have 18,446,744,073,709,551,632 bytes", "16"),
    ],
)
def test_damaged_file_is_refused_with_rule_and_finding(data: bytes, rule: str, found: str) -> None:
    with pytest.raises(UserError) as caught:
        decode_idx(data, PATH)
    told, _, rest = str(caught.value).partition("; found ")
    assert told.startswith("some/file: ")
    assert rule in told
    assert rest.startswith(found)
    assert "dvc repro --force fetch" in rest


@pytest.mark.parametrize(
    ("data", "wanted", "message"),
    [
        (IMAGES, LABELS, "must have 1 (labels) dimension; found 3 (images)"),
        (idx(1, data=b"x"), GREY_IMAGES, "must have 3 (images) dimensions; found 1 (labels)"),
        (IMAGES, COLOUR_IMAGES, "must have 4 (images with channels) dimensions; found 3 (images)"),
    ],
)
def test_images_in_place_of_labels_are_named(data: bytes, wanted: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError) as caught:
        decode_idx(data, PATH, wanted)
    assert message in str(caught.value)


@given(st.binary(max_size=64) | st.builds(lambda rest: b"\0\0\x08" + rest, st.binary(max_size=64)))
def test_any_bytes_are_decoded_exactly_or_refused(data: bytes) -> None:
    try:
        array = decode_idx(data, PATH)
    except UserError:
        return
    assert idx(*array.shape, data=array.tobytes()) == data


@given(st.binary(max_size=64))
def test_appearance_is_one_printable_line(beginning: bytes) -> None:
    assert appearance(beginning).isprintable()
