"""The furniture of the built-in room: every object is a box with a material, so that its depth has a closed form.

World frame: REP 103, x east, y north, z up, metres, origin in the south-west corner on the floor.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

ROOM_SIZE_M = (5.6, 4.4, 2.6)
WINDOW_CENTRE_M = (5.55, 2.3, 1.55)
WINDOW_SIZE_M = (0.04, 1.7, 1.25)
CEILING_LAMP_CENTRE_M = (2.6, 2.3, 2.5)
FLOOR_LAMP_CENTRE_M = (0.55, 4.0, 1.45)

# A face is named by its outward normal in the box's own frame.
FACES = ("-x", "+x", "-y", "+y", "-z", "+z")
# The axes that run across and up a face's picture, for each axis its normal may lie on.
ACROSS = (1, 0, 0)
UP = (2, 2, 1)


@dataclass(frozen=True)
class Box:
    """A cuboid turned about the vertical by `yaw_rad`; `inward` marks the room itself, which is seen from within.

    `faces` overrides `material` face by face. `casts_shadow` is False for what is too small to matter.
    """

    centre_m: tuple[float, float, float]
    size_m: tuple[float, float, float]
    material: str
    yaw_rad: float = 0.0
    faces: dict[str, str] = field(default_factory=dict)
    inward: bool = False
    casts_shadow: bool = True

    def rotation(self) -> np.ndarray:
        """Return the (3, 3) float64 rotation from the box's own frame to the world."""
        cosine, sine = np.cos(self.yaw_rad), np.sin(self.yaw_rad)
        return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])

    def material_of(self, face: str) -> str:
        """Return the material's name on one of `FACES`."""
        return self.faces.get(face, self.material)


def _on(x: float, y: float, z_base: float, size_m: tuple[float, float, float], material: str, **options) -> Box:
    """Stand a box on the height `z_base`, centred over (x, y)."""
    return Box((x, y, z_base + size_m[2] / 2.0), size_m, material, **options)


def _group(x: float, y: float, yaw_rad: float, parts: list[Box]) -> list[Box]:
    """Move parts, given about the origin, to (x, y) and turn them together."""
    cosine, sine = np.cos(yaw_rad), np.sin(yaw_rad)
    moved = []
    for part in parts:
        px, py, pz = part.centre_m
        centre_m = (float(x + cosine * px - sine * py), float(y + sine * px + cosine * py), pz)
        moved.append(Box(centre_m, part.size_m, part.material, yaw_rad, part.faces, False, part.casts_shadow))
    return moved


