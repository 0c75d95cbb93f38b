"""Trees, bushes and hedges: crowns of many leaf clumps, cones, and bare twigs in winter."""

import math

import numpy as np

from painting.buildings import Box
from painting.canvas import TREE, Array, Canvas, Colour, Patch, cover, mix, smooth
from painting.ground import scaled
from painting.regimes import Regime


def tree(canvas: Canvas, x: float, y: float, *, radius: float, regime: Regime) -> None:
    """Grow a tree of the season at a place: leafy, coniferous or bare."""
    patch = canvas.around(x, y, radius * 1.35 + 0.5)
    if patch is None:
        return
    rng = canvas.rng
    if regime.litter is not None and rng.random() < 0.8:
        _litter(canvas, x, y, radius=radius * 1.9, colour=regime.litter)
    if rng.random() < 0.13:
        _conifer(canvas, patch, (x, y, radius * 0.85), scaled(regime.conifer, rng.uniform(0.85, 1.2)))
        return
    colour = scaled(regime.trees[rng.integers(len(regime.trees))], rng.uniform(0.86, 1.14))
    _crown(canvas, patch, (x, y, radius), colour, bare=bool(rng.random() < regime.bare))


def _crown(canvas: Canvas, patch: Patch, place: tuple[float, float, float], colour: Colour, *, bare: bool) -> None:
    x, y, radius = place
    rng = canvas.rng
    surface = np.full(patch.shape, -1.0, np.float32)
    shade = np.ones(patch.shape, np.float32)
    clumps = int(7 + 5 * radius)
    distance = np.sqrt(rng.random(clumps)) * radius * 0.82
    turn = np.arange(clumps) * 2.39996 + rng.uniform(0, 6.3)  # golden angle: clumps spread evenly
    size = radius * rng.uniform(0.26, 0.44, clumps)
    tone = rng.uniform(0.86, 1.14, clumps)
    for d, a, r, b in zip(distance, turn, size, tone, strict=True):
        away = (patch.x - x - d * math.cos(a)) ** 2 + (patch.y - y - d * math.sin(a)) ** 2
        top = 0.75 * math.sqrt(max(radius**2 - d**2, 0)) + np.sqrt(np.clip(r * r - away, 0, None))
        higher = (away < r * r) & (top > surface)
        surface = np.where(higher, top, surface)
        shade = np.where(higher, np.float32(b), shade)
    rough = canvas.noise("fine", patch)
    inside = surface - 0.12 * rough * radius**0.5
    alpha = smooth(inside, -0.05, 0.12) if not bare else smooth(inside, -0.05, 0.3) * np.clip(0.62 + 0.3 * rough, 0, 1)
    relief = np.clip(surface, 0, None) + (0.10 if not bare else 0.25) * rough
    slope_y, slope_x = np.gradient(relief.astype(np.float32), 0.125)
    deep = smooth(surface / radius, 0.05, 1.0)
    texture = shade * (0.80 + 0.28 * deep) * (1 + 0.07 * rough + 0.05 * canvas.noise("grain", patch))
    body = np.asarray(colour, np.float32) * texture[..., None]
    body = mix(
        body, np.asarray(colour) * np.asarray((1.2, 1.12, 0.8)), 0.25 * smooth(canvas.noise("medium", patch), 0, 2)
    )
    stem = radius * 0.9 + 1.0
    height = (
        stem + np.clip(surface, 0, None) if not bare else np.where(rough > -0.2, stem + np.clip(surface, 0, None), 0.5)
    )
    canvas.build(patch, alpha, body, label=TREE, height=height, slope=(_tame(slope_x), _tame(slope_y)))
    if bare:  # the crown is one thing, gaps between twigs included
        canvas.label[patch.rows, patch.cols][surface > 0.05 * radius] = TREE


def _tame(slope: Array) -> Array:
    """Limit slopes: leaves let light through, so crowns have no black sides."""
    return np.tanh(slope * 0.55) * 0.75


def _conifer(canvas: Canvas, patch: Patch, place: tuple[float, float, float], colour: Colour) -> None:
    x, y, radius = place
    rng = canvas.rng
    dx, dy = patch.x - x, patch.y - y
    turn = np.arctan2(dy, dx)
    arms = rng.integers(7, 12)
    reach = radius * (0.86 + 0.14 * np.cos(turn * arms + rng.uniform(0, 6)) + 0.06 * canvas.noise("fine", patch))
    away = np.hypot(dx, dy)
    rise = 1 - away / reach
    relief = rise * radius * 1.4 + 0.12 * np.cos(turn * arms * 2) * away
    slope_y, slope_x = np.gradient(relief.astype(np.float32), 0.125)
    texture = (0.72 + 0.5 * np.clip(rise, 0, 1)) * (1 + 0.1 * canvas.noise("fine", patch))
    body = np.asarray(colour, np.float32) * texture[..., None]
    height = 1.0 + np.clip(rise, 0, 1) * radius * 3.0
    canvas.build(patch, cover(away - reach), body, label=TREE, height=height, slope=(_tame(slope_x), _tame(slope_y)))


def _litter(canvas: Canvas, x: float, y: float, *, radius: float, colour: Colour) -> None:
    """Scatter fallen leaves on the ground around a tree."""
    patch = canvas.around(x, y, radius)
    if patch is None:
        return
    away = np.hypot(patch.x - x, patch.y - y) / radius
    flat = canvas.height[patch.rows, patch.cols] == 0
    dots = smooth(canvas.noise("fine", patch) - 1.4 * away, -0.6, 0.9) * flat
    canvas.tint(patch, 0.55 * dots * (away < 1), scaled(colour))


def hedge(canvas: Canvas, box: Box, regime: Regime, *, height: float = 1.7) -> None:
    """Plant a clipped hedge along a box."""
    patch = canvas.around(box.x, box.y, box.reach + 1)
    if patch is None:
        return
    rng = canvas.rng
    rough = canvas.noise("fine", patch)
    edge = box.distance(patch) + 0.1 * rough
    base = scaled(regime.conifer if rng.random() < 0.75 else regime.trees[-1], rng.uniform(0.95, 1.3))
    colour = np.asarray(base, np.float32) * (1 + 0.12 * rough)[..., None]
    alpha = cover(edge) * ~canvas.taken[patch.rows, patch.cols]
    slope_y, slope_x = np.gradient((0.16 * rough - 0.5 * smooth(edge, -0.6, 0)).astype(np.float32), 0.125)
    canvas.build(patch, alpha, colour, label=TREE, height=height, slope=(_tame(slope_x), _tame(slope_y)))
