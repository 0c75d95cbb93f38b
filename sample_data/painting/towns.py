"""Five kinds of places, each laid out as people would: roads first, then plots and lots, plants and traffic last."""

import math
from collections.abc import Callable

import numpy as np

from painting.buildings import Box, flat, house, place
from painting.canvas import Array, Canvas, smooth
from painting.cars import driveway, lot
from painting.ground import Field, field, meadow, pitch, pond, water
from painting.plants import hedge
from painting.regimes import Regime
from painting.roads import Network, curve, measure_line, network, pave, track
from painting.settle import avenue, plots, traffic, woods


def suburb(canvas: Canvas, regime: Regime) -> None:
    """A winding street with a side street, gardens on both sides, a park pond in a corner."""
    w, h, rng = canvas.width_m, canvas.height_m, canvas.rng
    meadow(canvas, regime)
    main = curve((-20, h * 0.36), (w * 0.28, h * 0.30), (w * 0.62, h * 0.44), (w + 20, h * 0.34), half=3.3, marked=True)
    x, y, _ = main.at(main.length * 0.52)
    side = curve((x, y), (x + 5, h * 0.68), (x - 6, h + 25), half=2.6)
    x, y, _ = main.at(main.length * 0.3)
    back = curve((x, y), (x - 4, h * 0.1), (x + 6, -25), half=2.4)
    shore = pond(canvas, w * 0.86, h * 0.86, radius=rng.uniform(11, 14))
    water(canvas, shore, regime, depth=6)
    net = network(canvas, [main, side, back], pavement=1.7)
    pave(canvas, net, shade=rng.uniform(0.46, 0.54))
    for number in (0, 2, 1):
        plots(canvas, net, number, regime)
    _finish(canvas, net, regime, shore, gardens=0.26)


def river(canvas: Canvas, regime: Regime) -> None:
    """A river with wooded banks, a bridge, houses on one side and fields on the other."""
    w, h, rng = canvas.width_m, canvas.height_m, canvas.rng
    meadow(canvas, regime)
    bed = curve((w * 0.70, -25), (w * 0.58, h * 0.25), (w * 0.68, h * 0.6), (w * 0.56, h + 25), half=1)
    shore = measure_line(canvas, bed) - 9.0 + 1.2 * canvas.noise("coarse", canvas.whole)
    east = canvas.whole.x - w * 0.62 + 0 * canvas.whole.y
    strip = np.maximum(-east + 20, -(shore - 9))
    field(canvas, Field(np.maximum(strip, canvas.whole.y - h * 0.50), 0.1, int(rng.integers(3))), regime)
    field(canvas, Field(np.maximum(strip, h * 0.66 - canvas.whole.y), 1.35, int(rng.integers(3)), 2.0), regime)
    water(canvas, shore, regime)
    main = curve((-20, h * 0.52), (w * 0.3, h * 0.56), (w * 0.7, h * 0.575), (w + 20, h * 0.60), half=3.4, marked=True)
    x, y, _ = main.at(main.length * 0.30)
    side = curve((x, y), (x + 2, h * 0.3), (x - 8, -25), half=2.6)
    net = network(canvas, [main, side], pavement=1.5)
    pave(canvas, net, shade=rng.uniform(0.46, 0.54), bridge=shore)
    plots(canvas, net, 0, regime)
    plots(canvas, net, 1, regime)
    _finish(canvas, net, regime, shore, gardens=0.22, banks=0.9)


