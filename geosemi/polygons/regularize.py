"""Right angles for buildings: every wall parallel or square to the building's main direction.

Each polygon is changed by itself, so the coverage ends here: gaps and overlaps of a pixel or two appear between a
building and what is around it. What cannot be squared without losing its shape stays as it was.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from geosemi.polygons.rings import Shapes

Floats = npt.NDArray[np.float64]
Polygons = npt.NDArray[np.object_]
_LEAST_AGREEMENT = 0.7  # of the squared and the given polygon, intersection over union
_LEAST_CLEARANCE = 1e-3  # of the shortest wall
_DIRECTIONS = np.radians(np.arange(0, 90, 0.5))


@dataclass(frozen=True, slots=True)
class Squaring:
    """Which polygons are squared, and how.

    Attributes:
        values: classes.
        sides: width and height of a pixel, metres: angles are right on the ground.
        tolerance: in pixels; walls are at least so long, and steps of the boundary below it are not walls.
        room: columns and rows of the raster, beyond which no building may reach.
    """

    values: frozenset[int]
    sides: tuple[float, float]
    tolerance: float
    room: tuple[int, int]

    def __call__(self, shapes: Shapes) -> Shapes:
        """Return the shapes with those of the chosen classes squared where that is possible."""
        chosen = np.flatnonzero(np.isin(shapes.value, list(self.values)))
        if not len(chosen):
            return shapes
        points = shapes.corners * np.array(self.sides)
        polygons = shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, points, (shapes.rings, shapes.polygons)
        )  # fmt: skip
        least = self.tolerance * float(np.mean(self.sides))
        room = shapely.box(0, 0, *np.multiply(self.room, self.sides).tolist())
        polygons[chosen] = squared(polygons[chosen], least, room)
        # rows count downwards: what is displayed counter-clockwise runs clockwise in these coordinates
        polygons = shapely.orient_polygons(polygons, exterior_cw=True)
        _, corners, (rings, starts) = shapely.to_ragged_array(polygons)
        return Shapes(
            corners=np.clip(corners / np.array(self.sides), 0, self.room),  # a building cut off ends at the rim itself
            rings=rings.astype(np.int64),
            polygons=starts.astype(np.int64),
            value=shapes.value,
            n_px=shapes.n_px,
            tallies=shapes.tallies,
        )


def squared(polygons: Polygons, least: float, room: shapely.Polygon) -> Polygons:
    """Return polygons with right angles, or as they are where squaring would change them too much.

    Args:
        polygons: in a plane.
        least: shortest wall, in units of the plane.
        room: a rectangle that holds the polygons; what reaches beyond it is cut off.
    """
    outlines = shapely.simplify(polygons, least, preserve_topology=True)
    out = polygons.copy()
    for make in (_rectilinear, _rectangle):  # a rectangle only where the walls lead nowhere
        todo = np.flatnonzero(out == polygons)
        candidates = np.array([make(outlines[k], polygons[k], least) for k in todo.tolist()], dtype=object)
        if not len(todo):
            break
        candidates = _within(candidates, room)
        # what nearly touches itself would be invalid after the next rounding
        is_made = shapely.is_valid(candidates) & (shapely.minimum_clearance(candidates) > least * _LEAST_CLEARANCE)
        todo, candidates = todo[is_made], candidates[is_made]
        common = shapely.area(shapely.intersection(candidates, polygons[todo]))
        agreement = common / (shapely.area(candidates) + shapely.area(polygons[todo]) - common)
        good = agreement >= _LEAST_AGREEMENT
        out[todo[good]] = candidates[good]
    return out


def _within(candidates: Polygons, room: shapely.Polygon) -> Polygons:
    """Return candidates with what lies beyond the room cut off, or None where they are invalid or fall apart."""
    out = candidates.copy()
    out[~shapely.is_valid(out)] = None
    beyond = np.flatnonzero(shapely.is_valid(out) & ~shapely.covered_by(out, room))
    cut = shapely.intersection(out[beyond], room)
    cut[shapely.get_type_id(cut) != shapely.GeometryType.POLYGON] = None
    out[beyond] = cut
    return out


def direction(outline: shapely.Polygon) -> float:
    """Return the direction, 0 … π/2, in which a polygon's outline is shortest when walked along and across only."""
    edges = np.diff(shapely.get_coordinates(shapely.get_exterior_ring(outline)), axis=0)
    lengths, angles = np.hypot(*edges.T), np.arctan2(edges[:, 1], edges[:, 0])
    apart = _DIRECTIONS[:, np.newaxis] - angles
    walks = (np.abs(np.cos(apart)) + np.abs(np.sin(apart))) @ lengths
    return float(_DIRECTIONS[np.argmin(walks)])


