"""Cars, parking lots, driveways and pools: the small things around houses and roads."""

import math

import numpy as np

from painting.buildings import Box
from painting.canvas import CAR, ROAD, WATER, Canvas, Colour, cover, mix
from painting.ground import scaled
from painting.roads import asphalt

_PAINTS: tuple[Colour, ...] = (
    (226, 226, 224),
    (214, 214, 212),
    (168, 171, 174),
    (120, 123, 126),
    (66, 68, 72),
    (44, 46, 50),
    (150, 46, 42),
    (50, 72, 116),
    (88, 112, 138),
    (176, 158, 128),
    (72, 92, 72),
)


def car(canvas: Canvas, x: float, y: float, angle: float) -> bool:
    """Park a car; False where another one stands."""
    rng = canvas.rng
    size = (rng.uniform(2.0, 2.4), rng.uniform(0.86, 0.96))
    if rng.random() < 0.08:
        size = (rng.uniform(2.9, 3.4), rng.uniform(1.0, 1.1))
    box = Box(x, y, *size, angle)
    patch = canvas.around(x, y, box.reach + 1)
    if patch is None or (canvas.label[patch.rows, patch.cols][box.distance(patch) < 0.3] == CAR).any():
        return False
    u, v = box.local(patch)
    round_off = 0.4
    corner = np.hypot(
        np.clip(np.abs(u) - size[0] + round_off, 0, None), np.clip(np.abs(v) - size[1] + round_off, 0, None)
    )
    edge = corner - round_off
    paint = np.asarray(scaled(_PAINTS[rng.integers(len(_PAINTS))], rng.uniform(0.92, 1.05)), np.float32)
    colour = np.broadcast_to(paint, (*patch.shape, 3)).copy()
    glass = scaled((52, 58, 66))
    cabin = np.maximum(np.abs(u + 0.18 * size[0]) - 0.62 * size[0], np.abs(v) - 0.86 * size[1])
    roof = np.maximum(np.abs(u + 0.22 * size[0]) - 0.36 * size[0], np.abs(v) - 0.68 * size[1])
    colour = mix(colour, glass, 0.9 * cover(cabin))
    colour = mix(colour, np.minimum(paint * 1.06 + 0.02, 1), cover(roof))
    height = np.where(cabin < 0, 1.45, 0.9)
    slope_v = np.clip(v / size[1], -1, 1) ** 3 * -0.5
    c, s = math.cos(angle), math.sin(angle)
    canvas.build(patch, cover(edge), colour, label=CAR, height=height, slope=(-slope_v * s, slope_v * c))
    return True


def lot(canvas: Canvas, box: Box, *, shade: float, share: float) -> None:
    """Pave a parking lot with rows of bays along the box and fill a share of them."""
    patch = canvas.around(box.x, box.y, box.reach + 2)
    if patch is None:
        return
    rng = canvas.rng
    u, v = box.local(patch)
    edge = box.distance(patch)
    canvas.build(patch, cover(edge), asphalt(canvas, patch, shade), label=ROAD)
    canvas.tint(patch, 0.6 * cover(np.abs(edge) - 0.14), scaled((186, 182, 174)))
    canvas.take(patch, edge < 0.3)
    rows = _bay_rows(box.across)
    half = box.along - 1.5
    for row in rows:
        stripe = cover(np.abs((u + half) % 2.6 - 0.05) - 0.07) * (np.abs(v - row) < 2.4) * (np.abs(u) < half + 0.1)
        canvas.tint(patch, 0.75 * stripe, (0.9, 0.9, 0.88))
        for slot in np.arange(-half + 1.3, half, 2.6):
            if rng.random() < share:
                spot = box.moved(float(slot) + rng.normal(0, 0.08), row + rng.normal(0, 0.18))
                turn = math.pi / 2 * rng.choice((-1, 1)) + rng.normal(0, 0.03)
                car(canvas, spot.x, spot.y, box.angle + turn)


def _bay_rows(half: float) -> list[float]:
    """Return the middles of bay rows across a lot: pairs of rows with 6 m lanes between them."""
    if half < 6:
        return [-half + 2.7]
    return [-half + 2.7, half - 2.7] + ([-2.6, 2.6] if half > 13.5 else [])


def driveway(canvas: Canvas, start: tuple[float, float], stop: tuple[float, float], *, width: float) -> None:
    """Pave a strip from a house to the road."""
    (ax, ay), (bx, by) = start, stop
    box = Box((ax + bx) / 2, (ay + by) / 2, math.hypot(bx - ax, by - ay) / 2, width / 2, math.atan2(by - ay, bx - ax))
    patch = canvas.around(box.x, box.y, box.reach + 1)
    if patch is None:
        return
    rng = canvas.rng
    tone = ((168, 162, 152), (148, 144, 138), (172, 148, 130))[rng.integers(3)]
    u, v = box.local(patch)
    texture = 1 + 0.04 * canvas.noise("fine", patch) + 0.03 * np.sin(u * 10) * np.sin(v * 10)
    colour = np.asarray(scaled(tone), np.float32) * texture[..., None]
    alpha = cover(box.distance(patch)) * (canvas.height[patch.rows, patch.cols] < 0.1)
    canvas.build(patch, alpha, colour, label=ROAD)
    canvas.take(patch, box.distance(patch) < 0.2)


def pool(canvas: Canvas, box: Box) -> None:
    """Sink a swimming pool with a paved rim."""
    patch = canvas.around(box.x, box.y, box.reach + 2)
    if patch is None:
        return
    edge = box.distance(patch)
    canvas.build(patch, cover(edge - 0.7), scaled((186, 176, 160)), label=ROAD)
    colour = np.asarray(scaled((92, 164, 178)), np.float32) * (1 + 0.04 * canvas.noise("fine", patch))[..., None]
    canvas.build(patch, cover(edge), colour, label=WATER)
    canvas.take(patch, edge < 1.0)
