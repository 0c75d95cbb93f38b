"""GeoParquet 1.1: WKB, the crs as PROJJSON, a box a polygon so that readers can skip what lies elsewhere."""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyogrio.raw
import shapely
from pyproj import CRS

from geosemi.geo.grid import Grid
from geosemi.polygons.vectors import LAYER, PolygonLayer

_ROWS = 65_536  # of a row group: readers skip by groups
_SIDES = ("xmin", "ymin", "xmax", "ymax")


def to_geoparquet(layer: PolygonLayer, target: Path, grid: Grid) -> None:
    """Write a layer as GeoParquet 1.1, row group by row group."""
    pa, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")  # optional, and a second to load
    with pyogrio.raw.open_arrow(layer.path, layer=LAYER, use_pyarrow=True, batch_size=_ROWS) as (meta, batches):
        name = meta["geometry_name"] or "wkb_geometry"
        writer = None
        for batch in batches:
            table = _with_boxes(batch, name)
            if writer is None:
                schema = table.schema.with_metadata({"geo": json.dumps(_metadata(layer, grid))})
                writer = parquet.ParquetWriter(target, schema, compression="zstd")
            writer.write_table(pa.Table.from_batches([table]).replace_schema_metadata(schema.metadata))
        if writer is None:  # a layer without polygons is a file without rows
            empty = _with_boxes(pa.RecordBatch.from_pylist([], schema=batches.schema), name)
            schema = empty.schema.with_metadata({"geo": json.dumps(_metadata(layer, grid))})
            writer = parquet.ParquetWriter(target, schema, compression="zstd")
        writer.close()


def _with_boxes(batch: Any, geometry: str) -> Any:
    """Return the attributes, `geometry` and `bbox` of a batch."""
    pa = import_module("pyarrow")
    wkb = batch.column(geometry).cast(pa.binary())
    bounds = shapely.bounds(shapely.from_wkb(wkb.to_numpy(zero_copy_only=False)))
    bounds = np.empty((0, 4)) if not len(bounds) else bounds
    box = pa.StructArray.from_arrays([pa.array(side) for side in bounds.T], names=list(_SIDES))
    rest = {n: batch.column(n) for n in batch.schema.names if n not in (geometry, "fid", "OGC_FID")}
    return pa.RecordBatch.from_pydict({**rest, "geometry": wkb, "bbox": box})


def _metadata(layer: PolygonLayer, grid: Grid) -> dict[str, Any]:
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": [layer.kind],
        # null says that the crs is unknown; without the key it would be longitude and latitude
        "crs": None if grid.crs is None else CRS.from_user_input(grid.crs).to_json_dict(),
        "orientation": "counterclockwise",
        "covering": {"bbox": {side: ["bbox", side] for side in _SIDES}},
    }
    if layer.count:
        bounds = pyogrio.read_info(layer.path, layer=LAYER, force_total_bounds=True)["total_bounds"]
        column["bbox"] = [float(b) for b in bounds]
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