def _rectilinear(outline: shapely.Polygon, polygon: shapely.Polygon, least: float) -> shapely.Polygon | None:
    """Return a polygon whose walls follow the outline's in two directions; holes likewise, or as given."""
    angle = direction(outline)
    shell = _walls(shapely.get_coordinates(shapely.get_exterior_ring(outline)), angle, least)
    if shell is None:
        return None
    holes = [_walls(shapely.get_coordinates(ring), angle, least) for ring in outline.interiors]
    candidate = shapely.Polygon(shell, [h for h in holes if h is not None])
    return candidate if candidate.is_valid else shapely.Polygon(shell, [r.coords for r in polygon.interiors])


def _rectangle(outline: shapely.Polygon, polygon: shapely.Polygon, _least: float) -> shapely.Polygon | None:
    """Return a rectangle in the main direction, with the polygon's area and centre."""
    turn = _turn(direction(outline))
    points = shapely.get_coordinates(outline) @ turn
    size = np.ptp(points, axis=0)
    if len(polygon.interiors) or not size.all():
        return None
    half = size / 2 * np.sqrt(polygon.area / size.prod())
    centre = shapely.get_coordinates(polygon.centroid)[0] @ turn
    corners = centre + half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    return shapely.Polygon(corners @ turn.T)


def _turn(angle: float) -> Floats:
    """Return the matrix that takes row vectors into axes along and across a direction."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])


def _walls(ring: Floats, angle: float, least: float) -> Floats | None:
    """Return a ring of walls along and across a direction, or None where fewer than four are left."""
    turn = _turn(angle)
    points = ring @ turn
    edges, middles = np.diff(points, axis=0), (points[1:] + points[:-1]) / 2
    is_across = np.abs(edges[:, 1]) > np.abs(edges[:, 0])
    if is_across.all() or not is_across.any():
        return None
    # begin where the direction changes, so that no wall is cut in two
    start = int(np.flatnonzero(is_across != np.roll(is_across, 1))[0])
    edges, middles = np.roll(edges, -start, axis=0), np.roll(middles, -start, axis=0)
    is_across = np.roll(is_across, -start)
    number = np.cumsum(np.append(False, is_across[1:] != is_across[:-1]))
    axis = is_across.astype(int)  # a wall across lies at an x, one along at a y
    weight = np.abs(np.take_along_axis(edges, axis[:, None], axis=1)[:, 0])
    place = np.take_along_axis(middles, 1 - axis[:, None], axis=1)[:, 0]
    weights: Floats = np.bincount(number, weights=weight).astype(np.float64)
    places: Floats = np.bincount(number, weights=weight * place) / weights
    walls = _merged(places, weights, least)
    if walls is None:
        return None
    # walls alternate: each corner takes one coordinate from the wall before and one from the wall after
    after = np.roll(walls, -1)
    is_along = (np.arange(len(walls)) % 2 == 0) ^ bool(axis[0])
    x, y = np.where(is_along, after, walls), np.where(is_along, walls, after)
    corners: Floats = np.stack([x, y], axis=1) @ turn.T
    return corners


def _merged(places: Floats, weights: Floats, least: float) -> Floats | None:
    """Take out walls that are too short, the shortest first: the two walls beside one become one."""
    while len(places) >= 4:
        lengths = np.abs(np.roll(places, -1) - np.roll(places, 1))
        k = int(np.argmin(lengths))
        if lengths[k] >= least:
            return places
        places, weights = np.roll(places, 1 - k), np.roll(weights, 1 - k)  # now the short wall is number 1
        total = weights[0] + weights[2]
        place = (places[0] * weights[0] + places[2] * weights[2]) / total
        places, weights = np.append(place, places[3:]), np.append(total, weights[3:])
        # an odd number of steps was turned: keep walls of one direction at even places
        if (1 - k) % 2:
            places, weights = np.roll(places, 1), np.roll(weights, 1)
    return None
