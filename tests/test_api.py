"""geosemi from Python: every kind of scene gives the same mask, in the right place, and nothing is read as a whole."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from fakes import EdgeSegmenter, TinySegmenter, bundle_of
from rasterio.control import GroundControlPoint
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT

import geosemi
from geosemi.errors import BundleError, ConfigError, InputError, LegendError, OutputError, SceneUnreadable
from geosemi.geo.dataarrays import array_of, grid_of
from geosemi.geo.layers import mask_layer
from geosemi.geo.maskarrays import to_dataarray
from geosemi.legend import ClassDef, Legend
from geosemi.models.build import ModelSpec, build_segmenter
from geosemi.models.bundle import Bundle, Card
from geosemi.predict.predict import predict_scene
from geosemi.predict.settings import PredictSettings

CPU = {"device": "cpu", "tile": 32}
PLACES = {
    "north-up": ("EPSG:32636", Affine(0.5, 0, 450_000, 0, -0.5, 40_000)),
    "rotated": ("EPSG:32636", Affine(0.4, 0.3, 450_000, 0.3, -0.4, 40_000)),
    "south-up": ("EPSG:32636", Affine(0.5, 0, 450_000, 0, 0.5, 40_000)),
    "geographic": ("EPSG:4326", Affine(1e-5, 0, 36.8, 0, -1e-5, 0.1)),
    "nowhere": (None, None),
}


def opened(path: Path, **options) -> xr.DataArray:
    return pytest.importorskip("rioxarray").open_rasterio(path, **options)


def from_file(scene: Path, folder: Path, bundle, **more) -> np.ndarray:
    predict_scene(bundle, scene, folder / "by_file.tif", PredictSettings(**CPU), overwrite=True, **more)
    with rasterio.open(folder / "by_file.tif") as dataset:
        return dataset.read(1)


def quiet(scene, bundle, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return geosemi.predict(scene, bundle, **CPU, **options)


@pytest.mark.parametrize("place", PLACES)
def test_every_kind_of_scene_gives_the_mask_that_the_command_writes(make_scene, tmp_path, place):
    crs, transform = PLACES[place]
    image = np.random.default_rng(0).integers(1, 255, (3, 61, 83), "uint8")
    image[:, 20:50, 30:] = 0
    scene = make_scene(image=image, crs=crs, transform=transform, nodata=0)
    bundle = bundle_of(EdgeSegmenter())
    wanted = from_file(scene, tmp_path, bundle)
    data = opened(scene)
    with rasterio.open(scene) as dataset:
        kinds = {
            "path": scene, "text": str(scene), "dataset": dataset, "lazy": data, "loaded": data.load(),
            "bands last": data.transpose("y", "x", "band"), "masked": opened(scene, masked=True),
            "renamed": data.rename(band="channel", y="lat", x="lon"),
        }  # fmt: skip
        for kind, given in kinds.items():
            mask = quiet(given, bundle)
            assert (mask.values == wanted).all(), kind
            assert mask.dtype == np.uint8
            if kind != "renamed":
                assert mask.rio.transform() == dataset.transform, kind
                assert mask.rio.crs == dataset.crs, kind
                assert mask.rio.nodata == 255
    assert (wanted == 255).sum() == 30 * 53


def test_the_mask_has_the_scenes_own_coordinates(make_scene):
    data = opened(make_scene())
    mask = geosemi.predict(data, bundle_of(TinySegmenter()), **CPU)
    xr.testing.assert_identical(mask.x.variable, data.x.variable)
    masked = data.where(mask == 2)  # aligns by coordinates: none would be left if they differed in the last digit
    assert masked.shape == data.shape


@pytest.mark.parametrize("place", ["north-up", "rotated", "south-up", "geographic"])
def test_a_sliced_array_lies_where_its_coordinates_say(make_scene, place):
    """Slicing leaves the transform in `spatial_ref` as it was."""
    crs, transform = PLACES[place]
    data = opened(make_scene(crs=crs, transform=transform))
    part = data.isel(y=slice(11, 50), x=slice(7, 60))
    assert grid_of(part).transform.almost_equals(transform * Affine.translation(7, 11), 1e-7)
    coarse = data.isel(y=slice(11, None, 2), x=slice(7, None, 2))
    middle = transform * (7.5, 11.5)
    assert grid_of(coarse).transform * (0.5, 0.5) == pytest.approx(middle)
    assert grid_of(coarse).pixel_size == pytest.approx([2 * s for s in grid_of(data).pixel_size])
    bundle = bundle_of(TinySegmenter())
    whole = geosemi.predict(data, bundle, **CPU)
    assert (geosemi.predict(part, bundle, **CPU).values == whole.values[11:50, 7:60]).all()


class Recorded(xr.backends.BackendArray):
    """A lazy array that remembers how much was asked for at a time, and where."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels, self.shape, self.dtype, self.asked = pixels, pixels.shape, pixels.dtype, []

    def __getitem__(self, key):
        return xr.core.indexing.explicit_indexing_adapter(
            key, self.shape, xr.core.indexing.IndexingSupport.BASIC, self._get
        )

    def _get(self, key):
        self.asked.append(self.pixels[key].size)
        return self.pixels[key]