def _table(width: float, depth: float, height: float, material: str) -> list[Box]:
    legs = [
        _on(sx * (width / 2 - 0.04), sy * (depth / 2 - 0.04), 0.0, (0.06, 0.06, height - 0.04), material)
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    return [_on(0.0, 0.0, height - 0.04, (width, depth, 0.04), material), *legs]


def _chair(material: str) -> list[Box]:
    legs = [
        _on(sx * 0.19, sy * 0.19, 0.0, (0.035, 0.035, 0.44), material, casts_shadow=False)
        for sx in (-1, 1)
        for sy in (-1, 1)
    ]
    back = [_on(0.0, 0.2, z, (0.40, 0.025, 0.09), material, casts_shadow=False) for z in (0.62, 0.80)]
    posts = [_on(sx * 0.19, 0.2, 0.46, (0.035, 0.035, 0.46), material, casts_shadow=False) for sx in (-1, 1)]
    return [_on(0.0, 0.0, 0.44, (0.44, 0.44, 0.03), material), *legs, *back, *posts]


def _sofa() -> list[Box]:
    seats = [_on(sx * 0.43, -0.06, 0.30, (0.84, 0.70, 0.16), "sofa") for sx in (-1, 1)]
    backs = [_on(sx * 0.43, 0.28, 0.46, (0.84, 0.18, 0.40), "sofa") for sx in (-1, 1)]
    arms = [_on(sx * 0.97, 0.0, 0.06, (0.20, 0.88, 0.56), "sofa") for sx in (-1, 1)]
    base = _on(0.0, 0.0, 0.06, (1.74, 0.86, 0.24), "sofa")
    rear = _on(0.0, 0.40, 0.06, (2.14, 0.10, 0.74), "sofa")
    return [base, *seats, *backs, *arms, rear]


def _bookshelf(rng: np.random.Generator) -> list[Box]:
    width, depth, height = 1.0, 0.30, 2.0
    carcass = [_on(sx * (width / 2 - 0.0125), 0.0, 0.0, (0.025, depth, height), "dark_wood") for sx in (-1, 1)]
    carcass.append(_on(0.0, depth / 2 - 0.005, 0.0, (width, 0.01, height), "dark_wood"))
    levels = np.linspace(0.06, height - 0.025, 6)
    carcass += [_on(0.0, 0.0, float(z), (width - 0.05, depth, 0.025), "dark_wood") for z in levels]
    books = []
    for level, floor in enumerate(levels[:-1]):
        x = -width / 2 + 0.03
        stop = width / 2 - float(rng.uniform(0.05, 0.45))
        while x < stop:
            thickness, tall = float(rng.uniform(0.025, 0.07)), float(rng.uniform(0.19, 0.30))
            size = (thickness - 0.002, float(rng.uniform(0.15, 0.22)), tall)
            material = f"book{int(rng.integers(6))}"
            books.append(_on(x + thickness / 2, 0.02, float(floor) + 0.025, size, material, casts_shadow=False))
            x += thickness
        if level % 2:
            books.append(_on(width / 2 - 0.14, 0.0, float(floor) + 0.025, (0.14, 0.12, 0.16), "pottery"))
    return carcass + books


def _walls() -> list[Box]:
    x, y, z = ROOM_SIZE_M
    shell = Box(
        (x / 2, y / 2, z / 2),
        ROOM_SIZE_M,
        "wall",
        faces={"-z": "floor", "+z": "ceiling", "+x": "warm_wall"},
        inward=True,
    )
    boards = [
        _on(x / 2, side, 0.0, (x, 0.03, 0.10), "white_paint", casts_shadow=False) for side in (0.015, y - 0.015)
    ] + [_on(side, y / 2, 0.0, (0.03, y, 0.10), "white_paint", casts_shadow=False) for side in (0.015, x - 0.015)]
    wx, wy, wz = WINDOW_CENTRE_M
    window = Box(WINDOW_CENTRE_M, WINDOW_SIZE_M, "window")
    sill = Box((wx - 0.06, wy, wz - 0.66), (0.22, 1.9, 0.04), "white_paint")
    curtains = [Box((wx - 0.10, wy + s * 1.02, 1.28), (0.10, 0.48, 2.30), "curtain") for s in (-1, 1)]
    door = [
        _on(0.02, 2.55, 0.0, (0.04, 0.90, 2.05), "white_paint", faces={"+x": "door"}),
        *[_on(0.025, 2.55 + s * 0.49, 0.0, (0.05, 0.08, 2.12), "white_paint") for s in (-1, 1)],
        _on(0.025, 2.55, 2.05, (0.05, 0.90, 0.07), "white_paint"),
        _on(0.075, 2.20, 1.02, (0.05, 0.12, 0.025), "metal", casts_shadow=False),
    ]
    pictures = [
        Box((1.55, y - 0.015, 1.62), (0.62, 0.03, 0.46), "dark_wood", faces={"-y": "landscape"}),
        Box((2.65, y - 0.015, 1.66), (0.46, 0.03, 0.62), "dark_wood", faces={"-y": "abstract"}),
    ]
    return [shell, *boards, window, sill, *curtains, *door, *pictures]


def build_room() -> list[Box]:
    """Return every box of the room; the first one is the room itself, seen from within."""
    rng = np.random.default_rng(7)
    rug = _on(2.45, 2.35, 0.0, (2.2, 1.5, 0.012), "rug", casts_shadow=False)
    table = [*_table(1.05, 0.60, 0.42, "wood"), _on(0.2, 0.05, 0.42, (0.27, 0.20, 0.05), "book1")]
    desk = [
        *_table(1.35, 0.65, 0.74, "wood"),
        _on(0.1, 0.12, 0.78, (0.52, 0.03, 0.33), "plastic", faces={"-y": "screen"}),
        _on(0.1, 0.12, 0.74, (0.18, 0.16, 0.04), "plastic"),
        _on(-0.45, 0.05, 0.74, (0.21, 0.28, 0.07), "book3"),
        _on(0.54, 0.0, 0.74, (0.08, 0.08, 0.10), "pottery"),
    ]
    cabinet = [
        _on(0.0, 0.0, 0.0, (1.5, 0.42, 0.52), "white_paint", faces={"-y": "drawers", "+z": "wood"}),
        _on(0.0, 0.05, 0.52, (0.30, 0.18, 0.05), "plastic"),
        _on(0.0, 0.05, 0.57, (1.05, 0.05, 0.60), "plastic", faces={"-y": "screen"}),
    ]
    kitchen = [
        _on(0.0, 0.0, 0.0, (2.2, 0.58, 0.86), "white_paint", faces={"+y": "drawers"}),
        _on(0.0, 0.01, 0.86, (2.24, 0.62, 0.04), "stone"),
        _on(0.0, -0.285, 0.90, (2.24, 0.015, 0.60), "tiles"),
        _on(0.6, -0.05, 0.90, (0.30, 0.24, 0.22), "metal"),
        _on(0.0, -0.13, 1.55, (2.2, 0.32, 0.65), "white_paint", faces={"+y": "drawers"}),
    ]
    cushions = _group(2.1, 3.78, 0.25, [_on(-0.62, 0.0, 0.46, (0.42, 0.14, 0.36), "cushion")])
    lamp = [
        _on(FLOOR_LAMP_CENTRE_M[0], FLOOR_LAMP_CENTRE_M[1], 0.0, (0.26, 0.26, 0.03), "metal"),
        _on(FLOOR_LAMP_CENTRE_M[0], FLOOR_LAMP_CENTRE_M[1], 0.03, (0.03, 0.03, 1.3), "metal", casts_shadow=False),
        Box(FLOOR_LAMP_CENTRE_M, (0.34, 0.34, 0.32), "lampshade", casts_shadow=False),
        Box(CEILING_LAMP_CENTRE_M, (0.45, 0.45, 0.16), "lampshade", casts_shadow=False),
    ]
    crate = _group(0.62, 3.15, 0.4, [_on(0.0, 0.0, 0.0, (0.40, 0.40, 0.38), "wicker")])
    return [
        *_walls(),
        rug,
        *_group(2.1, 3.88, 0.0, _sofa()),
        *cushions,
        *_group(2.35, 2.45, 0.06, table),
        *_group(4.45, 4.22, 0.0, _bookshelf(rng)),
        *_group(5.10, 2.0, -np.pi / 2, desk),
        *_group(4.40, 1.95, 1.9, _chair("dark_wood")),
        *_group(4.15, 3.35, -0.7, _chair("dark_wood")),
        *_group(0.26, 1.15, np.pi / 2, cabinet),
        *_group(3.9, 0.30, 0.0, kitchen),
        *lamp,
        *crate,
    ]
