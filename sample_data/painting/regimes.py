"""Seasons and light: what the same town looks like on another day. Colours are sRGB, 0 … 255."""

from dataclasses import dataclass, field

from painting.canvas import Colour


@dataclass(frozen=True)
class Regime:
    """Sun, air and colours of one day.

    Attributes:
        azimuth: where the sun stands, degrees clockwise from north.
        elevation: degrees above the horizon.
        sun: red, green, blue of direct light on flat ground.
        sky: red, green, blue of the light that reaches shadows.
        haze: share of the air's own colour in every pixel.
        air: that colour.
        saturation: 1 leaves colours as they are.
        grass: fresh, plain and worn grass.
        trees: crowns; each tree draws one.
        conifer: needles.
        bare: share of leafless trees.
        crops: what fields carry, each a pair (row, gap).
        water: deep and shallow.
        frost: how white shaded grass is.
        litter: colour of fallen leaves, or None.
    """

    azimuth: float
    elevation: float
    sun: Colour
    sky: Colour
    grass: tuple[Colour, Colour, Colour]
    trees: tuple[Colour, ...]
    crops: tuple[tuple[Colour, Colour], ...]
    water: tuple[Colour, Colour]
    conifer: Colour = (50, 68, 48)
    haze: float = 0.03
    air: Colour = (190, 200, 215)
    saturation: float = 1.0
    bare: float = 0.0
    frost: float = 0.0
    litter: Colour | None = field(default=None)


REGIMES = {
    "summer": Regime(
        azimuth=152,
        elevation=55,
        sun=(0.84, 0.80, 0.72),
        sky=(0.19, 0.22, 0.28),
        grass=((98, 128, 62), (118, 138, 74), (146, 146, 92)),
        trees=((58, 88, 40), (70, 98, 46), (50, 78, 44), (84, 106, 52), (64, 84, 36), (96, 112, 58)),
        crops=(((104, 132, 60), (122, 128, 76)), ((128, 142, 70), (144, 140, 92)), ((138, 112, 84), (120, 96, 72))),
        water=((46, 70, 62), (84, 100, 70)),
    ),
    "dry": Regime(
        azimuth=222,
        elevation=40,
        sun=(0.92, 0.79, 0.58),
        sky=(0.18, 0.20, 0.24),
        grass=((132, 134, 72), (166, 154, 96), (190, 172, 118)),
        trees=((84, 98, 46), (98, 104, 52), (74, 88, 46), (118, 112, 58), (134, 112, 60)),
        crops=(((206, 182, 118), (188, 160, 102)), ((150, 118, 86), (128, 98, 72)), ((176, 160, 92), (160, 138, 84))),
        water=((74, 84, 56), (122, 116, 78)),
        conifer=(58, 74, 46),
        haze=0.06,
        air=(226, 210, 180),
    ),
    "spring": Regime(
        azimuth=130,
        elevation=48,
        sun=(0.33, 0.32, 0.29),
        sky=(0.55, 0.58, 0.61),
        grass=((120, 150, 72), (132, 156, 84), (150, 158, 104)),
        trees=((96, 124, 58), (112, 136, 70), (128, 142, 84), (86, 110, 62), (196, 182, 182), (140, 132, 104)),
        crops=(((206, 196, 74), (180, 182, 80)), ((124, 156, 78), (138, 148, 96)), ((142, 122, 100), (126, 106, 86))),
        water=((88, 102, 96), (118, 122, 102)),
        haze=0.19,
        air=(206, 210, 212),
        saturation=0.92,
        bare=0.08,
    ),
    # the two below have no labels: near enough to the others for a first guess, too far for it to be a good one
    "autumn": Regime(
        azimuth=206,
        elevation=29,
        sun=(0.91, 0.77, 0.57),
        sky=(0.19, 0.21, 0.27),
        grass=((100, 119, 60), (122, 129, 72), (146, 138, 89)),
        trees=(
            (180, 108, 44),
            (186, 138, 56),
            (150, 86, 46),
            (110, 106, 54),
            (88, 100, 48),
            (130, 118, 58),
            (100, 106, 50),
            (78, 92, 44),
        ),
        crops=(((120, 92, 68), (100, 76, 56)), ((136, 126, 76), (122, 106, 70)), ((112, 128, 64), (116, 104, 68))),
        water=((54, 76, 76), (88, 94, 74)),
        conifer=(54, 70, 46),
        haze=0.05,
        air=(220, 206, 190),
        litter=(164, 104, 52),
        bare=0.06,
    ),
    "winter": Regime(
        azimuth=164,
        elevation=21,
        sun=(0.85, 0.77, 0.67),
        sky=(0.24, 0.285, 0.37),
        grass=((104, 116, 76), (120, 126, 88), (146, 140, 106)),
        trees=((94, 92, 66), (90, 84, 64), (108, 98, 72), (112, 100, 82)),
        crops=(((112, 94, 80), (92, 78, 68)), ((128, 128, 96), (112, 104, 84)), ((136, 124, 104), (116, 106, 92))),
        water=((60, 80, 90), (96, 104, 104)),
        conifer=(52, 68, 54),
        haze=0.06,
        air=(196, 208, 230),
        saturation=0.97,
        bare=0.55,
        frost=0.20,
    ),
}
