"""What a raster's values mean: the layers, the names of their files, and names that are refused before any work."""

import json
import re

import pytest
from fakes import legend_of

from geosemi.errors import OutputError
from geosemi.geo.layers import AMOUNT_STEPS, Layer, amount_layer, files_of, mask_layer, require_free
from geosemi.geo.style import LEGEND_TAG
from geosemi.legend import Legend

LEGEND = legend_of(4, ignore=200)


def test_classes_are_whole_numbers():
    with pytest.raises(ValueError, match="classes are whole numbers, not float16"):
        Layer(("class",), 255, "MODE", dtype="float16")


def test_a_mask_carries_its_legend():
    layer = mask_layer(LEGEND)
    assert (layer.bands, layer.nodata, layer.overviews, layer.dtype, layer.scale) == (
        ("class",),
        200,
        "MODE",
        "uint8",
        1,
    )
    assert layer.colours == {**{c.id: (*c.rgb, 255) for c in LEGEND}, 200: (0, 0, 0, 0)}
    assert Legend.from_dict(json.loads(layer.tags[LEGEND_TAG]), source="the tag") == LEGEND


def test_amounts_fill_a_byte_and_leave_one_value_for_nodata():
    layer = amount_layer(["a", "b"], "how sure")
    assert (layer.bands, layer.nodata, layer.overviews, layer.dtype) == (("a", "b"), 255, "AVERAGE", "uint8")
    assert layer.scale * AMOUNT_STEPS == 1
    assert layer.tags["GEOSEMI_SCALE"] == "value / 254 is how sure; 255 is nodata"
    assert layer.colours is None


def test_side_files_stand_beside_the_raster_and_come_first(tmp_path):
    names = [file.name for file in files_of(tmp_path / "a.b.tif", mask_layer(LEGEND))]
    assert names == ["a.b.tif.aux.xml", "a.b.qml", "a.b.tif"]
    assert files_of(tmp_path / "a.tif", amount_layer(["a"], "x")) == (tmp_path / "a.tif",)
    assert {file.parent for file in files_of(tmp_path / "a.tif", mask_layer(LEGEND))} == {tmp_path}


def test_names_are_checked(tmp_path):
    for name in ("m.tif", "m.tiff", "M.TIF"):
        require_free(tmp_path / name, mask_layer(LEGEND), overwrite=False)
    for name in ("m.png", "m", "m.tif.gz"):
        with pytest.raises(OutputError, match=rf"{re.escape(name)}` is no name for a GeoTIFF") as caught:
            require_free(tmp_path / name, mask_layer(LEGEND), overwrite=False)
        assert caught.value.hint == "end it in .tif"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["m.tif", "m.qml", "m.tif.aux.xml"])
def test_a_side_file_that_is_there_counts_as_the_output(tmp_path, there):
    (tmp_path / there).touch()
    with pytest.raises(OutputError, match=rf"{re.escape(there)}` exists") as caught:
        require_free(tmp_path / "m.tif", mask_layer(LEGEND), overwrite=False)
    assert "--overwrite" in caught.value.hint
    require_free(tmp_path / "m.tif", mask_layer(LEGEND), overwrite=True)


def test_an_input_is_never_written_over(tmp_path):
    (tmp_path / "m.tif").touch()
    with pytest.raises(OutputError, match=r"m.tif` is an input") as caught:
        require_free(tmp_path / "m.tif", mask_layer(LEGEND), overwrite=True, inputs=[tmp_path / "m.tif"])
    assert caught.value.hint == "choose another name"


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(OutputError, match="does not exist") as caught:
        require_free(tmp_path / "maps" / "m.tif", mask_layer(LEGEND), overwrite=True)
    assert "mkdir -p" in caught.value.hint
