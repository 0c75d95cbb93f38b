"""Roads: centre lines, joined into one surface with rounded corners, kerbs, pavements and markings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from painting.canvas import MARGIN, ROAD, STEP, Array, Canvas, Patch, cover, mix, smooth
from painting.ground import scaled

_COARSE = 4  # canvas pixels a node when distances are computed


@dataclass(frozen=True)
class Road:
    """A road along a smooth line.

    Attributes:
        points: (N, 2) x, y in metres, about a metre apart.
        half: half the carriageway's width.
        marked: whether a dashed line runs along the middle.
    """

    points: Array
    half: float
    marked: bool = False

    @property
    def length(self) -> float:
        """Metres from end to end."""
        return float(np.hypot(*np.diff(self.points, axis=0).T).sum())

    def at(self, along: float) -> tuple[float, float, float]:
        """Return x, y and direction (radians) at a distance from the start."""
        steps = np.hypot(*np.diff(self.points, axis=0).T)
        reached = np.concatenate([[0], np.cumsum(steps)])
        x, y = (float(np.interp(along, reached, self.points[:, i])) for i in (0, 1))
        n = int(np.clip(np.searchsorted(reached, along) - 1, 0, len(steps) - 1))
        dx, dy = self.points[n + 1] - self.points[n]
        return x, y, math.atan2(float(dy), float(dx))


def curve(*anchors: tuple[float, float], half: float, marked: bool = False) -> Road:
    """Lay a road through points (Catmull-Rom)."""
    p = np.asarray(
        [2 * np.subtract(anchors[0], 0) - anchors[1], *anchors, 2 * np.subtract(anchors[-1], 0) - anchors[-2]]
    )
    pieces = []
    for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False):
        n = max(2, int(math.hypot(*(c - b))))
        t = np.linspace(0, 1, n, endpoint=False)[:, None]
        pieces.append(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return Road(np.concatenate([*pieces, p[-2:-1]]).astype(np.float32), half, marked)


@dataclass(frozen=True)
class Network:
    """Roads seen from every canvas pixel.

    Attributes:
        roads: the roads.
        offsets: signed metres to each centre line, right of the direction of travel positive.
        along: metres from each road's start.
        edge: signed metres to the carriageway of all roads together, negative on it; corners are rounded.
        pavement: width of the pavement.
    """

    roads: tuple[Road, ...]
    offsets: tuple[Array, ...]
    along: tuple[Array, ...]
    edge: Array
    pavement: float

    def others(self, number: int) -> Array:
        """Return metres to the nearest carriageway of any other road."""
        far = np.full_like(self.edge, 1e3)
        for i, road in enumerate(self.roads):
            if i != number:
                far = np.minimum(far, np.abs(self.offsets[i]) - road.half)
        return far


def network(canvas: Canvas, roads: Sequence[Road], *, pavement: float) -> Network:
    """Measure the distances of all pixels to all roads."""
    measured = [_measure(canvas, road) for road in roads]
    edge = np.abs(measured[0][0]) - roads[0].half
    for road, (offset, along) in zip(roads[1:], measured[1:], strict=True):
        # side roads start on a middle line: corners are rounded on their side of the road only
        corner = smooth(along, 0.5 * roads[0].half, 1.1 * roads[0].half)
        edge = _join(edge, np.abs(offset) - road.half, 5.0, corner)
    return Network(tuple(roads), tuple(m[0] for m in measured), tuple(m[1] for m in measured), edge, pavement)


def measure_line(canvas: Canvas, road: Road) -> Array:
    """Return metres to a line without sign (h, w), for rivers and tracks."""
    return np.abs(_measure(canvas, road)[0])


def _measure(canvas: Canvas, road: Road) -> tuple[Array, Array]:
    """Return signed offset and distance along (h, w) of a road, computed on a coarse grid and interpolated."""
    ys, xs = (np.arange(-2, n // _COARSE + 3) * (_COARSE * STEP) - MARGIN for n in canvas.height.shape)
    x, y = xs[None, :], ys[:, None]
    best = np.full((len(ys), len(xs)), np.inf)
    side, along = np.zeros_like(best), np.zeros_like(best)
    start = 0.0
    for (ax, ay), (bx, by) in zip(road.points[:-1].tolist(), road.points[1:].tolist(), strict=True):
        dx, dy = bx - ax, by - ay
        length = math.hypot(dx, dy)
        t = np.clip(((x - ax) * dx + (y - ay) * dy) / length**2, 0, 1)
        squared = (x - ax - t * dx) ** 2 + (y - ay - t * dy) ** 2
        near = squared < best
        best = np.where(near, squared, best)
        side = np.where(near, dx * (y - ay) - dy * (x - ax), side)
        along = np.where(near, start + t * length, along)
        start += length
    side, along = np.where(side < 0, -1, 1), _refine(along, canvas)
    # behind a road's end the sign jumps far from the line, and interpolating across the jump would draw one there
    behind = _refine(np.sqrt(best), canvas) * np.where(_refine(side, canvas) < 0, -1, 1).astype(np.float32)
    beside = (along > 0.3) & (along < start - 0.3)
    return np.where(beside, _refine(np.sqrt(best) * side, canvas), behind), along


def _refine(coarse: Array, canvas: Canvas) -> Array:
    """Interpolate a coarse grid to the canvas."""
    for axis, n in enumerate(canvas.height.shape):
        place = (np.arange(n) + 0.5) / _COARSE + 2
        low = place.astype(int)
        share = (place - low).reshape((-1, 1) if axis == 0 else (1, -1))
        coarse = np.take(coarse, low, axis) * (1 - share) + np.take(coarse, low + 1, axis) * share
    return coarse.astype(np.float32)


def _join(first: Array, second: Array, radius: float, share: Array) -> Array:
    """Unite two signed distances and round the corner between them by a share (polynomial smooth minimum)."""
    blend = np.clip(radius - np.abs(first - second), 0, None) / radius
    return np.minimum(first, second) - blend**2 * (radius / 4) * share


def asphalt(canvas: Canvas, patch: Patch, shade: float) -> Array:
    """Return worn asphalt (h, w, 3): patches, stains and grain around a grey of `shade`, 0 … 1."""
    texture = 1 + 0.05 * canvas.noise("medium", patch) + 0.03 * canvas.noise("fine", patch)
    texture = texture + 0.02 * canvas.noise("grain", patch) + 0.03 * canvas.noise("coarse", patch)
    cast = np.asarray((1.01, 1.0, 0.985), np.float32)
    return shade * texture[..., None] * cast


def pave(canvas: Canvas, net: Network, *, shade: float, bridge: Array | None = None) -> None:
    """Paint carriageways, kerbs, pavements and markings.

    Args:
        canvas: what to paint on.
        net: the roads.
        shade: grey of the asphalt, 0 … 1.
        bridge: metres to the nearest shore (negative over water); there the road lies higher and has parapets.
    """
    whole = canvas.whole
    outer = net.edge - net.pavement
    verge = 0.6 * smooth(-outer + 0.3 * canvas.noise("medium", whole), -0.9, 0.1)
    canvas.tint(whole, verge, scaled((150, 138, 112)))
    slabs = 0.93 + 0.05 * canvas.noise("fine", whole) + 0.05 * canvas.noise("coarse", whole)
    if net.pavement:
        canvas.build(whole, cover(outer), slabs[..., None] * scaled((164, 159, 150)), label=ROAD, height=0.12)
    surface = asphalt(canvas, whole, shade)
    for road, offset in zip(net.roads, net.offsets, strict=True):
        wheels = np.exp(-(((np.abs(np.abs(offset) - road.half * 0.5) - 0.8) / 0.35) ** 2))
        surface = surface * (1 - 0.05 * wheels * (np.abs(offset) < road.half))[..., None]
    canvas.build(whole, cover(net.edge), surface, label=ROAD)
    kerb = cover(np.abs(net.edge) - 0.14)
    canvas.tint(whole, 0.6 * kerb, scaled((186, 182, 174)))
    for number, road in enumerate(net.roads):
        if road.marked:
            _mark(canvas, net, number)
    if bridge is not None:
        deck = (bridge < 2.5) & (outer < 0.4)
        canvas.height[deck] = 1.0
        canvas.label[deck] = ROAD
        rail = cover(np.abs(outer - 0.15) - 0.22) * (bridge < 2.5)
        canvas.build(whole, rail, scaled((188, 184, 176)), label=ROAD, height=2.0)
    canvas.taken |= outer < 0.3


def _mark(canvas: Canvas, net: Network, number: int) -> None:
    """Dashed middle line, edge lines, and a crossing where there is room for one."""
    whole = canvas.whole
    road, offset, along = net.roads[number], net.offsets[number], net.along[number]
    apart = net.others(number)
    worn = 0.72 + 0.14 * np.clip(canvas.noise("fine", whole), -2, 1.5)
    dashes = cover(np.abs(offset) - 0.11) * (along % 6 < 3)
    edges = cover(np.abs(np.abs(offset) - road.half + 0.35) - 0.08)
    paint = np.maximum(dashes * (apart > 5), edges * (apart > 4)) * worn
    where = canvas.rng.uniform(0.25, 0.75) * road.length
    stripes = (np.abs(along - where) < 1.6) & (np.abs(offset) < road.half - 0.4) & (apart > 5)
    bars = smooth(np.sin(offset * (2 * math.pi / 1.0)), -0.2, 0.2)
    paint = np.where(np.abs(along - where) < 2.6, 0, paint)
    paint = np.maximum(paint, stripes * bars * worn)
    canvas.tint(whole, paint.astype(np.float32), (0.92, 0.92, 0.90))


def track(canvas: Canvas, line: Road) -> None:
    """Paint an unpaved track with two ruts and grass between them."""
    whole = canvas.whole
    offset = np.abs(_measure(canvas, line)[0]) + 0.12 * canvas.noise("medium", whole)
    edge = offset - line.half
    soil = mix(scaled((168, 150, 118)), scaled((142, 124, 96)), smooth(canvas.noise("medium", whole), -1, 1))
    soil = soil * (1 + 0.05 * canvas.noise("fine", whole))[..., None]
    soil = mix(soil, scaled((132, 130, 88)), 0.55 * np.exp(-((offset / 0.35) ** 2)))
    canvas.build(whole, cover(edge), soil, label=ROAD)
    canvas.taken |= edge < 0.3
