"""Drawing a garment with Pillow: silhouettes on a doubled grid, reduced with integer arithmetic only.

Coordinates are rounded to the grid before anything is drawn, masks are reduced by a box filter and pictures
are saved with run-length compression, so the bytes do not depend on the machine's maths library, fonts or
compressor's search.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from PIL import Image, ImageChops, ImageDraw

from cir_assets.datasets.wardrobe.garments import COLOURS, Garment

WIDTH, HEIGHT = 96, 128
"""Size of a picture in pixels; the ratio of 1.33 is above 1.25, so target padding has work to do."""

FACTOR = 2
"""Pictures are drawn this many times larger and reduced."""

BACKGROUNDS = (
    (236, 232, 226),
    (222, 228, 234),
    (232, 222, 218),
    (214, 222, 212),
    (240, 238, 240),
    (206, 206, 212),
)
RUN_LENGTH = 3
"""zlib's run-length strategy: its output does not depend on how matches are searched for."""

CORNERS = [(math.cos(i * math.pi / 8), math.sin(i * math.pi / 8)) for i in range(16)]
"""Corners of what stands for a disc of radius one."""

Point = tuple[float, float]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Pose:
    """How a garment lies in its picture: what varies between pictures of equal garments."""

    centre: Point
    size: float
    tilt: float
    light: int
    glow: Point
    background: Colour
    floor: int
    sway: float

    @classmethod
    def drawn(cls, random: Random) -> Pose:
        """A pose at random."""
        base = random.choice(BACKGROUNDS)
        shift = random.randrange(-14, 15)
        return cls(
            centre=(random.uniform(-7, 7), random.uniform(-6, 6)),
            size=random.uniform(0.84, 1.04),
            tilt=random.uniform(-0.14, 0.14),
            light=random.randrange(86, 112),
            glow=(random.uniform(-50, 50), random.uniform(-70, 40)),
            background=(base[0] + shift // 2, base[1] + shift // 2, base[2] + shift // 2),
            floor=random.randrange(200, 244),
            sway=random.uniform(-3, 3),
        )


def render(garment: Garment, random: Random) -> Image.Image:
    """A garment in a pose of its own, RGB, 96 x 128; equal garments never give equal pixels."""
    pose = Pose.drawn(random)
    size = (WIDTH * FACTOR, HEIGHT * FACTOR)
    picture = Image.new("RGB", size, pose.background)
    brush = ImageDraw.Draw(picture)
    brush.rectangle((0, pose.floor, size[0], size[1]), fill=_shade(pose.background, 92))
    # Shirts and tops are shorter than dresses; they are shown nearer.
    place = _Placement(pose, 1.0 if garment.category == "dress" else 1.12)
    parts = _silhouette(garment, pose)

    shadow = Image.new("L", size, 0)
    shade = ImageDraw.Draw(shadow)
    for outline in (parts.body, *parts.sleeves):
        shade.polygon([(x + 5, y + 6) for x, y in place(outline)], fill=70)
    picture.paste(_shade(pose.background, 70), (0, 0), shadow)

    mask = Image.new("L", size, 0)
    stencil = ImageDraw.Draw(mask)
    for outline in (*parts.sleeves, parts.body):
        stencil.polygon(place(outline), fill=255)
    stencil.polygon(place(parts.opening), fill=0)
    colour, accent = COLOURS[garment.colour], COLOURS[garment.accent]
    cloth = Image.new("RGB", size, colour)
    details = ImageDraw.Draw(cloth)
    _draw_pattern(details, garment, colour, accent, place, random, mask.getbbox() or (0, 0, 0, 0))
    _draw_details(details, garment, parts, colour, accent, place)
    picture.paste(cloth, (0, 0), mask)
    _draw_outlines(ImageDraw.Draw(picture), garment, parts, colour, place)
    return _lit(picture, pose).reduce(FACTOR)


def as_png(picture: Image.Image) -> bytes:
    """The picture as a PNG file's bytes, the same on every machine."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=6, compress_type=RUN_LENGTH)
    return buffer.getvalue()


class _Placement:
    """From the garment's own grid (origin at its middle) to the picture's, rounded to whole points."""

    def __init__(self, pose: Pose, scale: float) -> None:
        size = pose.size * scale
        self._cos, self._sin = math.cos(pose.tilt) * size, math.sin(pose.tilt) * size
        self._x, self._y = WIDTH * FACTOR / 2 + pose.centre[0], HEIGHT * FACTOR / 2 + pose.centre[1]

    def __call__(self, points: Sequence[Point]) -> list[tuple[int, int]]:
        return [
            (round(self._x + x * self._cos - y * self._sin), round(self._y + x * self._sin + y * self._cos))
            for x, y in points
        ]

    def reaches(self, x: float, y: float, radius: float, box: tuple[int, int, int, int]) -> bool:
        """Whether something that wide around a point may touch a box of the picture."""
        margin = 1.25 * radius + 2  # a garment is never drawn larger than 1.25 times its own grid
        across, down = self._x + x * self._cos - y * self._sin, self._y + x * self._sin + y * self._cos
        return box[0] - margin < across < box[2] + margin and box[1] - margin < down < box[3] + margin


@dataclass(frozen=True)
class _Silhouette:
    body: list[Point]
    sleeves: list[list[Point]]
    opening: list[Point]
    collar: list[list[Point]]
    waist: float
    hem: float
    half_waist: float
    top: float


def _silhouette(garment: Garment, pose: Pose) -> _Silhouette:
    dress = garment.category == "dress"
    shirt = garment.category == "shirt"
    loose = garment.fit == "loose"
    top = -92.0 if dress else -74.0
    shoulder = 34.0 if not shirt else 40.0
    chest = (33.0 if dress else 36.0) + (7 if loose else 0) + (3 if shirt else 0)
    waist_y = top + 62 if dress else top + 84
    half_waist = (20.0 if dress else 30.0) + (12 if loose else 0) + (6 if shirt else 0)
    step = {"short": 0, "regular": 1, "long": 2}[garment.length]
    hem = (22.0 + 38 * step) if dress else (22.0 + 24 * step)
    half_hem = ((42.0 if not loose else 62.0) + 5 * step) if dress else half_waist + (5 if loose else 1)
    sway = pose.sway
    body = [
        (-shoulder, top + 6),
        (-14, top),
        (14, top),
        (shoulder, top + 6),
        (chest, top + 34),
        (half_waist, waist_y),
        (half_hem + sway, hem),
        (sway, hem + (5 if dress else 3)),
        (-half_hem + sway, hem),
        (-half_waist, waist_y),
        (-chest, top + 34),
    ]
    reach = {"sleeveless": 0.0, "short": 30.0, "three-quarter": 62.0, "long": 92.0}[garment.sleeves]
    wide = 15.0 if loose else 11.0
    sleeves: list[list[Point]] = []
    if reach:
        for side in (-1, 1):
            out = 0.42 * reach
            sleeves.append(
                [
                    (side * (shoulder - 4), top + 4),
                    (side * (shoulder + 4), top + 10),
                    (side * (shoulder + out + 4), top + 10 + reach * 0.92),
                    (side * (shoulder + out + 4 - 2 * wide * 0.8), top + 14 + reach),
                    (side * (chest - 3), top + 38),
                ]
            )
    opening: list[Point]
    collar: list[list[Point]] = []
    if garment.neckline == "v":
        opening = [(-15, top - 4), (15, top - 4), (0, top + 34)]
    elif garment.neckline == "square":
        opening = [(-17, top - 4), (17, top - 4), (17, top + 18), (-17, top + 18)]
    elif garment.neckline == "round":
        opening = [
            (-16, top - 4),
            (16, top - 4),
            (15, top + 8),
            (9, top + 14),
            (0, top + 17),
            (-9, top + 14),
            (-15, top + 8),
        ]
    else:
        opening = [(-7, top - 4), (7, top - 4), (0, top + 12)]
        collar = [
            [(-16, top - 5), (-4, top - 3), (-1, top + 12), (-13, top + 15)],
            [(16, top - 5), (4, top - 3), (1, top + 12), (13, top + 15)],
        ]
    return _Silhouette(body, sleeves, opening, collar, waist_y, hem, half_waist, top)


def _draw_pattern(
    brush: ImageDraw.ImageDraw,
    garment: Garment,
    colour: Colour,
    accent: Colour,
    place: _Placement,
    random: Random,
    seen: tuple[int, int, int, int],
) -> None:
    """Draw the pattern over ``seen`` (left, top, right, bottom), beyond which the cloth is cut away."""
    start = random.randrange(0, 12)
    if garment.pattern == "striped":
        for y in range(-120 + start, 140, 18):
            brush.polygon(place([(-120, y), (120, y), (120, y + 8), (-120, y + 8)]), fill=accent)
    elif garment.pattern == "pinstriped":
        for x in range(-120 + start, 120, 13):
            brush.polygon(place([(x, -130), (x + 4, -130), (x + 4, 140), (x, 140)]), fill=accent)
    elif garment.pattern == "checked":
        middle = tuple((a + b) // 2 for a, b in zip(colour, accent, strict=True))
        for y in range(-120 + start, 140, 24):
            brush.polygon(place([(-120, y), (120, y), (120, y + 11), (-120, y + 11)]), fill=middle)
        for x in range(-120 + start, 120, 24):
            brush.polygon(place([(x, -130), (x + 11, -130), (x + 11, 140), (x, 140)]), fill=middle)
            for y in range(-120 + start, 140, 24):
                brush.polygon(place([(x, y), (x + 11, y), (x + 11, y + 11), (x, y + 11)]), fill=accent)
    elif garment.pattern == "dotted":
        for row, y in enumerate(range(-120 + start, 140, 15)):
            for x in range(-110 + 9 * (row % 2) + start // 2, 116, 18):
                if place.reaches(x, y, 5, seen):
                    _disc(brush, place, x, y, 4.6, accent)
    elif garment.pattern == "floral":
        heart = (250, 240, 190) if garment.accent != "yellow" else (255, 255, 250)
        for row, y in enumerate(range(-120 + start, 140, 26)):
            for x in range(-110 + 15 * (row % 2) + start, 116, 30):
                if not place.reaches(x, y, 12, seen):
                    continue
                for dx, dy in ((-5, -2), (5, -2), (0, -6), (-3, 4), (3, 4)):
                    _disc(brush, place, x + dx, y + dy, 4.0, accent)
                _disc(brush, place, x, y, 2.6, heart)


def _draw_details(
    brush: ImageDraw.ImageDraw,
    garment: Garment,
    parts: _Silhouette,
    colour: Colour,
    accent: Colour,
    place: _Placement,
) -> None:
    dark = _shade(colour, 62) if sum(colour) > 170 else _shade((120, 120, 126), 100)
    if garment.category == "shirt":
        brush.line(place([(0, parts.top + 10), (0, parts.hem + 6)]), fill=dark, width=2)
        for y in range(int(parts.top) + 22, int(parts.hem), 20):
            _disc(brush, place, 4, y, 2.2, dark)
    if garment.belt:
        at = parts.waist
        brush.polygon(place([(-90, at - 6), (90, at - 6), (90, at + 5), (-90, at + 5)]), fill=accent)
        brush.polygon(place([(-6, at - 8), (6, at - 8), (6, at + 7), (-6, at + 7)]), fill=(214, 180, 90))
        brush.polygon(place([(-3, at - 4), (3, at - 4), (3, at + 3), (-3, at + 3)]), fill=accent)
    if garment.pockets:
        at = parts.waist + (14 if garment.category == "dress" else -14)
        for side in (-1, 1):
            x = side * (parts.half_waist * 0.5 + 3)
            outline = [(x - 9, at), (x + 9, at), (x + 9, at + 15), (x, at + 19), (x - 9, at + 15)]
            brush.polygon(place(outline), fill=_shade(colour, 84) if sum(colour) > 170 else (70, 70, 78))
            brush.line(place([*outline, outline[0]]), fill=dark, width=2)
    if garment.print != "none":
        at = parts.top + 48
        plate = (248, 246, 240) if garment.accent not in ("white", "yellow", "pink") else (44, 42, 48)
        if garment.pattern != "plain":
            _disc(brush, place, 0, at, 19, plate)
        motif = accent if garment.pattern != "plain" or garment.accent != garment.colour else plate
        _draw_print(brush, garment.print, at, motif, plate if garment.pattern != "plain" else colour, place)


def _draw_print(
    brush: ImageDraw.ImageDraw, motif: str, y: float, colour: Colour, ground: Colour, place: _Placement
) -> None:
    if motif == "circle":
        _disc(brush, place, 0, y, 14, colour)
        _disc(brush, place, 0, y, 7, ground)
    elif motif == "moon":
        _disc(brush, place, 0, y, 14, colour)
        _disc(brush, place, 7, y - 4, 11, ground)
    elif motif == "heart":
        _disc(brush, place, -6.5, y - 5, 7.5, colour)
        _disc(brush, place, 6.5, y - 5, 7.5, colour)
        brush.polygon(place([(-13.5, y - 2), (13.5, y - 2), (0, y + 15)]), fill=colour)
    elif motif == "star":
        points = [
            (
                (16 if i % 2 == 0 else 6.5) * math.sin(i * math.pi / 5),
                y - (16 if i % 2 == 0 else 6.5) * math.cos(i * math.pi / 5),
            )
            for i in range(10)
        ]
        brush.polygon(place(points), fill=colour)
    else:
        brush.polygon(
            place([(4, y - 17), (-11, y + 3), (-2, y + 3), (-5, y + 17), (11, y - 4), (2, y - 4)]),
            fill=colour,
        )


def _draw_outlines(
    brush: ImageDraw.ImageDraw, garment: Garment, parts: _Silhouette, colour: Colour, place: _Placement
) -> None:
    line = _shade(colour, 66) if sum(colour) > 170 else (84, 84, 92)
    for outline in (*parts.sleeves, parts.body):
        brush.line(place([*outline, outline[0]]), fill=line, width=2)
    left, right, *below = [(x, max(y, parts.top)) for x, y in parts.opening]
    brush.line(place([right, *below, left]), fill=line, width=3)
    for flap in parts.collar:
        brush.polygon(place(flap), fill=_shade(colour, 112), outline=line)


def _disc(
    brush: ImageDraw.ImageDraw, place: _Placement, x: float, y: float, radius: float, colour: Colour
) -> None:
    # Sixteen corners rather than an ellipse: polygons are drawn alike by every Pillow.
    brush.polygon(place([(x + radius * cos, y + radius * sin) for cos, sin in CORNERS]), fill=colour)


def _lit(picture: Image.Image, pose: Pose) -> Image.Image:
    """Brighten towards the light, darken away from it, in whole percents."""
    ramp = _ramp(int(pose.glow[0]), int(pose.glow[1]))
    brightened = picture.point([min(255, value * pose.light // 100) for value in range(256)] * 3)
    darkened = brightened.point([value * 80 // 100 for value in range(256)] * 3)
    return Image.composite(brightened, darkened, ramp)


def _ramp(x: int, y: int) -> Image.Image:
    gradient = _gradient()
    size = (WIDTH * FACTOR, HEIGHT * FACTOR)
    left, top = (256 - size[0]) // 2 - x // 2, -y // 4
    return ImageChops.invert(ImageChops.offset(gradient, -left, -top).crop((0, 0, *size)))


@cache
def _gradient() -> Image.Image:
    """Light falling off: 256 x 256, dark in the middle; made once, as making it costs as much as drawing."""
    return Image.radial_gradient("L")


def _shade(colour: Colour, percent: int) -> Colour:
    return (
        min(255, colour[0] * percent // 100),
        min(255, colour[1] * percent // 100),
        min(255, colour[2] * percent // 100),
    )