def test_a_lazy_array_is_read_window_by_window():
    pixels = np.random.default_rng(0).integers(0, 255, (3, 700, 64), "uint8")
    lazy = Recorded(pixels)
    data = xr.DataArray(xr.Variable(("band", "y", "x"), xr.core.indexing.LazilyIndexedArray(lazy)))
    mask = quiet(data, bundle_of(TinySegmenter()))
    assert (
        mask.values == quiet(xr.DataArray(pixels, dims=("band", "y", "x")), bundle_of(TinySegmenter())).values
    ).all()
    # the look at 512² pixels of the middle is the largest; the rest are strips one window high, each pixel once
    assert max(lazy.asked) == 3 * 512 * 64
    assert sum(lazy.asked) == 3 * 512 * 64 + pixels.size
    assert not data.variable._in_memory


def test_dask_computes_only_the_chunks_of_a_window(make_scene, tmp_path):
    dask = pytest.importorskip("dask")
    array = pytest.importorskip("dask.array")
    scene = make_scene(height=200, width=90)
    data = opened(scene, chunks={"y": 16, "x": 16})
    sizes = []

    def watched(block):
        sizes.append(block.size)
        return block

    slow = data.copy(data=array.map_blocks(watched, data.data, dtype=data.dtype))
    sizes.clear()
    with dask.config.set(scheduler="synchronous"):
        mask = geosemi.predict(slow, bundle_of(TinySegmenter()), **CPU)
    assert (mask.values == from_file(scene, tmp_path, bundle_of(TinySegmenter()))).all()
    assert max(sizes) <= 3 * 16 * 16


def test_classes_are_named_as_cf_and_people_want(make_scene):
    mask = geosemi.predict(make_scene(), bundle_of(TinySegmenter()), **CPU)
    assert mask.name == "class"
    assert mask.attrs["classes"] == ["class a", "class b", "class c", "class d"]
    assert mask.attrs["flag_values"].tolist() == [0, 1, 2, 3]
    assert mask.attrs["flag_values"].dtype == np.uint8
    assert mask.attrs["flag_meanings"] == "class_a class_b class_c class_d"
    assert mask.attrs["flag_colors"].split()[0] == "#d02020"
    assert mask.attrs["_FillValue"] == 255
    assert mask.attrs["source"] == f"geosemi {geosemi.__version__}, model {'f' * 64}"
    assert Legend.from_dict(json.loads(mask.attrs["GEOSEMI_LEGEND"])).names[1] == "class b"


def test_a_mask_survives_netcdf(make_scene, tmp_path):
    pytest.importorskip("netCDF4")
    mask = geosemi.predict(make_scene(), bundle_of(TinySegmenter()), **CPU)
    mask.to_netcdf(tmp_path / "mask.nc")
    with xr.open_dataset(tmp_path / "mask.nc", decode_coords="all") as again:
        assert (again["class"].values == mask.values).all()
        assert grid_of(again["class"]) == grid_of(mask)
        assert list(again["class"].attrs["classes"]) == mask.attrs["classes"]
        assert len(geosemi.vectorize(again["class"])) == len(geosemi.vectorize(mask))


def test_a_mask_survives_geotiff(make_scene, tmp_path):
    pytest.importorskip("rioxarray")
    scene = make_scene()
    mask = geosemi.predict(scene, bundle_of(TinySegmenter()), **CPU)
    mask.rio.to_raster(tmp_path / "mask.tif")
    with rasterio.open(tmp_path / "mask.tif") as written, rasterio.open(scene) as dataset:
        assert (written.read(1) == mask.values).all()
        assert (written.transform, written.crs, written.nodata) == (dataset.transform, dataset.crs, 255)
    assert len(geosemi.vectorize(tmp_path / "mask.tif")) == len(geosemi.vectorize(mask))


