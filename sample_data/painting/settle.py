"""Where things go in a town: plots along roads, houses facing them, gardens, avenues, woods and traffic."""

import math

import numpy as np

from painting.buildings import Box, house, place
from painting.canvas import MARGIN, Array, Canvas, cover, smooth
from painting.cars import car, driveway, pool
from painting.ground import lawn, scaled
from painting.plants import hedge, tree
from painting.regimes import Regime
from painting.roads import Network, Road

_PALETTES = ("red", "red", "brown", "grey", "dark")


def plots(canvas: Canvas, net: Network, number: int, regime: Regime, *, sides: tuple[int, ...] = (-1, 1)) -> None:
    """Line a road with plots: a house with its garden every 15 to 21 metres, on the given sides (1 is right)."""
    road = net.roads[number]
    for side in sides:
        along = canvas.rng.uniform(2, 8)
        while along < road.length - 3:
            frontage = float(canvas.rng.uniform(15, 21))
            x, y, turn = road.at(along + frontage / 2)
            if _near(canvas, x, y):
                _plot(canvas, (x, y, turn + (0 if side > 0 else math.pi)), road.half + net.pavement, frontage, regime)
            along += frontage


def _near(canvas: Canvas, x: float, y: float) -> bool:
    return -MARGIN < x < canvas.width_m + MARGIN and -MARGIN < y < canvas.height_m + MARGIN


def _plot(canvas: Canvas, front: tuple[float, float, float], edge: float, frontage: float, regime: Regime) -> None:
    """Build one plot; the garden lies in the direction `front[2]` + 90°."""
    rng = canvas.rng
    x, y, turn = front
    depth = rng.uniform(24, 30)
    origin = Box(x, y, 1, 1, turn)
    half = (rng.uniform(4.8, min(7.2, frontage / 2 - 2.2)), rng.uniform(3.9, 5.2))
    setback = edge + rng.uniform(3.5, 6.5)
    home = origin.moved(rng.uniform(-1.2, 1.2), setback + half[1]).sized(*half)
    if not place(canvas, home, apart=2.2):
        return
    ground = origin.moved(0, edge + depth / 2).sized(frontage / 2, depth / 2)
    _garden(canvas, ground, regime)
    _drive(canvas, origin, home, edge, frontage)
    kind = str(rng.choice(("gable", "gable", "hip", "wing")))
    house(canvas, home, kind=kind, palette=str(rng.choice(_PALETTES)), storeys=float(rng.choice((1.2, 1.6, 2.0))))


def _garden(canvas: Canvas, ground: Box, regime: Regime) -> None:
    """Lawn, hedges, perhaps a pool, a vegetable patch or a shed behind the house."""
    rng = canvas.rng
    patch = canvas.around(ground.x, ground.y, ground.reach + 1)
    if patch is None:
        return
    open_ground = ~canvas.taken[patch.rows, patch.cols] & (canvas.height[patch.rows, patch.cols] == 0)
    lawn(canvas, cover(ground.distance(patch)) * open_ground, patch, regime)
    for end in (-1, 1):
        if rng.random() < 0.5:
            side = ground.moved(end * ground.along, rng.uniform(-0.1, 0.1)).sized(ground.across * 0.85, 0.5)
            hedge(canvas, Box(side.x, side.y, side.along, side.across, ground.angle + math.pi / 2), regime)
    if rng.random() < 0.6:
        hedge(canvas, ground.moved(0, ground.across).sized(ground.along, 0.6), regime)
    behind = ground.across * rng.uniform(0.35, 0.6)
    spot = ground.moved(rng.uniform(-0.4, 0.4) * ground.along, behind)
    fate = rng.random()
    if fate < 0.16 and regime.bare < 0.5:
        basin = spot.sized(rng.uniform(2.4, 4.0), rng.uniform(1.5, 2.2))
        if place(canvas, basin, apart=1.2):
            pool(canvas, basin)
    elif fate < 0.45:
        shed = spot.sized(rng.uniform(1.6, 2.4), rng.uniform(1.3, 1.8))
        if place(canvas, shed, apart=0.8):
            house(canvas, shed, kind="gable", palette=str(rng.choice(("brown", "grey", "dark"))), storeys=0.8)
    elif fate < 0.7:
        _beds(canvas, spot.sized(rng.uniform(2, 3.5), rng.uniform(1.5, 2.6)), regime)


def _beds(canvas: Canvas, box: Box, regime: Regime) -> None:
    """Dig vegetable beds: brown soil with green rows."""
    patch = canvas.around(box.x, box.y, box.reach + 1)
    if patch is None or not place(canvas, box, apart=0.5):
        return
    _, v = box.local(patch)
    rows = smooth(np.sin(v * (2 * math.pi / 0.9)) + 0.4 * canvas.noise("fine", patch), 0, 1)[..., None]
    soil, leaf = np.asarray(scaled((116, 90, 68))), np.asarray(scaled(regime.grass[0], 0.9))
    canvas.tint(patch, 0.9 * cover(box.distance(patch)), soil * (1 - rows) + leaf * rows)


