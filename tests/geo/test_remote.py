"""URLs: only what the user typed, and of that only the one file. The server is on this machine."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from ground import noise

from geosemi.errors import SceneUnreadable, UnsafeInput
from geosemi.geo.raster import open_raster
from geosemi.geo.remote import Remote
from geosemi.geo.scene import Scene, reading
from geosemi.geo.window import Window


class Server:
    """`tests/ranges.py` in a process of its own: rasterio holds Python's lock while GDAL waits for the answer."""

    def __init__(self, folder: Path) -> None:
        script = Path(__file__).parents[1] / "ranges.py"
        self._process = subprocess.Popen([sys.executable, script, folder], stdout=subprocess.PIPE, text=True)
        self.port = int(self._process.stdout.readline())
        self._log = folder / "asked.log"

    @property
    def asked(self) -> list[str]:
        return self._log.read_text().split() if self._log.exists() else []

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    served = Server(tmp_path)
    yield served
    served.stop()


@pytest.mark.parametrize("prefix", ["", "/vsicurl/"])
def test_a_typed_url_gives_the_files_pixels(make_scene, server, prefix):
    image = noise(300, 280)
    local = make_scene(image=image, nodata=7, tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    remote = Remote.parse(prefix + server.address("scene.tif"))
    scene = Scene.open(remote)
    assert (scene.grid, scene.bands, scene.nodata) == (Scene.open(local).grid, Scene.open(local).bands, 7)
    assert (scene.path, scene.place, scene.files) == (Path("scene.tif"), remote, ())
    with reading(scene) as reader:
        tile = reader.read(Window(100, 90, 60, 70))
    np.testing.assert_array_equal(tile.image, image[:, 100:160, 90:160])
    assert {path.partition("?")[0] for path in server.asked} == {"/scene.tif"}  # no .ovr, no .aux.xml, no listing


def test_text_never_becomes_a_url(make_scene, server):
    make_scene()
    with pytest.raises(SceneUnreadable, match="does not exist"):
        Scene.open(server.address("scene.tif"))
    assert server.asked == []


def test_a_file_behind_a_url_cannot_send_elsewhere(make_scene, server):
    make_scene("trap.tif", tags={"OVERVIEWS": {"OVERVIEW_FILE": "/vsicurl/" + server.address("other.tif")}})
    make_scene("other.tif")
    with pytest.raises(UnsafeInput, match="names another file as its overview"):
        Scene.open(Remote.parse(server.address("trap.tif")))
    assert set(server.asked) == {"/trap.tif"}
    with rasterio.open(server.address("trap.tif")) as naive:  # control: plain rasterio goes there
        naive.overviews(1)
    assert "/other.tif" in server.asked


def test_a_missing_file_and_a_page_are_told_without_the_signature(tmp_path, server):
    (tmp_path / "page.tif").write_text("<html>please log in</html>")
    for name in ("none.tif?token=secret", "page.tif"):
        with pytest.raises(SceneUnreadable, match="cannot be opened") as caught:
            Scene.open(Remote.parse(server.address(name)))
        assert name.partition("?")[0] in caught.value.message
        assert "secret" not in caught.value.message
        assert "check the address and the connection" in caught.value.hint


def test_a_server_without_byte_ranges_is_told(make_scene, tmp_path):
    make_scene(image=noise(1500, 1500))  # of a small file GDAL puts up with the whole
    words = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            port = process.stdout.readline().split(" port ")[1].split()[0]
            with pytest.raises(SceneUnreadable, match="cannot be opened") as caught:
                Scene.open(Remote.parse(f"http://127.0.0.1:{port}/scene.tif"))
        finally:
            process.kill()
    assert "the server must answer byte ranges" in caught.value.hint
    assert "download the file" in caught.value.hint


def test_a_signed_url_opens(make_scene, server):
    make_scene()
    with open_raster(Remote.parse(server.address("scene.tif?token=a/b"))) as file:
        assert file.count == 3
    assert any("token=a/b" in path for path in server.asked)


@pytest.mark.parametrize("typed", ["s3://bucket/deep/scene.tif", "/vsis3/bucket/deep/scene.tif"])
def test_a_bucket_gives_the_files_pixels(make_scene, server, monkeypatch, typed):
    """A store that speaks S3 is a web server of files to a reader without keys."""
    image = noise(40, 30)
    make_scene("bucket/deep/scene.tif", image=image)
    settings = {"AWS_S3_ENDPOINT": f"127.0.0.1:{server.port}", "AWS_HTTPS": "NO", "AWS_NO_SIGN_REQUEST": "YES",
                "AWS_VIRTUAL_HOSTING": "FALSE"}  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    scene = Scene.open(Remote.parse(typed))
    with reading(scene) as reader:
        np.testing.assert_array_equal(reader.read(scene.grid.window).image, image)
    assert {path.partition("?")[0] for path in server.asked} == {"/bucket/deep/scene.tif"}


@pytest.mark.parametrize(
    ("typed", "vsi"),
    [
        ("https://a.org/b/c.tif", "/vsicurl/https://a.org/b/c.tif"),
        ("HTTP://a.org/c.tif", "/vsicurl/http://a.org/c.tif"),
        ("s3://bucket/deep/c.tif", "/vsis3/bucket/deep/c.tif"),
        ("gs://bucket/c.tif", "/vsigs/bucket/c.tif"),
        ("/vsis3/bucket/c.tif", "/vsis3/bucket/c.tif"),
        ("/vsicurl/https://a.org/c.tif", "/vsicurl/https://a.org/c.tif"),
    ],
)
def test_what_is_a_url(typed, vsi):
    remote = Remote.parse(typed)
    assert remote is not None
    assert (remote.vsi, remote.name, remote.stem, remote.suffix) == (vsi, "c.tif", "c", ".tif")
    assert Remote.parse(remote.url) == remote


@pytest.mark.parametrize(
    "typed",
    ["c.tif", "/data/c.tif", "file:///c.tif", "ftp://a/c.tif", "/vsizip/c.zip", "/vsicurl/ftp://a/c", "vrt://c.tif",
     "/vsimem/c.tif", "/vsicurl?url=http://a/c.tif", "https:///c.tif", "<VRTDataset/>", "/vsisubfile/0_9,/c.tif"],
)  # fmt: skip
def test_what_is_no_url(typed):
    assert Remote.parse(typed) is None


@pytest.mark.parametrize("typed", ["/vsis3//vsicurl/http://a/c.tif", "https://a.org/vsizip/c.tif", "s3://b/vsitar/x"])
def test_nested_file_systems_are_refused(typed):
    if typed.startswith("/vsis3//"):
        assert Remote.parse(typed) is None
        return
    with pytest.raises(UnsafeInput, match="hides one file system in another") as caught:
        Remote.parse(typed)
    assert "plain URL" in caught.value.hint


def test_links_of_a_remote_document():
    item = Remote.parse("s3://bucket/items/a/item.json")
    assert item.join("./B04.tif").url == "s3://bucket/items/a/B04.tif"
    assert item.join("../b/x.tif").url == "s3://bucket/items/b/x.tif"
    assert item.join("https://a.org/x.tif").url == "https://a.org/x.tif"
    assert item.join("file:///etc/passwd") is None
    assert item.join("/vsimem/x") is None
    page = Remote.parse("https://a.org/items/item.json?sig=1")
    assert page.join("x.tif").url == "https://a.org/items/x.tif"