def market(canvas: Canvas, regime: Regime) -> None:
    """A supermarket with its car park, blocks of flats, a road with an avenue, a rain pond."""
    w, h, rng = canvas.width_m, canvas.height_m, canvas.rng
    meadow(canvas, regime)
    main = curve(
        (-20, h * 0.60), (w * 0.4, h * 0.565), (w * 0.75, h * 0.575), (w + 20, h * 0.63), half=4.2, marked=True
    )
    x, y, _ = main.at(main.length * 0.2)
    side = curve((x, y), (x + 1, h * 0.80), (x - 5, h + 25), half=2.8)
    shore = pond(canvas, w * 0.90, h * 0.13, radius=rng.uniform(8, 10))
    water(canvas, shore, regime, depth=5)
    net = network(canvas, [main, side], pavement=2.0)
    pave(canvas, net, shade=rng.uniform(0.44, 0.52))
    turn = math.atan2(-0.035 * h, w * 0.4)
    cars = Box(w * 0.36, h * 0.385, 31, 13.8, turn)
    lot(canvas, cars, shade=rng.uniform(0.48, 0.56), share=rng.uniform(0.5, 0.75))
    _access(canvas, cars, net)
    shop = Box(w * 0.34, h * 0.12, 25, 12, turn)
    if place(canvas, shop, apart=0.5):
        flat(canvas, shop, storeys=2)
    for n in range(3):
        block = Box(w * (0.36 + 0.23 * n), h * 0.765 + 2.5 * (n % 2), 11.5, 5.6, turn * -0.5)
        if place(canvas, block, apart=1.5):
            _block(canvas, block, rng.random())
    plots(canvas, net, 1, regime, sides=(1,))
    avenue(canvas, main, regime, offset=main.half + net.pavement + 2.2, gap=9.5)
    _finish(canvas, net, regime, shore, gardens=0.20)


def farm(canvas: Canvas, regime: Regime) -> None:
    """The edge of a village: a few houses and a farm on a country road, a track, fields, a fish pond."""
    w, h, rng = canvas.width_m, canvas.height_m, canvas.rng
    meadow(canvas, regime)
    x, y = canvas.whole.x, canvas.whole.y
    main = curve((w * 0.30, -25), (w * 0.36, h * 0.35), (w * 0.28, h * 0.7), (w * 0.34, h + 25), half=2.9, marked=True)
    lane = curve((w * 0.33, h * 0.56), (w * 0.6, h * 0.53), (w + 20, h * 0.57), half=1.5)
    middle = measure_line(canvas, lane)
    fields = np.maximum(w * 0.36 + 37 - x + 0 * y, 3.5 - middle)
    crops = rng.permutation(3)
    field(canvas, Field(np.maximum(fields, y - h * 0.55), 0.0, int(crops[0])), regime)
    field(canvas, Field(np.maximum(fields, h * 0.55 - y), 1.45, int(crops[1]), 2.2), regime)
    shore = pond(canvas, w * 0.12, h * 0.14, radius=rng.uniform(9, 11))
    water(canvas, shore, regime, depth=5)
    track(canvas, lane)
    net = network(canvas, [main], pavement=0.0)
    pave(canvas, net, shade=rng.uniform(0.44, 0.52))
    yard = Box(w * 0.36 + 20, h * 0.22, 10, 9, 1.5)
    lot(canvas, yard, shade=0.58, share=0.25)
    _access(canvas, yard, net)
    for across, long, wide, palette in ((-16.5, 11, 5.5, "red"), (17, 10.5, 6, "grey")):
        barn = yard.moved(across, 0).sized(wide, long)
        barn = Box(barn.x, barn.y, long, wide, barn.angle + math.pi / 2)
        if place(canvas, barn, apart=0.3):
            house(canvas, barn, kind="gable", palette=palette, storeys=2.0)
    plots(canvas, net, 0, regime)
    border = Box(w * 0.75, h * 0.55 + 4, w * 0.16, 0.9, 0.04)
    hedge(canvas, border, regime, height=2.4)
    _finish(canvas, net, regime, shore, gardens=0.2, banks=0.55)


