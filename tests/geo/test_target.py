"""Outputs in buckets: whole or not there, the same bytes as on a disk, and what fails is gone on with."""

import importlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import pyogrio
import pytest
from fakes import TinySegmenter, bundle_of, legend_of
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import geosemi
from geosemi.cli.main import app
from geosemi.errors import ConfigError, InputError, OutputError, UnsafeInput
from geosemi.geo import target
from geosemi.geo.target import is_there, placed, shown, url_of
from geosemi.models.build import ModelSpec, build_segmenter
from geosemi.models.bundle import Bundle, Card
from geosemi.predict.predict import predict_scene
from geosemi.predict.settings import PredictSettings

CPU = PredictSettings(device="cpu", tile=32)


class Store(MemoryFileSystem):
    """A store that can refuse."""

    protocol = "s3"
    store: dict = {}  # noqa: RUF012 - all of its instances share it, as in the class above
    pseudo_dirs = [""]  # noqa: RUF012
    refused: tuple[str, ...] = ()
    cut_short = False

    def pipe_file(self, path, value, **more):
        if "probe" in self.refused:
            raise PermissionError("Access Denied https://store/x?X-Amz-Signature=5ec2e7")
        super().pipe_file(path, value, **more)

    def rm_file(self, path):
        if "remove" in self.refused:
            raise PermissionError("Access Denied")
        super().rm_file(path)

    def put_file(self, lpath, rpath, **more):
        if rpath.rpartition("/")[2] in self.refused:
            raise OSError("the connection was lost")
        if self.cut_short:
            return super().pipe_file(rpath, b"half")
        return super().put_file(lpath, rpath, **more)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    target._probe.cache_clear()
    MemoryFileSystem.store.clear()
    return tmp_path / "cache" / "geosemi" / "outbox"


@pytest.fixture
def s3(monkeypatch):
    monkeypatch.setattr(Store, "store", {})
    # the attribute `registry` of fsspec is another thing
    monkeypatch.setitem(importlib.import_module("fsspec.registry")._registry, "s3", Store)
    monkeypatch.setattr(Store, "refused", ())
    monkeypatch.setattr(Store, "cut_short", False)
    Store.clear_instance_cache()
    return Store


def objects(store=MemoryFileSystem) -> dict[str, bytes]:
    return {name.removeprefix("s3:/").removeprefix("/"): file.getvalue() for name, file in store.store.items()}


def left_in(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.rglob("*") if p.is_file())


@given(st.lists(st.text("abcXYZ019 ._-äß%#+=", min_size=1).filter(lambda p: p not in {".", ".."}), min_size=2))
def test_a_stand_in_tells_its_url(parts):
    for scheme in ("s3", "gs", "az"):
        url = f"{scheme}://{'/'.join(parts)}"
        path = placed(url)
        assert url_of(path) == shown(path) == url
        assert url_of(path.with_suffix(".qml")) is not None
    assert placed(Path(url)) == Path(url)
    assert url_of(Path(url)) is None


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("/vsis3/bucket/a/b.tif", "s3://bucket/a/b.tif"), ("/vsigs/bucket/b.tif", "gs://bucket/b.tif"),
        ("/vsiaz/box/b.tif", "az://box/b.tif"), ("S3://bucket/b.tif", "s3://bucket/b.tif"),
    ],
)  # fmt: skip
def test_other_spellings_mean_the_same(text, url):
    assert url_of(placed(text)) == url


def test_a_file_url_is_a_path(tmp_path):
    assert placed("file:///data/a%20b.tif") == Path("/data/a b.tif")
    assert placed("maps/mask.tif") == Path("maps/mask.tif")
    assert url_of(Path("maps/mask.tif")) is None


