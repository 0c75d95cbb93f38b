"""Grass, fields, water and lawns: everything flat that was there before the town."""

import math
from dataclasses import dataclass

import numpy as np

from painting.canvas import GRASS, WATER, Array, Canvas, Colour, Patch, cover, mix, smooth
from painting.regimes import Regime


def scaled(colour: Colour, factor: float = 1.0) -> Colour:
    """Turn 0 … 255 into 0 … 1, brightened by a factor."""
    return (colour[0] / 255 * factor, colour[1] / 255 * factor, colour[2] / 255 * factor)


def meadow(canvas: Canvas, regime: Regime) -> None:
    """Cover everything with grass: fresh and worn patches, tufts, frost."""
    whole = canvas.whole
    fresh, plain, worn = (scaled(c) for c in regime.grass)
    colour = mix(fresh, plain, smooth(canvas.noise("coarse", whole), -1.2, 1.2))
    colour = mix(colour, worn, 0.8 * smooth(canvas.noise("medium", whole), 0.3, 2.2))
    if regime.frost:
        colour = mix(colour, (0.80, 0.84, 0.90), regime.frost * smooth(canvas.noise("medium", whole), -0.8, 1.6))
    tufts = 1 + 0.055 * canvas.noise("fine", whole) + 0.03 * canvas.noise("grain", whole)
    canvas.colour[:] = colour * tufts[..., None]


def lawn(canvas: Canvas, inside: Array, patch: Patch, regime: Regime) -> None:
    """Give a plot its own grass: another freshness, perhaps the stripes of a mower."""
    rng = canvas.rng
    fresh, plain, worn = (np.asarray(scaled(c), np.float32) for c in regime.grass)
    base = fresh * rng.uniform(0.2, 1.0) + plain * rng.uniform(0, 0.6)
    base = base + worn * rng.uniform(0, 0.5)
    base = base / base.mean() * plain.mean() * rng.uniform(0.9, 1.08)
    texture = 1 + 0.04 * canvas.noise("fine", patch) + 0.02 * canvas.noise("grain", patch)
    if rng.random() < 0.35:
        turn = rng.uniform(0, math.pi)
        across = patch.x * math.cos(turn) + patch.y * math.sin(turn)
        texture = texture + 0.035 * np.sign(np.sin(across * (math.pi / rng.uniform(1.0, 1.6))))
    canvas.tint(patch, inside * np.float32(rng.uniform(0.45, 0.8)), base * texture[..., None])


@dataclass(frozen=True)
class Field:
    """A field: crop rows inside a region.

    Attributes:
        inside: signed distance (h, w) of the whole canvas, negative in the field.
        angle: direction of the rows, radians.
        crop: index into the regime's crops.
        spacing: metres between rows.
    """

    inside: Array
    angle: float
    crop: int
    spacing: float = 1.5


def field(canvas: Canvas, plan: Field, regime: Regime) -> None:
    """Paint a field with rows, tramlines, bald spots and a worn headland."""
    whole = canvas.whole
    row, gap = (scaled(c) for c in regime.crops[plan.crop % len(regime.crops)])
    across = -math.sin(plan.angle) * whole.x + math.cos(plan.angle) * whole.y
    across = across + 0.13 * canvas.noise("coarse", whole)
    wave = np.sin(across * (2 * math.pi / plan.spacing)) + 0.45 * canvas.noise("fine", whole)
    colour = mix(row, gap, smooth(wave, -0.9, 0.9) * 0.8)
    colour = mix(colour, scaled(regime.grass[2], 0.95), 0.5 * smooth(canvas.noise("medium", whole), 0.9, 2.6))
    colour = colour * (1 + 0.09 * canvas.noise("coarse", whole) + 0.035 * canvas.noise("grain", whole))[..., None]
    lane = np.abs((across + 3) % 15 - 7.5)
    tram = np.maximum(cover(np.abs(lane - 0.9) - 0.22), 0)
    colour = mix(colour, scaled(gap_of(gap), 1.0), 0.45 * tram)
    rough = plan.inside + 0.5 * canvas.noise("medium", whole)
    canvas.tint(whole, smooth(-rough, -0.5, 0.7), colour)
    swell = 0.16 * np.cos(across * (2 * math.pi / plan.spacing)) * (plan.inside < 0)
    canvas.slope_x -= math.sin(plan.angle) * swell
    canvas.slope_y += math.cos(plan.angle) * swell
    canvas.taken |= plan.inside < 0.5


