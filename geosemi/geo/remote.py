"""Rasters behind a URL. Only a `Remote`, made from what the user typed, widens the opener; a path never does."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urljoin

from geosemi.errors import UnsafeInput

# what the user may type → how GDAL calls it; everything else is a path
_SCHEMES = {"http://": "/vsicurl/http://", "https://": "/vsicurl/https://", "s3://": "/vsis3/", "gs://": "/vsigs/"}
_TYPED = re.compile(r"(/vsicurl/https?://|/vsis3/|/vsigs/)[^/]")
# GDAL's file systems nest (`/vsizip//vsicurl/…`); behind an allowed beginning none may follow
_NESTED = re.compile(r"/vsi\w+[/?{]")


@dataclass(frozen=True, slots=True)
class Remote:
    """A raster on a web server or in a bucket. Make it with `parse`.

    Attributes:
        vsi: GDAL's name for it, e.g. `/vsicurl/https://…`.
    """

    vsi: str

    @classmethod
    def parse(cls, text: str) -> "Remote | None":
        """Understand `https://…`, `s3://…`, `gs://…`, `/vsicurl/…`, `/vsis3/…`, `/vsigs/…`; None for anything else.

        Raises:
            UnsafeInput: another of GDAL's virtual file systems hides in it.
        """
        known = next((scheme for scheme in _SCHEMES if text.lower().startswith(scheme)), None)
        vsi = text if known is None else _SCHEMES[known] + text[len(known) :]
        begin = _TYPED.match(vsi)
        if begin is None:
            return None
        if _NESTED.search(vsi, begin.end()):
            raise UnsafeInput(
                f"`{text}` hides one file system in another", hint="give the plain URL of a GeoTIFF, or download it"
            )
        return cls(vsi)

    @property
    def url(self) -> str:
        """The URL as one would type it."""
        for scheme, prefix in _SCHEMES.items():
            if self.vsi.startswith(prefix):
                return scheme + self.vsi[len(prefix) :]
        return self.vsi

    @property
    def name(self) -> str:
        """The last part of the path, without a query."""
        return PurePosixPath(self.url.partition("?")[0]).name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The name's suffix, with its dot."""
        return PurePosixPath(self.name).suffix

    def join(self, href: str) -> "Remote | None":
        """Return what a document at this URL means by a link; None where that is no URL."""
        if Remote.parse(href) is not None:
            return Remote.parse(href)
        if "://" in href or href.startswith("/vsi"):
            return None
        # urljoin knows http alone; buckets follow the same rules
        scheme, _, rest = self.url.partition("?")[0].partition("://")
        joined = urljoin(f"http://{rest}", href)
        return Remote.parse(f"{scheme}://{joined.removeprefix('http://')}")

    def __str__(self) -> str:
        # what follows `?` may be a signature that gives access: it never gets into messages and tags
        return self.url.partition("?")[0]