def _drive(canvas: Canvas, origin: Box, home: Box, edge: float, frontage: float) -> None:
    """Pave the way to the house, often with a garage at its end and a car on it."""
    rng = canvas.rng
    end = float(rng.choice((-1, 1)))
    off = end * min(home.along + 2.2, frontage / 2 - 1.4)
    c, s = math.cos(home.angle), math.sin(home.angle)
    reach = (home.x - origin.x) * -s + (home.y - origin.y) * c
    stop = reach + rng.uniform(-1, 2)
    first, last = origin.moved(off, edge - 0.6), origin.moved(off, stop)
    driveway(canvas, (first.x, first.y), (last.x, last.y), width=2.9)
    if rng.random() < 0.5:
        garage = origin.moved(off, stop + 2.4).sized(1.7, 2.8)
        if place(canvas, garage, apart=0.1):
            house(canvas, garage, kind="hip", palette=str(rng.choice(_PALETTES)), storeys=0.9)
    if rng.random() < 0.55:
        spot = origin.moved(off, rng.uniform(edge + 2.6, max(edge + 2.7, stop - 2.6)))
        car(canvas, spot.x, spot.y, home.angle + math.pi / 2 + rng.normal(0, 0.03))


def traffic(canvas: Canvas, net: Network, number: int, *, gap: float, parked: float) -> None:
    """Put cars on the right lanes about every `gap` metres, and along the kerb on a share of the places."""
    rng = canvas.rng
    road = net.roads[number]
    for side in (-1, 1):
        along = rng.uniform(0, gap)
        while along < road.length:
            _on_road(canvas, net, number, along, side * road.half * 0.48)
            along += gap * rng.uniform(0.5, 1.5)
        for slot in np.arange(4, road.length, 5.8):
            if rng.random() < parked:
                _on_road(canvas, net, number, float(slot) + rng.normal(0, 0.2), side * (road.half - 1.05))


def _on_road(canvas: Canvas, net: Network, number: int, along: float, offset: float) -> None:
    road = net.roads[number]
    x, y, turn = road.at(along)
    x, y = x - math.sin(turn) * offset, y + math.cos(turn) * offset
    for i, other in enumerate(net.roads):
        if i != number and np.hypot(*(other.points - (x, y)).T).min() < other.half + 4.5:
            return
    if _near(canvas, x, y):
        car(canvas, x, y, turn + (math.pi if offset < 0 else 0) + canvas.rng.normal(0, 0.02))


def avenue(canvas: Canvas, road: Road, regime: Regime, *, offset: float, gap: float = 11.0) -> None:
    """Plant a row of trees along a road, on both sides."""
    rng = canvas.rng
    for side in (-1, 1):
        for along in np.arange(rng.uniform(0, gap), road.length, gap):
            x, y, turn = road.at(float(along) + rng.normal(0, 0.6))
            x, y = x - math.sin(turn) * side * offset, y + math.cos(turn) * side * offset
            plant(canvas, x, y, radius=float(rng.uniform(1.9, 3.0)), regime=regime, room=0.25)


def woods(canvas: Canvas, density: Array, regime: Regime, *, tries: int, sizes: tuple[float, float]) -> None:
    """Scatter trees where a density (h, w), 0 … 1, says so; they keep off roads, roofs and water."""
    rng = canvas.rng
    spots = np.stack(
        [rng.uniform(-MARGIN, canvas.width_m + MARGIN, tries), rng.uniform(-MARGIN, canvas.height_m + MARGIN, tries)],
        axis=1,
    )
    sizes_drawn = rng.uniform(*sizes, tries) * rng.uniform(0.75, 1.0, tries)
    keep: list[tuple[float, float, float]] = []
    for (x, y), radius in zip(spots.tolist(), sizes_drawn.tolist(), strict=True):
        patch = canvas.around(x, y, 0.1)
        if patch is None or rng.random() > float(density[patch.rows, patch.cols].mean()):
            continue
        if all(math.hypot(x - a, y - b) > 0.62 * (radius + r) for a, b, r in keep):
            keep.append((x, y, radius))
    for x, y, radius in sorted(keep, key=lambda k: k[2]):
        plant(canvas, x, y, radius=radius, regime=regime, room=0.62)


def plant(canvas: Canvas, x: float, y: float, *, radius: float, regime: Regime, room: float) -> None:
    """Grow a tree if a share `room` of its radius around the stem is free."""
    patch = canvas.around(x, y, radius + 0.5)
    if patch is None:
        return
    if canvas.is_free(patch, np.hypot(patch.x - x, patch.y - y) < room * radius + 0.2):
        tree(canvas, x, y, radius=radius, regime=regime)