def gap_of(colour: Colour) -> Colour:
    """Return the worn soil of a tramline, 0 … 255, from a gap colour 0 … 1."""
    return (colour[0] * 232, colour[1] * 222, colour[2] * 214)


def water(canvas: Canvas, shore: Array, regime: Regime, *, depth: float = 7.0) -> None:
    """Fill water where a signed distance (h, w) is negative: sandy bank, shallows, ripples.

    Args:
        canvas: what to paint on.
        shore: metres to the shore, negative in the water.
        regime: the day.
        depth: metres from the shore where it is as dark as it gets.
    """
    whole = canvas.whole
    deep, shallow = (scaled(c) for c in regime.water)
    bank = scaled(regime.grass[2], 0.86)
    edge = shore + 0.25 * canvas.noise("medium", whole)
    canvas.tint(whole, 0.75 * smooth(-edge, -2.4, -0.2), mix(bank, scaled((128, 112, 84)), smooth(-edge, -1.2, 0)))
    colour = mix(shallow, deep, smooth(-shore + 0.5 * canvas.noise("medium", whole), 0.0, depth))
    colour = mix(colour, scaled((78, 88, 46)), 0.35 * smooth(canvas.noise("medium", whole), 1.1, 2.4))
    across = whole.x * 0.82 + whole.y * 0.57 + 0.9 * canvas.noise("medium", whole)
    ripple = np.sin(across * (2 * math.pi / 1.7)) * smooth(canvas.noise("coarse", whole), -0.6, 1.4)
    colour = colour * (1 + 0.035 * ripple + 0.02 * canvas.noise("fine", whole))[..., None]
    glint = smooth(canvas.noise("fine", whole) + 0.5 * ripple, 2.3, 3.6)
    colour = mix(colour, (0.85, 0.88, 0.9), 0.35 * glint)
    canvas.build(whole, cover(shore), colour, label=WATER, height=-0.6)
    canvas.taken |= shore < 0.8


def pond(canvas: Canvas, x: float, y: float, *, radius: float, stretch: float = 1.4) -> Array:
    """Return the shore of a pond as a signed distance (h, w)."""
    whole = canvas.whole
    turn = canvas.rng.uniform(0, math.pi)
    u = (whole.x - x) * math.cos(turn) + (whole.y - y) * math.sin(turn)
    v = -(whole.x - x) * math.sin(turn) + (whole.y - y) * math.cos(turn)
    distance = (np.sqrt((u / stretch) ** 2 + v**2) - radius) * 0.9
    near = np.exp(-((distance / 12) ** 2))  # noise only near the shore, so that no second pond appears
    return distance + near * (0.4 * canvas.noise("medium", whole) + 1.7 * canvas.noise("coarse", whole))


def pitch(canvas: Canvas, x: float, y: float, *, angle: float, half: tuple[float, float], regime: Regime) -> None:
    """Paint a football pitch: striped grass with white lines."""
    patch = canvas.around(x, y, math.hypot(*half) + 3)
    if patch is None:
        return
    u = (patch.x - x) * math.cos(angle) + (patch.y - y) * math.sin(angle)
    v = -(patch.x - x) * math.sin(angle) + (patch.y - y) * math.cos(angle)
    a, b = half
    edge = np.maximum(np.abs(u) - a, np.abs(v) - b)
    stripes = 1 + 0.05 * np.sign(np.sin(u * (math.pi / 4))) + 0.03 * canvas.noise("fine", patch)
    colour = np.asarray(scaled(regime.grass[0]), np.float32) * stripes[..., None]
    colour = mix(colour, scaled(regime.grass[2]), 0.6 * np.exp(-((np.abs(u) - a + 4) ** 2 + v**2) / 9))
    canvas.build(patch, cover(edge - 2), colour, label=GRASS)
    ring = np.abs(np.hypot(u, v) - 0.22 * b * 2) - 0.08
    box = np.abs(np.maximum(a - 9 - np.abs(u), np.abs(v) - 0.5 * b)) - 0.08
    box = np.maximum(box, np.abs(u) - a)
    lines = np.minimum(np.minimum(np.abs(edge) - 0.08, np.maximum(np.abs(u) - 0.08, np.abs(v) - b)), ring)
    canvas.tint(patch, 0.8 * cover(np.minimum(lines, box)), (0.9, 0.92, 0.88))
    canvas.take(patch, edge < 3)
