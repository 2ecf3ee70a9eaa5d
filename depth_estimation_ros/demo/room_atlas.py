"""All faces of the built-in room painted, lit and packed into one picture, from which a frame is sampled."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from depth_estimation_ros.demo.room_layout import ACROSS, FACES, UP, Box
from depth_estimation_ros.demo.room_light import light_maps
from depth_estimation_ros.demo.room_textures import MATERIALS, SHINING

TEXEL_M = 0.006
WIDTH_PX = 4096
BORDER_PX = 4  # repeated round each face, so that neither filtering nor the smaller copies bleed
LEVELS = 3


@dataclass(frozen=True)
class Atlas:
    """The packed picture at full, half and quarter size, and where each face lies in the full one.

    `corner_px` (F, 2) is a face's upper left corner as (x, y); `texels_per_m` (F, 2) across and up.
    """

    levels: tuple[np.ndarray, ...]
    corner_px: np.ndarray
    texels_per_m: np.ndarray

    def sample(self, map_x: np.ndarray, map_y: np.ndarray, texels_per_pixel: np.ndarray) -> np.ndarray:
        """Return the (H, W, 3) float32 colours at atlas positions, blended between sizes by the pixel's footprint."""
        level = np.clip(np.log2(np.maximum(texels_per_pixel, 1.0)), 0.0, LEVELS - 1.0)
        image = np.zeros((*map_x.shape, 3), np.float32)
        for index, picture in enumerate(self.levels):
            shrink = 2.0**-index
            x = ((map_x + 0.5) * shrink - 0.5).astype(np.float32)
            y = ((map_y + 0.5) * shrink - 0.5).astype(np.float32)
            weight = np.maximum(1.0 - np.abs(level - index), 0.0).astype(np.float32)
            image += weight[..., None] * cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return image


def _pack(sizes: list[tuple[int, int]]) -> tuple[np.ndarray, int]:
    """Place (height, width) rectangles on shelves, tallest first; return corners (F, 2) as (x, y) and the height."""
    corners = np.zeros((len(sizes), 2), int)
    x = y = shelf = 0
    for index in sorted(range(len(sizes)), key=lambda i: sizes[i], reverse=True):
        height, width = sizes[index][0] + 2 * BORDER_PX, sizes[index][1] + 2 * BORDER_PX
        if x + width > WIDTH_PX:
            x, y, shelf = 0, y + shelf, 0
        corners[index] = x + BORDER_PX, y + BORDER_PX
        x, shelf = x + width, max(shelf, height)
    return corners, y + shelf


def _as_seen(linear: np.ndarray) -> np.ndarray:
    """Turn linear light into display values 0..255: a soft shoulder for highlights, then gamma."""
    return (255.0 * (1.0 - np.exp(-1.5 * linear)) ** (1.0 / 2.2)).astype(np.uint8)


def build_atlas(boxes: list[Box]) -> Atlas:
    """Paint every face at 6 mm per texel, light it, and pack the result."""
    rng = np.random.default_rng(11)
    metres = [np.asarray(box.size_m)[[UP[a], ACROSS[a]]] for box in boxes for a in (0, 0, 1, 1, 2, 2)]
    sizes = [(max(4, round(up / TEXEL_M)), max(4, round(across / TEXEL_M))) for up, across in metres]
    corners, total_height = _pack(sizes)
    picture = np.zeros((total_height, WIDTH_PX, 3), np.uint8)
    for index, light in enumerate(light_maps(boxes)):
        height, width = sizes[index]
        material = boxes[index // 6].material_of(FACES[index % 6])
        colour = MATERIALS[material](height, width, TEXEL_M, rng)
        if material in SHINING:
            lit = colour * SHINING[material]
        else:
            lit = colour * cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR)
        x, y = corners[index] - BORDER_PX
        picture[y : y + height + 2 * BORDER_PX, x : x + width + 2 * BORDER_PX] = cv2.copyMakeBorder(
            _as_seen(lit), BORDER_PX, BORDER_PX, BORDER_PX, BORDER_PX, cv2.BORDER_REPLICATE
        )
    levels: list[np.ndarray] = [picture]
    for _ in range(LEVELS - 1):
        half = (levels[-1].shape[1] // 2, levels[-1].shape[0] // 2)
        levels.append(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA))
    scale = np.array(
        [(width / across, height / up) for (height, width), (up, across) in zip(sizes, metres, strict=True)]
    )
    return Atlas(tuple(levels), corners.astype(np.float64), scale)