def test_extras_come_as_a_dataset_and_decode_to_amounts(make_scene, tmp_path):
    scene = make_scene(height=40, width=50)
    bundle = bundle_of(EdgeSegmenter())
    found = geosemi.predict(scene, bundle, extras=("confidence", "probabilities"), **CPU)
    assert list(found) == ["confidence", "probabilities", "class"]
    assert found["probabilities"].dims == ("band", "y", "x")
    assert found["band"].values.tolist() == ["class a", "class b", "class c", "class d"]
    from_file(scene, tmp_path, bundle, extras={"confidence": tmp_path / "sure.tif"})
    with rasterio.open(tmp_path / "sure.tif") as dataset:
        assert (found["confidence"].values == dataset.read(1)).all()
    amounts = xr.decode_cf(found[["confidence", "probabilities"]])
    assert float(abs(amounts["probabilities"].sum("band") - 1).max()) < 0.02
    assert float(amounts["confidence"].max()) <= 1


def test_out_writes_files_and_tells_the_facts(make_scene, tmp_path):
    scene = make_scene()
    facts = geosemi.predict(scene, bundle_of(TinySegmenter()), out=tmp_path / "m.tif", extras=["confidence"], **CPU)
    assert facts.files[-1] == tmp_path / "m.tif"
    assert tmp_path / "m_confidence.tif" in facts.files
    assert all(p.is_file() for p in facts.files)
    named = {"entropy": str(tmp_path / "doubt.tif")}
    geosemi.predict(scene, bundle_of(TinySegmenter()), out=tmp_path / "n.tif", extras=named, **CPU)
    assert (tmp_path / "doubt.tif").is_file()
    with pytest.raises(OutputError, match="exists") as caught:
        geosemi.predict(scene, bundle_of(TinySegmenter()), out=tmp_path / "m.tif", **CPU)
    assert "overwrite" in caught.value.hint


def test_an_array_is_written_to_files_too(make_scene, tmp_path):
    scene = make_scene(height=70)
    bundle = bundle_of(EdgeSegmenter())
    facts = geosemi.predict(opened(scene), bundle, out=tmp_path / "m.tif", **CPU)
    with rasterio.open(facts.files[-1]) as written:
        assert (written.read(1) == from_file(scene, tmp_path, bundle)).all()
        assert "SCENE_SHA256" not in written.tags()


def test_what_a_person_should_know_is_a_warning(make_scene):
    with pytest.warns(UserWarning, match="no coordinate system") as caught:
        geosemi.predict(make_scene(crs=None, transform=None), bundle_of(TinySegmenter()), **CPU)
    ours = [c for c in caught if "so the mask has none" in str(c.message)]
    assert [Path(c.filename) for c in ours] == [Path(__file__)]


def test_settings_come_whole_or_one_by_one(make_scene):
    scene, bundle = make_scene(), bundle_of(EdgeSegmenter())
    one = geosemi.predict(scene, bundle, settings=PredictSettings(stitch="centre", **CPU))
    assert (one.values == geosemi.predict(scene, bundle, stitch="centre", **CPU).values).all()
    with pytest.raises(ConfigError, match="both say how") as caught:
        geosemi.predict(scene, bundle, settings=PredictSettings(), tile=64)
    assert "as settings, or as options" in caught.value.hint
    with pytest.raises(ConfigError, match=r"there is no option `tiles`; did you mean `tile`\?") as caught:
        geosemi.predict(scene, bundle, tiles=64, stitch="sum", resolution="fine")
    told = sorted(caught.value.lines[1:])
    assert told[0].startswith(
        "`resolution` cannot be 'fine': it should be 'native' or 'model', or it should be a valid"
    )
    assert told[1:] == ["`stitch` cannot be 'sum': it should be 'blend' or 'centre'"]
    assert "tile, overlap, stitch" in caught.value.hint
    with pytest.raises(ConfigError, match="`extras` names files") as caught:
        geosemi.predict(scene, bundle, extras={"confidence": "a.tif"}, **CPU)
    assert "give `out` too" in caught.value.hint