@pytest.mark.parametrize(
    ("text", "kind", "message", "hint"),
    [
        ("ftp://host/mask.tif", ConfigError, "cannot be written to `ftp://", "s3://, gs://, az://"),
        ("https://host/mask.tif", ConfigError, "cannot be written to `https://", "a folder"),
        ("s3://bucket", ConfigError, "names no object", "s3://bucket/folder/mask.tif"),
        ("s3://bucket//mask.tif", ConfigError, "names no object", "mask.tif"),
        ("s3://bucket/../mask.tif", ConfigError, "names no object", "mask.tif"),
        ("/vsis3/", ConfigError, "names no object", "mask.tif"),
        ("s3://key:secret@bucket/mask.tif", UnsafeInput, "holds credentials", "environment"),
        ("az://box/mask.tif?sig=secret", UnsafeInput, "holds credentials", "plain URL"),
    ],
)
def test_what_cannot_be_written_to_is_refused(text, kind, message, hint):
    with pytest.raises(kind, match=message) as caught:
        placed(text)
    assert hint in caught.value.hint
    assert "secret" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize(("url", "library"), [("s3://b/m.tif", "s3fs"), ("gs://b/m.tif", "gcsfs"), ("az://b/m.tif", "adlfs")])  # fmt: skip  # noqa: E501
def test_a_missing_library_is_named_before_any_work(make_scene, url, library):
    if find_spec(library):
        pytest.skip(f"{library} is installed")
    with pytest.raises(OutputError, match=f"needs the package {library}") as caught:
        predict_scene(bundle_of(TinySegmenter()), make_scene(), placed(url), CPU)
    assert caught.value.hint == 'pip install "geosemi[cloud]"'


def mapped(scene, out: str, **more):
    extras = {"confidence": placed(out.replace("mask", "sure"))}
    return predict_scene(bundle_of(TinySegmenter()), scene, placed(out), CPU, extras=extras, **more)


def test_objects_are_the_bytes_of_files_and_the_mask_comes_last(make_scene, tmp_path):
    scene = make_scene(height=600)
    mapped(scene, str(tmp_path / "mask.tif"))
    mapped(scene, "memory://maps/2024/mask.tif")
    names = [name.rpartition("/")[2] for name in objects()]
    assert names == ["sure.tif", "mask.tif.aux.xml", "mask.qml", "mask.tif"]
    for name, content in objects().items():
        assert name.startswith("maps/2024/")
        assert content == (tmp_path / name.rpartition("/")[2]).read_bytes()


def test_an_object_that_exists_is_kept_unless_told_otherwise(make_scene, cache):
    scene = make_scene()
    MemoryFileSystem().pipe_file("memory://maps/mask.tif", b"precious")
    with pytest.raises(OutputError, match=r"`memory://maps/mask\.tif` exists") as caught:
        mapped(scene, "memory://maps/mask.tif")
    assert "--overwrite" in caught.value.hint
    assert objects() == {"maps/mask.tif": b"precious"}
    assert left_in(cache) == []
    mapped(scene, "memory://maps/mask.tif", overwrite=True)
    assert objects()["maps/mask.tif"].startswith(b"II")
    assert is_there(placed("memory://maps/mask.tif"))
    assert not is_there(placed("memory://maps/other.tif"))


def test_a_bucket_that_refuses_is_found_out_before_the_work(make_scene, s3, cache):
    s3.refused = ("probe",)
    with pytest.raises(OutputError, match=r"`s3://maps` cannot be written \(PermissionError: Access Denied") as caught:
        mapped(make_scene(), "s3://maps/mask.tif", on_progress=lambda *_: pytest.fail("it began"))
    assert "credentials" in caught.value.hint
    assert "5ec2e7" not in caught.value.message
    assert objects(s3) == {}
    assert not cache.exists()


def test_who_may_write_but_not_remove_is_served(make_scene, s3):
    s3.refused = ("remove",)
    mapped(make_scene(), "s3://maps/mask.tif")
    assert "maps/mask.tif" in objects(s3)


