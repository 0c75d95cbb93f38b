"""Houses: gable, hip, flat and L-shaped roofs with ridges, tiles, chimneys, windows and solar panels."""

import math
from dataclasses import dataclass

import numpy as np

from painting.canvas import BUILDING, Array, Canvas, Colour, Patch, cover, mix
from painting.ground import scaled

ROOFS: dict[str, tuple[Colour, ...]] = {
    "red": ((168, 92, 70), (182, 106, 80), (150, 78, 60), (190, 118, 92)),
    "brown": ((128, 98, 78), (112, 86, 70), (142, 112, 88)),
    "grey": ((122, 121, 120), (136, 134, 131), (106, 107, 110)),
    "dark": ((78, 77, 80), (92, 88, 86)),
    "flat": ((176, 172, 164), (150, 148, 143), (132, 130, 126), (196, 193, 186)),
    "green": ((110, 126, 104),),
}


@dataclass(frozen=True)
class Box:
    """A rectangle on the ground: centre, half sides (along, across) in metres, direction in radians."""

    x: float
    y: float
    along: float
    across: float
    angle: float

    def local(self, patch: Patch) -> tuple[Array, Array]:
        """Return coordinates (u along, v across) of a patch's pixels."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        dx, dy = patch.x - self.x, patch.y - self.y
        return dx * c + dy * s, dy * c - dx * s

    def distance(self, patch: Patch) -> Array:
        """Signed metres to the outline, negative inside."""
        u, v = self.local(patch)
        return np.maximum(np.abs(u) - self.along, np.abs(v) - self.across)

    @property
    def reach(self) -> float:
        """Metres from the centre to a corner."""
        return math.hypot(self.along, self.across)

    def moved(self, along: float, across: float) -> "Box":
        """Return the same box shifted in its own directions."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        return Box(
            self.x + along * c - across * s, self.y + along * s + across * c, self.along, self.across, self.angle
        )

    def sized(self, along: float, across: float) -> "Box":
        """Return a box of other half sides at the same place."""
        return Box(self.x, self.y, along, across, self.angle)


def place(canvas: Canvas, box: Box, *, apart: float) -> bool:
    """Claim the ground of a box and a strip around it; False (and nothing claimed) where something stands."""
    patch = canvas.around(box.x, box.y, box.reach + apart + 1)
    if patch is None:
        return False
    mask = box.distance(patch) < apart
    if not canvas.is_free(patch, mask):
        return False
    canvas.take(patch, box.distance(patch) < min(apart, 0.6))
    return True


def house(canvas: Canvas, box: Box, *, kind: str, palette: str, storeys: float = 1.5) -> None:
    """Build a pitched house: `gable`, `hip`, or `wing` (a gable with a second one across)."""
    patch = canvas.around(box.x, box.y, box.reach * 1.6 + 1)
    if patch is None:
        return
    rng = canvas.rng
    pitch = rng.uniform(0.5, 0.85)
    walls = 2.6 * storeys
    base = scaled(ROOFS[palette][rng.integers(len(ROOFS[palette]))], rng.uniform(0.92, 1.08))
    _pitched(canvas, patch, box, hip=kind == "hip", look=(base, walls, pitch))
    if kind == "wing":
        wing = box.moved(rng.choice((-1, 1)) * (box.along - box.across * 0.75), box.across * 0.8)
        turned = Box(wing.x, wing.y, box.across * 1.05, box.across * 0.72, box.angle + math.pi / 2)
        _pitched(canvas, patch, turned, hip=False, look=(base, walls, pitch), above=True)
        canvas.take(patch, turned.distance(patch) < 0.6)
    _fittings(canvas, box, walls + pitch * box.across, panels=bool(rng.random() < 0.2))