def test_an_extra_that_is_none_is_told_with_all_that_are(make_scene, tmp_path):
    scene, bundle = make_scene(), bundle_of(EdgeSegmenter())
    for more in ({}, {"out": tmp_path / "mask.tif"}):
        with pytest.raises(ConfigError, match="nothing called 'confidense'") as caught:
            geosemi.predict(scene, bundle, extras=["confidense"], **more, **CPU)
        assert "confidence, entropy, margin, probabilities, probabilities_float16" in caught.value.hint
        with pytest.raises(ConfigError, match="is the text 'confidence', not a list") as caught:
            geosemi.predict(scene, bundle, extras="confidence", **more, **CPU)
        assert "extras=['confidence']" in caught.value.hint
    assert not list(tmp_path.glob("mask*"))


def test_several_bands_are_chosen_by_name(make_scene):
    data = opened(make_scene(bands=4, descriptions=["blue", "green", "red", "nir"], photometric="minisblack"))
    bundle = bundle_of(TinySegmenter(), names=("red", "green", "blue"))
    wanted = quiet(data[[2, 1, 0]].drop_attrs(), bundle).values
    assert (geosemi.predict(data, bundle, **CPU).values == wanted).all()
    said = data.drop_attrs(deep=False).assign_coords(band=["blue", "green", "red", "nir"])
    assert (geosemi.predict(said, bundle, **CPU).values == wanted).all()


def plain(shape=(3, 20, 30), dims=("band", "y", "x"), dtype="uint8", **more) -> xr.DataArray:
    return xr.DataArray(np.zeros(shape, dtype), dims=dims, **more)


@pytest.mark.parametrize(
    ("data", "cause", "hint"),
    [
        (plain(dims=("time", "y", "x")), r"dimensions \(time, y, x\)", "isel"),
        (plain((2, 3, 4, 5), ("time", "band", "y", "x")), "is no raster", "rename"),
        (plain(dims=("a", "b", "c")), "is no raster", "rename"),
        (plain(dtype="complex64"), "of complex64 is no scene", "real numbers"),
        (plain(coords={"y": np.arange(20.0) ** 1.2, "x": np.arange(30)}), "along `y` are not evenly", "reproject"),
        (plain((3, 1, 30), coords={"y": [4.0], "x": np.arange(30)}), "one row or column", "write_transform"),
        (plain(attrs={"crs": "no such thing"}), "`no such thing`, which is none", "write_crs"),
    ],
)
def test_what_is_no_scene_is_refused(data, cause, hint):
    with pytest.raises(InputError, match=cause) as caught:
        geosemi.predict(data, bundle_of(TinySegmenter()), **CPU)
    assert hint in caught.value.hint


def test_a_dataset_that_is_no_file_is_refused(make_scene, tmp_path):
    bundle = bundle_of(TinySegmenter())
    scene = make_scene()
    with MemoryFile(scene.read_bytes()) as memory, memory.open() as dataset:
        with pytest.raises(InputError, match="lies in memory alone") as caught:
            geosemi.predict(dataset, bundle)
        assert "DataArray" in caught.value.hint
    with (
        rasterio.open(scene) as dataset,
        WarpedVRT(dataset, crs="EPSG:4326") as warped,
        pytest.raises(InputError, match="lies in memory alone"),
    ):
        geosemi.predict(warped, bundle)
    with rasterio.open(scene, "r+") as dataset:
        with pytest.raises(InputError, match="is open for writing") as caught:
            geosemi.predict(dataset, bundle)
        assert "close it" in caught.value.hint
    with rasterio.open(f"GTIFF_DIR:1:{scene}") as dataset:
        with pytest.raises(InputError, match="is no file of its own") as caught:
            geosemi.predict(dataset, bundle)
        assert "gdal_translate" in caught.value.hint