def test_a_failed_upload_leaves_no_mask_and_the_same_command_goes_on(make_scene, s3, cache, tmp_path):
    scene = make_scene(height=600)
    mapped(scene, str(tmp_path / "mask.tif"))
    s3.refused = ("mask.tif",)
    with pytest.raises(
        OutputError, match=r"`s3://maps/mask\.tif` cannot be written \(OSError: the connection"
    ) as caught:
        mapped(scene, "s3://maps/mask.tif")
    assert "nothing was lost" in caught.value.hint
    assert "maps/mask.tif" not in objects(s3)
    assert "journal" in left_in(cache)
    assert {"maps/sure.tif", "maps/mask.qml"} <= set(objects(s3))  # ours, so they are not in our way
    s3.refused = ()
    facts = mapped(scene, "s3://maps/mask.tif")
    assert facts.resumed == 600
    assert objects(s3)["maps/mask.tif"] == (tmp_path / "mask.tif").read_bytes()
    assert left_in(cache) == ["mask.qml", "mask.tif", "mask.tif.aux.xml", "sure.tif"]  # the command discards them
    with pytest.raises(OutputError, match="exists"):
        mapped(scene, "s3://maps/mask.tif")


def test_what_another_put_there_after_a_failed_upload_is_kept(make_scene, s3):
    scene = make_scene()
    s3.refused = ("mask.tif",)
    with pytest.raises(OutputError, match="cannot be written"):
        mapped(scene, "s3://maps/mask.tif")
    s3.refused = ()
    s3().pipe_file("s3://maps/mask.qml", b"another's")
    with pytest.raises(OutputError, match=r"`s3://maps/mask\.qml` exists"):
        mapped(scene, "s3://maps/mask.tif")


def test_an_upload_that_was_cut_short_is_noticed(make_scene, s3):
    s3.cut_short = True
    with pytest.raises(OutputError, match=r"has 4 bytes after its upload instead of \d+") as caught:
        mapped(make_scene(), "s3://maps/mask.tif")
    assert "again" in caught.value.hint


def test_errors_of_a_stores_own_kind_are_told_too(make_scene, s3, monkeypatch):
    """botocore's errors are no OSError; they are known by name, once botocore is loaded."""
    import types

    module = types.ModuleType("botocore.exceptions")
    module.BotoCoreError = type("BotoCoreError", (Exception,), {})
    missing = type("NoCredentialsError", (module.BotoCoreError,), {})
    monkeypatch.setitem(sys.modules, "botocore", types.ModuleType("botocore"))
    monkeypatch.setitem(sys.modules, "botocore.exceptions", module)

    def refuse(*_):
        raise missing("Unable to locate credentials")

    monkeypatch.setattr(s3, "pipe_file", refuse)
    with pytest.raises(OutputError, match=r"NoCredentialsError: Unable to locate credentials"):
        mapped(make_scene(), "s3://maps/mask.tif")


