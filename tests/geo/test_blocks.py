"""Files of compressed blocks: what goes in comes out, what a kill left is cut off, and damage is noticed."""

import errno
import os
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geosemi.errors import OutputError
from geosemi.geo.blocks import BLOCK, BlockFile, predictor_of, stored
from geosemi.geo.layers import Layer, amount_layer
from geosemi.geo.tiff import HORIZONTAL

LAYERS = {
    "classes": Layer(("class",), 255, "MODE"),
    "amounts": amount_layer(["a", "b"], "how much"),
    "halves": Layer(("x", "y", "z"), float("nan"), "AVERAGE", dtype="float16"),
}
HEIGHT, WIDTH = 700, 530


def pixels_of(layer, height=HEIGHT, width=WIDTH, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (len(layer.bands), height, width))
    rows = values.astype(layer.dtype)
    if layer.dtype == "float16":
        rows = rows / 7 - 9
        rows[:, :40] = np.nan
    return rows


def filled(path, layer, rows):
    blocks = BlockFile(path, rows.shape[2], layer)
    for row in range(0, rows.shape[1], BLOCK):
        blocks.append(rows[:, row : row + BLOCK])
    return blocks


def everything(blocks, height=HEIGHT):
    return np.concatenate(list(blocks.rows(height)), axis=1)


def damage(path, content, layer, sizes):
    path.write_bytes(content)
    blocks = BlockFile(path, WIDTH, layer, sizes)
    try:
        return everything(blocks)
    finally:
        blocks.close()


@pytest.mark.parametrize("name", LAYERS)
@settings(max_examples=25)
@given(st.integers(1, 1100), st.integers(1, 1100), st.integers(0, 9))
def test_rows_come_back(tmp_path, name, height, width, seed):
    rows = pixels_of(LAYERS[name], height, width, seed)
    blocks = filled(tmp_path / "level0", LAYERS[name], rows)
    np.testing.assert_array_equal(everything(blocks, height), rows)
    blocks.close()
    assert len(blocks.sizes) == -(-height // BLOCK) * -(-width // BLOCK)
    assert (tmp_path / "level0").stat().st_size == stored(blocks.sizes)


def test_the_predictor_is_tiffs(tmp_path):
    """TIFF 6.0, section 14: differences to the pixel on the left, band by band; the first column as it is."""
    layer = LAYERS["amounts"]
    assert (predictor_of(LAYERS["classes"]), predictor_of(layer), predictor_of(LAYERS["halves"])) == (1, HORIZONTAL, 1)
    rows = pixels_of(layer, BLOCK, BLOCK)
    filled(tmp_path / "level0", layer, rows).close()
    flat = np.frombuffer(zlib.decompress((tmp_path / "level0").read_bytes()[4:-4]), "uint8").reshape(BLOCK, BLOCK, 2)
    expected = rows.transpose(1, 2, 0).astype(int)
    expected[:, 1:] -= expected[:, :-1].copy()
    np.testing.assert_array_equal(flat, expected % 256)


def test_a_block_is_padded_with_nodata(tmp_path):
    for layer in LAYERS.values():
        blocks = filled(tmp_path / "level0", layer, pixels_of(layer, 5, 7))
        blocks.close()
        content = (tmp_path / "level0").read_bytes()[4:-4]
        padded = blocks._pixels(content)
        assert padded.shape == (len(layer.bands), BLOCK, BLOCK)
        np.testing.assert_array_equal(padded[:, 5:], layer.nodata)
        np.testing.assert_array_equal(padded[:, :, 7:], layer.nodata)


@pytest.mark.parametrize("name", LAYERS)
def test_work_is_taken_up_after_the_last_block_that_counts(tmp_path, name):
    layer, rows = LAYERS[name], pixels_of(LAYERS[name])
    whole = filled(tmp_path / "whole", layer, rows)
    whole.close()
    content, across = (tmp_path / "whole").read_bytes(), -(-WIDTH // BLOCK)
    known = tuple(whole.sizes[:across])
    (tmp_path / "cut").write_bytes(content[: stored(list(known)) + 77])  # a kill in the middle of the second row
    again = BlockFile(tmp_path / "cut", WIDTH, layer, known)
    np.testing.assert_array_equal(everything(again, BLOCK), rows[:, :BLOCK])
    again.append(rows[:, BLOCK:])
    again.close()
    assert (tmp_path / "cut").read_bytes() == content
    assert again.sizes == whole.sizes


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A file of blocks, small enough to break at every place: its path, layer, sizes, content and pixels."""
    layer = LAYERS["classes"]
    path = tmp_path_factory.mktemp("blocks") / "level0"
    rows = np.zeros((1, HEIGHT, WIDTH), "uint8")
    rows[:, 100:, 30:200] = 3
    blocks = filled(path, layer, rows)
    blocks.close()
    return path, layer, tuple(blocks.sizes), path.read_bytes(), rows


@given(st.data())
def test_a_damaged_byte_is_noticed_wherever_it_matters(small, data):
    """Of two ways to say the same run of zeros either will do: the pixels are what counts."""
    path, layer, sizes, content, rows = small
    place = data.draw(st.integers(0, len(content) - 1))
    broken = bytearray(content)
    broken[place] ^= data.draw(st.integers(1, 255))
    try:
        found = damage(path, bytes(broken), layer, sizes)
    except (ValueError, zlib.error):
        return
    np.testing.assert_array_equal(found, rows)


def test_damage_to_a_blocks_frame_is_noticed(small):
    """Readers that trust the size before a block would go astray."""
    path, layer, sizes, content, _ = small
    for place in (*range(4), *range(sizes[0] + 4, sizes[0] + 12), *range(len(content) - 8, len(content))):
        broken = bytearray(content)
        broken[place] ^= 1
        with pytest.raises((ValueError, zlib.error)):
            damage(path, bytes(broken), layer, sizes)


@given(st.data())
def test_any_missing_end_is_noticed(small, data):
    path, layer, sizes, content, _ = small
    with pytest.raises((ValueError, zlib.error)):
        damage(path, content[: data.draw(st.integers(0, len(content) - 1))], layer, sizes)


def test_a_whole_file_is_no_damage(small):
    path, layer, sizes, content, rows = small
    np.testing.assert_array_equal(damage(path, content, layer, sizes), rows)
    np.testing.assert_array_equal(damage(path, content + b"left by a kill", layer, sizes), rows)


def test_a_missing_file_is_damage_too(small):
    path, layer, sizes, _, _ = small
    path.unlink()
    blocks = BlockFile(path, WIDTH, layer, sizes)
    with pytest.raises((ValueError, zlib.error)):
        everything(blocks)
    blocks.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
@pytest.mark.parametrize("step", ["append", "flush", "close"])
def test_a_full_disk_is_named_whoever_meets_it_first(tmp_path, step):
    """Small blocks wait in a buffer: the disk may be found full as late as when the file is closed."""
    blocks = BlockFile(tmp_path / "level0", WIDTH, LAYERS["classes"])
    blocks._file.close()
    blocks._file = open("/dev/full", "r+b", buffering=100 if step == "append" else 2**20)  # noqa: PTH123, SIM115

    def work():
        try:
            blocks.append(pixels_of(LAYERS["classes"], BLOCK))
            if step == "flush":
                blocks.flush()
        finally:
            blocks.close()

    with pytest.raises(OutputError, match=r"no space left on the disk of `.*level0`") as caught:
        work()
    assert "nothing was lost" in caught.value.hint
    assert caught.value.__cause__.errno == errno.ENOSPC
