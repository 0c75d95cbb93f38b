"""Products of affine transforms. Affine 2 writes them with `*`, Affine 3 with `@` and warns of `*`: here both work."""

from typing import TypeVar

from affine import Affine

# numbers, or arrays of them
X = TypeVar("X")


def composed(outer: Affine, inner: Affine) -> Affine:
    """Return the transform that does `inner` first, then `outer`."""
    a, b, c, d, e, f = tuple(outer)[:6]
    g, h, i, j, k, m = tuple(inner)[:6]
    return Affine(a * g + b * j, a * h + b * k, a * i + b * m + c, d * g + e * j, d * h + e * k, d * i + e * m + f)


def applied(transform: Affine, x: X, y: X) -> tuple[X, X]:
    """Return where a transform takes points; numbers, or arrays of one shape."""
    a, b, c, d, e, f = tuple(transform)[:6]
    return x * a + y * b + c, x * d + y * e + f