def town(canvas: Canvas, regime: Regime) -> None:
    """A whole small town on a river: two bridgeheads of streets, a market, a pitch, fields at the edge."""
    w, h, rng = canvas.width_m, canvas.height_m, canvas.rng
    meadow(canvas, regime)
    x, y = canvas.whole.x, canvas.whole.y
    bed = curve((w + 25, h * 0.10), (w * 0.80, h * 0.30), (w * 0.66, h * 0.62), (w * 0.70, h + 25), half=1)
    shore = measure_line(canvas, bed) - 10.0 + 1.4 * canvas.noise("coarse", canvas.whole)
    beyond = np.maximum(-(shore - 10), w * 0.74 - x + 0 * y)
    field(canvas, Field(np.maximum(beyond, h * 0.73 - y), 0.25, 0), regime)
    field(canvas, Field(np.maximum(beyond, y - h * 0.52), 1.2, 1, 2.0), regime)
    water(canvas, shore, regime, depth=8)
    main = curve((-20, h * 0.42), (w * 0.25, h * 0.47), (w * 0.55, h * 0.60), (w + 20, h * 0.63), half=3.8, marked=True)
    a, b = main.at(main.length * 0.25), main.at(main.length * 0.47)
    north = curve(a[:2], (a[0] + 4, h * 0.25), (a[0] - 6, -25), half=2.7)
    south = curve(b[:2], (b[0] - 6, h * 0.78), (b[0] - 2, h + 25), half=2.7)
    net = network(canvas, [main, north, south], pavement=1.8)
    pave(canvas, net, shade=rng.uniform(0.46, 0.5), bridge=shore)
    turn = math.atan2(0.13 * h, 0.3 * w)
    cars = Box(w * 0.47, h * 0.335, 21, 8.6, turn)
    lot(canvas, cars, shade=0.54, share=0.65)
    _access(canvas, cars, net)
    shop = Box(w * 0.50, h * 0.13, 19, 10, turn)
    if place(canvas, shop, apart=0.5):
        flat(canvas, shop, storeys=2)
    for n in (0, 1):
        block = Box(w * 0.655 - 6 * n, h * (0.09 + 0.19 * n), 10.5, 5.4, turn + 0.1)
        if place(canvas, block, apart=1.5):
            _block(canvas, block, 0.3 + 0.6 * n)
    pitch(canvas, w * 0.14, h * 0.80, angle=0.08, half=(24, 15), regime=regime)
    for number in range(3):
        plots(canvas, net, number, regime)
    avenue(canvas, main, regime, offset=main.half + net.pavement + 1.8, gap=10.5)
    _finish(canvas, net, regime, shore, gardens=0.24, banks=0.8)


PLACES: dict[str, Callable[[Canvas, Regime], None]] = {
    "suburb": suburb,
    "river": river,
    "market": market,
    "farm": farm,
    "town": town,
}


def _access(canvas: Canvas, box: Box, net: Network) -> None:
    """Pave the shortest way from a lot to a road."""
    points = np.concatenate([road.points for road in net.roads])
    nearest = points[np.hypot(*(points - (box.x, box.y)).T).argmin()]
    x, y = float(nearest[0]), float(nearest[1])
    away = math.hypot(x - box.x, y - box.y)
    share, start = 1 - (net.roads[0].half + 0.2) / away, (box.across - 0.6) / away
    stop = (box.x + (x - box.x) * share, box.y + (y - box.y) * share)
    driveway(canvas, (box.x + (x - box.x) * start, box.y + (y - box.y) * start), stop, width=6.0)


def _block(canvas: Canvas, box: Box, fate: float) -> None:
    if fate < 0.5:
        flat(canvas, box, storeys=3.5)
    else:
        house(canvas, box, kind="hip", palette="grey" if fate < 0.75 else "red", storeys=3.2)


def _finish(canvas: Canvas, net: Network, regime: Regime, shore: Array, *, gardens: float, banks: float = 0.5) -> None:
    """Traffic, bushes and trees in gardens, groves, and reeds and trees on the banks."""
    for number, road in enumerate(net.roads):
        traffic(canvas, net, number, gap=34 if road.marked else 60, parked=0.05 if road.marked else 0.14)
    near_road = smooth(-net.edge, -4.5, -2.5)
    grove = smooth(canvas.noise("coarse", canvas.whole), 1.0, 1.8) * 0.8
    bank = banks * smooth(-shore, -9, -1.5) * smooth(canvas.noise("medium", canvas.whole), -0.6, 0.8)
    density = np.clip(np.maximum(grove, gardens) - near_road, 0, 1)
    area = canvas.width_m * canvas.height_m
    woods(canvas, np.clip(bank - near_road, 0, 1), regime, tries=int(area / 9), sizes=(1.2, 3.6))
    woods(canvas, np.clip(gardens * 1.2 - near_road, 0, 1), regime, tries=int(area / 22), sizes=(0.6, 1.2))
    woods(canvas, density, regime, tries=int(area / 20), sizes=(1.5, 4.3))
