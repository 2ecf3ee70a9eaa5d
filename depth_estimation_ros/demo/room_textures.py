"""Procedural surface colours of the built-in room: arrays of linear reflectance, drawn by numpy and OpenCV alone.

Every painter takes the height and width of a face in texels, the texel's edge in metres and a random generator,
and returns an (height, width, 3) float32 RGB array of linear values, 0 to 1 for surfaces, above 1 for what shines.
Row 0 is the upper edge of a vertical face.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Painter = Callable[[int, int, float, np.random.Generator], np.ndarray]


def _linear(colour: int) -> np.ndarray:
    """Turn 0xRRGGBB as seen on a screen into linear reflectance."""
    channels = np.array([colour >> 16, (colour >> 8) & 0xFF, colour & 0xFF], np.float32) / 255.0
    return channels**2.2


def _noise(height: int, width: int, cell_px: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise, (height, width) float32 of about unit spread, with cells of (rows, columns) texels."""
    rows, columns = max(2, int(height / cell_px[0]) + 2), max(2, int(width / cell_px[1]) + 2)
    coarse = rng.standard_normal((rows, columns)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def _tinted(colour: int, variation: np.ndarray) -> np.ndarray:
    return _linear(colour) * np.clip(1.0 + variation, 0.05, 2.0)[..., None].astype(np.float32)


def _plain(colour: int, mottle: float = 0.03, grain: float = 0.02) -> Painter:
    def paint(height: int, width: int, texel_m: float, rng: np.random.Generator) -> np.ndarray:
        broad = _noise(height, width, (0.5 / texel_m, 0.5 / texel_m), rng)
        fine = _noise(height, width, (0.012 / texel_m, 0.012 / texel_m), rng)
        return _tinted(colour, mottle * broad + grain * fine)

    return paint


def _grain(height: int, width: int, texel_m: float, rng: np.random.Generator) -> np.ndarray:
    """Return wood grain along the columns: long streaks and a few rings."""
    streaks = _noise(height, width, (0.008 / texel_m, 0.5 / texel_m), rng)
    rings = np.sin(9.0 * _noise(height, width, (0.08 / texel_m, 0.7 / texel_m), rng))
    return 0.10 * streaks + 0.07 * rings.astype(np.float32)


def _wood(colour: int) -> Painter:
    def paint(height: int, width: int, texel_m: float, rng: np.random.Generator) -> np.ndarray:
        if height > width:
            return np.ascontiguousarray(_tinted(colour, _grain(width, height, texel_m, rng)).transpose(1, 0, 2))
        return _tinted(colour, _grain(height, width, texel_m, rng))

    return paint


def _planks(height: int, width: int, texel_m: float, rng: np.random.Generator) -> np.ndarray:
    """Draw floor boards 12 cm wide and 1.4 m long, each board with its own tone."""
    rows = (np.arange(height) * texel_m / 0.12).astype(int)
    shift_m = rng.uniform(0.0, 1.4, rows.max() + 1)
    along = (np.arange(width)[None, :] * texel_m + shift_m[rows][:, None]) / 1.4
    tone = rng.normal(0.0, 0.11, (rows.max() + 1, int(along.max()) + 1)).astype(np.float32)
    image = _tinted(0xB07F4E, tone[rows[:, None], along.astype(int)] + _grain(height, width, texel_m, rng))
    gap_across = np.abs((np.arange(height) * texel_m / 0.12) % 1.0) < 0.03
    gap_along = (along % 1.0) < 0.004
    image[gap_across[:, None] | gap_along] *= 0.45
    return image


def _tiles(height: int, width: int, texel_m: float, rng: np.random.Generator) -> np.ndarray:
    edge_m = 0.10
    rows = (np.arange(height) * texel_m / edge_m).astype(int)
    columns = (np.arange(width) * texel_m / edge_m).astype(int)
    tone = rng.normal(0.0, 0.06, (rows.max() + 1, columns.max() + 1)).astype(np.float32)
    image = _tinted(0xC9D2CC, tone[rows[:, None], columns[None, :]])
    joint = ((np.arange(height) * texel_m) % edge_m < 0.006)[:, None] | ((np.arange(width) * texel_m) % edge_m < 0.006)
    image[joint] = _linear(0x8E8A82)
    return image


def _rug(height: int, width: int, texel_m: float, rng: np.random.Generator) -> np.ndarray:
    x = np.abs(np.arange(width) - width / 2)[None, :] * texel_m
    y = np.abs(np.arange(height) - height / 2)[:, None] * texel_m
    image = np.empty((height, width, 3), np.float32)
    image[:] = _linear(0x7B2F2C)
    diamond = (x * 1.3 + y * 1.9) % 0.32
    image[(diamond < 0.10) & (x > -1)] = _linear(0x2E3A57)
    image[(diamond < 0.035) & (x > -1)] = _linear(0xC9AE7C)
    edge = np.minimum(width * texel_m / 2 - x, height * texel_m / 2 - y)
    image[edge < 0.16] = _linear(0xBFA471)
    image[edge < 0.12] = _linear(0x5A2222)
    return image * (1.0 + 0.14 * _noise(height, width, (2, 2), rng))[..., None]


def _fabric(colour: int, stripe: float = 0.0) -> Painter:
    def paint(height: int, width: int, texel_m: float, rng: np.random.Generator) -> np.ndarray:
        weave = 0.09 * _noise(height, width, (1.5, 1.5), rng) + 0.06 * _noise(height, width, (30, 30), rng)
        checks = np.sign(
            np.sin(np.arange(width) * texel_m * 60)[None, :] * np.sin(np.arange(height) * texel_m * 60)[:, None]
        )
        return _tinted(colour, weave + stripe * checks.astype(np.float32))

    return paint


def _curtain(height: int, width: int, texel_m: float, rng: np.random.Generator) -> np.ndarray:
    phase = np.arange(width) * texel_m * 62.0 + 1.2 * _noise(1, width, (1, 20), rng)[0]
    folds = np.broadcast_to(0.28 * np.sin(phase).astype(np.float32), (height, width))
    return _tinted(0xA9987E, folds + 0.05 * _noise(height, width, (2, 2), rng))


def _panels(colour: int, columns: int, rows: int, handles: bool) -> Painter:
    """Draw a painted front with recessed panels: a dark line on two sides of each panel, a light one on the others."""

    def paint(height: int, width: int, texel_m: float, rng: np.random.Generator) -> np.ndarray:
        image = _plain(colour, 0.02, 0.01)(height, width, texel_m, rng)
        line = max(1, round(0.010 / texel_m))
        margin = max(line + 1, round((0.02 if handles else 0.10) / texel_m))
        for row in range(rows):
            for column in range(columns):
                top, bottom = height * row // rows + margin, height * (row + 1) // rows - margin
                left, right = width * column // columns + margin, width * (column + 1) // columns - margin
                image[top : top + line, left:right] *= 0.45
                image[top:bottom, left : left + line] *= 0.55
                image[bottom - line : bottom, left:right] *= 1.12
                image[top:bottom, right - line : right] *= 0.75
                if handles:
                    middle, y = (left + right) // 2, top + 4 * line
                    reach = max(3, round(0.06 / texel_m))
                    image[y : y + 2 * line, middle - reach : middle + reach] = _linear(0x55504A)
        return image

    return paint


def _picture(sky: int, ground: int) -> Painter:
    def paint(height: int, width: int, texel_m: float, rng: np.random.Generator) -> np.ndarray:
        image = _wood(0x2E2018)(height, width, texel_m, rng)
        frame, mount = max(2, round(0.025 / texel_m)), max(4, round(0.075 / texel_m))
        image[frame:-frame, frame:-frame] = _linear(0xE9E4D6)
        h, w = height - 2 * mount, width - 2 * mount
        hills = h * (0.5 + 0.10 * _noise(1, w, (1, w / 4), rng)[0])
        below = np.arange(h)[:, None] > hills[None, :]
        blotches = 0.35 * _noise(h, w, (h / 9, w / 9), rng)
        image[mount:-mount, mount:-mount] = np.where(
            below[..., None], _tinted(ground, blotches), _tinted(sky, blotches / 2)
        )
        return image

    return paint


def _window(height: int, width: int, texel_m: float, rng: np.random.Generator) -> np.ndarray:
    """Draw an overexposed view of sky over trees behind a white frame with one cross."""
    trees = np.arange(height)[:, None] > height * (0.62 + 0.07 * _noise(1, width, (1, 14), rng)[0][None, :])
    leaves = np.clip(1.0 + 0.5 * _noise(height, width, (5, 5), rng), 0.2, 2.0)[..., None]
    image = np.where(trees[..., None], _linear(0x87957A) * leaves * 1.5, _linear(0xF2F7FF) * 1.9).astype(np.float32)
    bar = max(2, round(0.05 / texel_m))
    frame = np.zeros((height, width), bool)
    frame[:bar], frame[-bar:], frame[:, :bar], frame[:, -bar:] = True, True, True, True
    frame[:, width // 2 - bar // 2 : width // 2 + bar // 2] = True
    frame[height // 3 : height // 3 + bar] = True
    image[frame] = _linear(0xD8D8D2) * 0.75
    return image


MATERIALS: dict[str, Painter] = {
    "wall": _plain(0xD9D2C3),
    "warm_wall": _plain(0xCDBFA2),
    "ceiling": _plain(0xEDEBE6, 0.015, 0.03),
    "white_paint": _plain(0xE6E3DC, 0.02, 0.01),
    "floor": _planks,
    "wood": _wood(0xA87445),
    "dark_wood": _wood(0x4E3424),
    "wicker": _fabric(0x9C7A4C, 0.25),
    "sofa": _fabric(0x6F7C86),
    "cushion": _fabric(0xC79A4B, 0.18),
    "curtain": _curtain,
    "rug": _rug,
    "tiles": _tiles,
    "stone": _plain(0x55575A, 0.12, 0.20),
    "metal": _plain(0x8B8D90, 0.03, 0.01),
    "plastic": _plain(0x232427, 0.02, 0.01),
    "pottery": _plain(0xB9573A, 0.10, 0.03),
    "screen": _plain(0x1B1D21, 0.30, 0.01),
    "window": _window,
    "door": _panels(0xDDD6C8, 2, 3, handles=False),
    "drawers": _panels(0xDAD5CA, 3, 2, handles=True),
    "landscape": _picture(0x9DB7CF, 0x5F6B35),
    "abstract": _picture(0xC96A3B, 0x23445E),
    "lampshade": _plain(0xFFE9C4, 0.0, 0.0),
    **{
        f"book{number}": _plain(colour, 0.04, 0.03)
        for number, colour in enumerate((0x7A1F1F, 0x1F3D6B, 0x2F5A38, 0xC2B59A, 0x3B2E4A, 0xB5802C))
    },
}

# Drawn as they are seen, whatever light falls on them; the factor is their brightness.
SHINING: dict[str, float] = {"window": 1.0, "lampshade": 1.5}
