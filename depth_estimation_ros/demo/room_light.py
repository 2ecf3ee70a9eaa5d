"""Light in the built-in room, computed once for every face: window, lamps, shadows and the darkening of corners.

The room does not change while the camera moves and its surfaces are matt, so that the light on a surface point
is the same from everywhere: one small map of it per face serves every frame.
"""

from __future__ import annotations

import cv2
import numpy as np

from depth_estimation_ros.demo.room_layout import (
    ACROSS,
    CEILING_LAMP_CENTRE_M,
    FACES,
    FLOOR_LAMP_CENTRE_M,
    UP,
    WINDOW_CENTRE_M,
    WINDOW_SIZE_M,
    Box,
)
from depth_estimation_ros.demo.room_rays import blocked, exit_distance

LIGHT_TEXEL_M = 0.08
AMBIENT_REACH_M = 1.5
AMBIENT_RAYS, WINDOW_RAYS, LAMP_RAYS = 18, 7, 3
AMBIENT = np.array([0.36, 0.335, 0.30], np.float32)
DAYLIGHT = np.array([3.6, 3.8, 4.0], np.float32)
# Centre, half edge of the cloud of samples in metres, intensity.
LAMPS = (
    (CEILING_LAMP_CENTRE_M, 0.15, np.array([0.80, 0.66, 0.47], np.float32)),
    (FLOOR_LAMP_CENTRE_M, 0.12, np.array([0.26, 0.20, 0.12], np.float32)),
)


def face_points(box: Box, face: str, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the world points (3, rows*columns) at a face's texel centres and its normal (3,) towards the viewer.

    Row 0 is the upper edge. The points stand 2 mm off the surface, so that a face does not shade itself.
    """
    axis, side = FACES.index(face) // 2, 1.0 if face[0] == "+" else -1.0
    size = np.asarray(box.size_m)
    across = ((np.arange(columns) + 0.5) / columns - 0.5) * size[ACROSS[axis]]
    up = (0.5 - (np.arange(rows) + 0.5) / rows) * size[UP[axis]]
    local = np.zeros((3, rows, columns))
    local[ACROSS[axis]] = across[None, :]
    local[UP[axis]] = up[:, None]
    normal = np.zeros(3)
    normal[axis] = -side if box.inward else side
    local[axis] = side * size[axis] / 2.0
    local += 0.002 * normal[:, None, None]
    world = box.rotation() @ local.reshape(3, -1) + np.asarray(box.centre_m)[:, None]
    return world.astype(np.float32), (box.rotation() @ normal).astype(np.float32)


def _cosine_directions(normals: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return one direction per normal, (3, N), spread as the cosine to it: the normal plus a point on the sphere."""
    sphere = rng.standard_normal(normals.shape).astype(np.float32)
    sphere /= np.linalg.norm(sphere, axis=0) + 1e-6
    directions = normals + 0.999 * sphere
    return directions / np.linalg.norm(directions, axis=0)


def _reaching(points: np.ndarray, normals: np.ndarray, source: np.ndarray, occluders: list[Box]) -> tuple:
    """Return cosine over squared distance from points to the light samples, 0 in shadow, and the unit directions."""
    offset = source - points
    distance = np.maximum(np.linalg.norm(offset, axis=0), 0.05)
    direction = offset / distance
    gain = np.maximum((direction * normals).sum(axis=0), 0.0) / np.maximum(distance, 0.35) ** 2
    for box in occluders:
        gain[blocked(box, points, direction, distance)] = 0.0
    return gain, direction


def irradiance(boxes: list[Box], points: np.ndarray, normals: np.ndarray, seed: int = 3) -> np.ndarray:
    """Return the light (3, N) float32, linear RGB, that falls on surface points (3, N) with normals (3, N)."""
    rng = np.random.default_rng(seed)
    room, occluders = boxes[0], [box for box in boxes[1:] if box.casts_shadow]
    count = points.shape[1]
    light = np.zeros((3, count), np.float32)
    for _ in range(AMBIENT_RAYS):
        direction = _cosine_directions(normals, rng)
        reach = np.minimum(exit_distance(room, points, direction), AMBIENT_REACH_M)
        share = (reach / AMBIENT_REACH_M) ** 0.5
        for box in occluders:
            share[blocked(box, points, direction, AMBIENT_REACH_M)] *= 0.45
        light += AMBIENT[:, None] * np.maximum(share, 0.08) / AMBIENT_RAYS
    half = np.asarray(WINDOW_SIZE_M, np.float32)[:, None] / 2.0
    for _ in range(WINDOW_RAYS):
        source = np.asarray(WINDOW_CENTRE_M, np.float32)[:, None] + half * rng.uniform(-1, 1, (3, count)).astype(
            np.float32
        )
        source[0] = WINDOW_CENTRE_M[0] - 0.04
        gain, direction = _reaching(points, normals, source, occluders)
        light += DAYLIGHT[:, None] * gain * np.maximum(direction[0], 0.0) / WINDOW_RAYS
    for centre, spread, intensity in LAMPS:
        for _ in range(LAMP_RAYS):
            jitter = rng.uniform(-spread, spread, (3, count)).astype(np.float32)
            gain, _ = _reaching(points, normals, np.asarray(centre, np.float32)[:, None] + jitter, occluders)
            light += intensity[:, None] * gain / LAMP_RAYS
    return light


def light_maps(boxes: list[Box]) -> list[np.ndarray]:
    """Return one smooth (rows, columns, 3) float32 map of the light per face: box by box, in the order of `FACES`."""
    shapes, points, normals = [], [], []
    for box in boxes:
        for index, face in enumerate(FACES):
            size = np.asarray(box.size_m)[[UP[index // 2], ACROSS[index // 2]]]
            rows, columns = (int(n) for n in np.maximum(2, np.ceil(size / LIGHT_TEXEL_M)))
            face_world, normal = face_points(box, face, rows, columns)
            shapes.append((rows, columns))
            points.append(face_world)
            normals.append(np.repeat(normal[:, None], rows * columns, axis=1))
    light = irradiance(boxes, np.concatenate(points, axis=1), np.concatenate(normals, axis=1))
    ends = np.cumsum([rows * columns for rows, columns in shapes])
    maps = [
        np.ascontiguousarray(part.reshape(3, *shape).transpose(1, 2, 0))
        for part, shape in zip(np.split(light, ends[:-1], axis=1), shapes, strict=True)
    ]
    return [cv2.GaussianBlur(face_map, (5, 5), 1.0, borderType=cv2.BORDER_REPLICATE) for face_map in maps]