def _pitched(
    canvas: Canvas, patch: Patch, box: Box, *, hip: bool, look: tuple[Colour, float, float], above: bool = False
) -> None:
    base, walls, pitch = look
    u, v = box.local(patch)
    down_v = box.across - np.abs(v)
    down_u = box.along - np.abs(u)
    end = hip & (down_u < down_v)
    fall = np.where(end, down_u, down_v)
    height = walls + pitch * np.clip(fall, 0, None)
    edge = np.maximum(np.abs(u) - box.along, np.abs(v) - box.across)
    along_eaves = np.where(end, v, u)
    rows = 0.022 * np.sin(fall * (2 * math.pi / 0.62)) + 0.012 * np.sin(along_eaves * (2 * math.pi / 0.55))
    texture = 1 + rows + 0.035 * canvas.noise("fine", patch) + 0.04 * canvas.noise("medium", patch)
    colour = np.asarray(base, np.float32) * texture[..., None]
    ridge = np.abs(v) - 0.14
    ridge = np.where(np.abs(u) > box.along - (box.across if hip else 0), 1.0, ridge)
    if hip:
        ridge = np.minimum(ridge, np.where(down_u < box.across, np.abs(down_u - down_v) - 0.2, 1.0))
    colour = mix(colour, np.minimum(np.asarray(base) * 1.3 + 0.06, 1), 0.55 * cover(ridge))
    colour = mix(colour, np.asarray(base) * 0.55, 0.6 * cover(np.abs(edge + 0.14) - 0.13))
    alpha = cover(edge)
    if above:
        alpha = alpha * (height > canvas.height[patch.rows, patch.cols] - 0.02)
    c, s = math.cos(box.angle), math.sin(box.angle)
    slope_u, slope_v = np.where(end, -np.sign(u), 0) * pitch, np.where(end, 0, -np.sign(v)) * pitch
    slope = (slope_u * c - slope_v * s, slope_u * s + slope_v * c)
    canvas.build(patch, alpha, colour, label=BUILDING, height=height, slope=slope)


def _fittings(canvas: Canvas, box: Box, top: float, *, panels: bool) -> None:
    """Chimney, roof windows and sometimes solar panels."""
    rng = canvas.rng
    side = float(rng.choice((-1, 1)))
    if panels:
        array = box.moved(rng.uniform(-0.15, 0.15) * box.along, side * box.across * 0.5)
        array = array.sized(box.along * rng.uniform(0.45, 0.7), box.across * 0.32)
        patch = canvas.around(array.x, array.y, array.reach + 1)
        if patch is not None:
            u, v = array.local(patch)
            seams = np.maximum(cover(np.abs((u + 50) % 1.05 - 0.5) - 0.06), cover(np.abs((v + 50) % 1.7 - 0.8) - 0.06))
            canvas.tint(patch, cover(array.distance(patch)), mix(scaled((44, 52, 74)), scaled((96, 102, 118)), seams))
    for _ in range(rng.integers(0, 4)):
        window = box.moved(rng.uniform(-0.7, 0.7) * box.along, -side * box.across * rng.uniform(0.35, 0.6))
        window = window.sized(0.45, 0.6)
        patch = canvas.around(window.x, window.y, 2)
        if patch is not None:
            canvas.tint(patch, 0.85 * cover(window.distance(patch)), scaled((70, 80, 92)))
    chimney = box.moved(rng.uniform(-0.6, 0.6) * box.along, rng.uniform(-0.3, 0.3) * box.across).sized(0.45, 0.4)
    _block(canvas, chimney, scaled((134, 96, 82)), top + 0.6)


def _block(canvas: Canvas, box: Box, colour: Colour, height: float) -> None:
    patch = canvas.around(box.x, box.y, box.reach + 1)
    if patch is not None:
        alpha = cover(box.distance(patch))
        alpha = alpha * (canvas.label[patch.rows, patch.cols] == BUILDING)
        canvas.build(patch, alpha, colour, label=BUILDING, height=height)


def flat(canvas: Canvas, box: Box, *, storeys: float, palette: str = "flat") -> None:
    """Build a flat roof: parapet, gravel stains, seams, skylights and machines."""
    patch = canvas.around(box.x, box.y, box.reach + 2)
    if patch is None:
        return
    rng = canvas.rng
    top = 3.0 * storeys
    base = np.asarray(scaled(ROOFS[palette][rng.integers(len(ROOFS[palette]))]), np.float32)
    u, _ = box.local(patch)
    edge = box.distance(patch)
    texture = 1 + 0.05 * canvas.noise("medium", patch) + 0.02 * canvas.noise("fine", patch)
    texture = texture + 0.05 * canvas.noise("coarse", patch)
    colour = base * texture[..., None]
    colour = mix(colour, base * 0.86, 0.5 * cover(np.abs((u + 100) % 4.0 - 2) - 0.07))
    canvas.build(patch, cover(edge), colour, label=BUILDING, height=top)
    rim = cover(np.abs(edge + 0.2) - 0.2)
    canvas.build(patch, rim, np.minimum(base * 1.16, 0.95), label=BUILDING, height=top + 0.6)
    for _ in range(int(box.along * box.across / 22) + 1):
        spot = box.moved(rng.uniform(-0.75, 0.75) * box.along, rng.uniform(-0.65, 0.65) * box.across)
        spot = spot.sized(rng.uniform(0.5, 1.2), rng.uniform(0.5, 0.9))
        tone = (206, 210, 212) if rng.random() < 0.5 else (118, 120, 122)
        _block(canvas, spot, scaled(tone), top + rng.uniform(0.3, 1.3))