def test_a_dataset_is_opened_again_by_the_safe_opener(make_scene, tmp_path):
    """GDAL opens a text file that names other files; the dataset is then valid, its file is refused all the same."""
    make_scene("real.tif")
    trap = tmp_path / "scene.tif"
    trap.write_text(
        '<VRTDataset rasterXSize="96" rasterYSize="64"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f"<SourceFilename>{tmp_path / 'real.tif'}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with rasterio.open(trap) as dataset, pytest.raises(SceneUnreadable) as caught:
        geosemi.predict(dataset, bundle_of(TinySegmenter(bands=1)))
    assert caught.value.hint


def test_other_things_are_refused(make_scene, tmp_path):
    bundle = bundle_of(TinySegmenter())
    with pytest.raises(InputError, match="cannot be a `ndarray`") as caught:
        geosemi.predict(np.zeros((3, 9, 9)), bundle)
    assert "xarray.DataArray" in caught.value.hint
    make_scene("many/a.tif")
    make_scene("many/b.tif")
    with pytest.raises(InputError, match="means 2 scenes") as caught:
        geosemi.predict(tmp_path / "many", bundle)
    assert "once for each" in caught.value.hint
    with pytest.raises(BundleError, match="No such file") as found:
        geosemi.predict(tmp_path / "many" / "a.tif", tmp_path / "none.safetensors")
    assert found.value.hint


def test_scenes_placed_by_control_points_have_no_coordinates(make_scene):
    points = [GroundControlPoint(r, c, 36 + c / 1e4, 1 - r / 1e4) for r, c in [(0, 0), (0, 96), (64, 0), (64, 96)]]
    mask = quiet(make_scene(gcps=points, crs="EPSG:4326"), bundle_of(TinySegmenter()))
    assert set(mask.coords) == {"spatial_ref"}


def test_a_model_is_loaded_from_a_run_or_a_file(tmp_path, make_scene):
    legend = Legend((ClassDef(0, "one", "#ff0000"), ClassDef(1, "two", "#00ff00")))
    spec = ModelSpec()
    card = Card(spec, legend, ("r", "g", "b"), (100.0,) * 3, (50.0,) * 3, 32, None, "0", {})
    bundle = Bundle(build_segmenter(spec, bands=3, classes=2, seed=0), card)
    bundle.save(tmp_path / "bundle.safetensors")
    for given in (tmp_path, str(tmp_path / "bundle.safetensors")):
        assert geosemi.load_model(given).card.legend == legend
    mask = geosemi.predict(make_scene(), str(tmp_path), **CPU)
    assert set(np.unique(mask)) <= {0, 1}


def test_polygons_of_an_array_are_those_of_its_file(make_scene, tmp_path):
    scene = make_scene(nodata=0)
    bundle = bundle_of(TinySegmenter())
    mask = geosemi.predict(scene, bundle, **CPU)
    from_file(scene, tmp_path, bundle)
    found, wanted = geosemi.vectorize(mask), geosemi.vectorize(tmp_path / "by_file.tif")
    assert isinstance(found, gpd.GeoDataFrame)
    assert found.crs == wanted.crs == rasterio.open(scene).crs
    assert len(found) == len(wanted) > 100
    assert found.geometry.geom_equals(wanted.geometry).all()
    assert (found.drop(columns="geometry") == wanted.drop(columns="geometry")).all().all()
    assert set(found.class_name) <= {"class a", "class b", "class c", "class d"}
    assert found.area_m2.sum() == pytest.approx(int((mask != 255).sum()) * 0.25, rel=2e-3)
    pytest.importorskip("rioxarray")
    decoded = xr.decode_cf(mask.to_dataset())["class"]  # floats, with NaN for nodata
    assert decoded.dtype.kind == "f"
    assert len(geosemi.vectorize(decoded)) == len(found)


def test_confidence_may_be_a_dataarray(make_scene, tmp_path):
    found = geosemi.predict(make_scene(nodata=0), bundle_of(TinySegmenter()), extras=("confidence", "entropy"), **CPU)
    layers = geosemi.vectorize(found["class"], confidence=found["confidence"])
    means = [
        ((v := found["confidence"].values)[(found["class"].values == k) & (v < 255)] / 254).sum() for k in range(4)
    ]
    assert (layers.conf * layers.n_px).sum() == pytest.approx(sum(means), rel=1e-6)
    decoded = xr.decode_cf(found[["confidence"]])["confidence"]  # real numbers, NaN for none
    assert decoded.dtype.kind == "f"
    again = geosemi.vectorize(found["class"], confidence=decoded)
    np.testing.assert_array_equal(again.conf, layers.conf)
    with pytest.raises(InputError, match="`entropy` is no confidence") as caught:
        geosemi.vectorize(found["class"], confidence=found["entropy"])
    assert 'dataset["confidence"]' in caught.value.hint
    with pytest.raises(InputError, match="other values than confidence") as caught:
        geosemi.vectorize(found["class"], confidence=decoded * 254)
    assert "0 … 254 for 0 … 1" in caught.value.hint


def test_polygons_are_written_where_asked_with_settings(make_scene, tmp_path):
    mask = geosemi.predict(make_scene(), bundle_of(TinySegmenter()), **CPU)
    count = geosemi.vectorize(mask, tmp_path / "p.gpkg", min_area_m2=5)
    assert count == len(gpd.read_file(tmp_path / "p.gpkg", layer="segments")) < len(geosemi.vectorize(mask))
    with pytest.raises(ConfigError, match="`min_area`") as caught:
        geosemi.vectorize(mask, min_area=5)
    assert "min_area_m2" in caught.value.hint


def test_polygons_of_nothing_are_an_empty_frame(make_scene):
    mask = geosemi.predict(
        make_scene(image=np.zeros((3, 20, 20), "uint8"), nodata=0), bundle_of(TinySegmenter()), **CPU
    )
    found = geosemi.vectorize(mask)
    assert len(found) == 0
    assert "class_name" in found


def test_a_mask_needs_a_legend_that_fits(make_scene):
    mask = geosemi.predict(make_scene(), bundle_of(TinySegmenter()), **CPU)
    legend = Legend((ClassDef(0, "only", "#ff0000"),))
    with pytest.raises(LegendError, match="the DataArray does not say") as caught:
        geosemi.vectorize(mask.drop_attrs())
    assert "legend=" in caught.value.hint
    with pytest.raises(LegendError, match=r"holds the value [123]") as caught:
        geosemi.vectorize(mask, legend=legend)
    assert "legend=" in caught.value.hint
    with pytest.raises(LegendError, match="holds no legend") as caught:
        geosemi.vectorize(mask.assign_attrs(GEOSEMI_LEGEND="3"))
    assert "legend=" in caught.value.hint
    with pytest.raises(InputError, match="has 3 bands, a mask has one") as caught:
        geosemi.vectorize(plain(), legend=legend)
    assert "isel" in caught.value.hint


def test_nodata_of_an_array_is_found_where_libraries_put_it():
    for attrs, encoding in [({"_FillValue": 7}, {}), ({"nodata": 7.0}, {}), ({}, {"_FillValue": np.uint8(7)})]:
        data = plain(attrs=attrs)
        data.encoding = encoding
        assert array_of(data).nodatas == (7.0,) * 3
    assert array_of(plain(attrs={"_FillValue": "none"})).nodatas == (None,) * 3


def test_a_masked_array_gives_its_whole_numbers_again():
    data = plain(dtype="float32")
    data[0, 0, 0] = np.nan
    data.encoding = {"rasterio_dtype": "uint16", "_FillValue": 9.0}
    array = array_of(data)
    assert (array.dtype, array.nodatas[0]) == ("uint16", 9.0)
    assert array.fetch(array.grid.window, [0, 1])[:, 0, 0].tolist() == [9, 0]
    data.encoding["scale_factor"] = 0.1  # then they are other numbers
    assert array_of(data).dtype == "float32"


def test_a_rotated_mask_has_no_coordinates_and_is_placed_all_the_same():
    legend = Legend((ClassDef(0, "only", "#ff0000"),))
    from rasters import grid_of as grid_at

    grid = grid_at(4, 5, transform=PLACES["rotated"][1])
    mask = to_dataarray(np.zeros((4, 5), "uint8"), mask_layer(legend), grid, name="class")
    assert set(mask.coords) == {"spatial_ref"}
    assert grid_of(mask) == grid


def test_the_package_is_its_own_verb_and_importing_it_is_cheap():
    """`geosemi.predict` is a package too, which the import system puts in the function's place."""
    code = (
        "import sys, geosemi; assert not {'torch', 'numpy', 'xarray'} & set(sys.modules); "
        "from geosemi.predict.settings import PredictSettings; assert callable(geosemi.predict); "
        "assert geosemi.predict.settings.PredictSettings is PredictSettings; "
        "import geosemi.predict.predict as room; assert callable(geosemi.predict) and room.predict_scene; "
        "assert set(geosemi.__all__) <= set(dir(geosemi)) | {'load_model', 'vectorize', '__version__'}; "
        "geosemi.vectorize"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="has no attribute `nothing`"):
        geosemi.nothing  # noqa: B018