@pytest.fixture
def place(tmp_path, monkeypatch):
    run = tmp_path / "runs" / "first"
    run.mkdir(parents=True)
    model = build_segmenter(ModelSpec(), bands=3, classes=4, seed=0).eval()
    bands = ("band_1", "band_2", "band_3")
    card = Card(ModelSpec(), legend_of(4), bands, (127.0,) * 3, (70.0,) * 3, 64, 0.5, "0", {"dtype": "uint8"})
    Bundle(model, card).save(run / "bundle.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["geosemi", "predict"])
    return tmp_path


def run(*words):
    return CliRunner().invoke(app, words)


def test_the_command_writes_everything_to_a_bucket(make_scene, place, cache):
    make_scene()
    at = "memory://maps"
    words = ["--confidence", f"{at}/sure.tif", "--polygons", f"{at}/map.gpkg", "--stac", f"{at}/items/mask.json"]
    done = run("predict", "scene.tif", "--out", f"{at}/mask.tif", *words, "--datetime", "2024-06-01")
    assert done.exit_code == 0, done.output
    assert f"mask          {at}/mask.tif\n" in done.stdout
    found = objects()
    assert {n.removeprefix("maps/") for n in found} == {
        "sure.tif", "mask.tif.aux.xml", "mask.qml", "mask.tif", "map.gpkg", "items/mask.json"
    }  # fmt: skip
    assert left_in(cache) == []
    item = json.loads(found["maps/items/mask.json"])
    assert item["assets"]["mask"]["href"] == "../mask.tif"
    assert item["links"] == []  # the scene and the model lie on this machine, where nobody will look for them
    assert "model" not in item["assets"]
    Path("map.gpkg").write_bytes(found["maps/map.gpkg"])
    assert len(pyogrio.read_dataframe("map.gpkg", layer="segments"))


def test_an_item_on_a_disk_names_the_mask_in_its_bucket(make_scene, place):
    make_scene()
    done = run(
        "predict", "scene.tif", "--out", "memory://maps/mask.tif", "--stac", "i.json", "--datetime", "2024-06-01"
    )
    assert done.exit_code == 0, done.output
    item = json.loads(Path("i.json").read_text())
    assert item["assets"]["mask"]["href"] == "memory://maps/mask.tif"
    assert item["links"][0]["href"] == "./scene.tif"


def test_of_several_scenes_a_bucket_is_a_folder_and_what_is_there_is_kept(make_scene, place):
    for name in ("a", "b"):
        make_scene(name=f"in/{name}.tif")
    wrong = run("predict", "in", "--out", "memory://maps/mask.tif")
    assert "`memory://maps/mask.tif` is no folder" in wrong.exception.message
    assert "memory://maps/mask" in wrong.exception.hint
    assert run("predict", "in", "--out", "memory://maps/2024").exit_code == 0
    assert {"maps/2024/a.tif", "maps/2024/b.tif"} <= set(objects())
    again = run("predict", "in", "--out", "memory://maps/2024")
    assert again.exit_code == 0
    assert again.stderr.count("which exists") == 2
    assert "kept     memory://maps/2024/a.tif" in again.stderr


def test_polygons_go_to_a_bucket_in_every_format(make_scene, place, cache):
    make_scene()
    assert run("predict", "scene.tif", "--out", "mask.tif").exit_code == 0
    for name in ("map.gpkg", "map.fgb", "map.shp"):
        done = run("vectorize", "mask.tif", "--out", f"memory://maps/{name}")
        assert done.exit_code == 0, done.output
        assert done.stdout.startswith(f"memory://maps/{name}: ")
    assert {f"maps/map{s}" for s in (".gpkg", ".fgb", ".shp", ".shx", ".dbf", ".prj", ".cpg")} <= set(objects())
    assert left_in(cache) == []
    wrong = run("vectorize", "mask.tif", "--out", "memory://maps/map.dwg")
    assert "`memory://maps/map.dwg` has no known extension" in wrong.exception.message


def test_from_python_too(make_scene, cache, tmp_path):
    scene, bundle = make_scene(), bundle_of(TinySegmenter())
    facts = geosemi.predict(scene, bundle, out="memory://maps/mask.tif", device="cpu", tile=32)
    assert facts.files == ()
    assert facts.urls[-1] == "memory://maps/mask.tif"
    (tmp_path / "mask.tif").write_bytes(objects()["maps/mask.tif"])
    assert geosemi.vectorize(tmp_path / "mask.tif", "memory://maps/map.fgb") > 0
    assert "maps/map.fgb" in objects()
    assert left_in(cache) == []
    local = geosemi.predict(scene, bundle, out=f"file://{tmp_path}/b.tif", device="cpu", tile=32)
    assert local.files[-1] == tmp_path / "b.tif"
    assert local.urls == ()
    with pytest.raises(InputError):
        geosemi.predict(tmp_path / "gone.tif", bundle, out="memory://maps/c.tif")
