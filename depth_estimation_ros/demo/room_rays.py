"""Rays against boxes by the slab test (Kay and Kajiya 1986), vectorised over rays; arrays are (3, N)."""

from __future__ import annotations

import numpy as np

from depth_estimation_ros.demo.room_layout import Box


def _crossings(box: Box, origin_world: np.ndarray, direction_world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the parameters (N,) at which rays enter and leave a box; a ray that leaves before it enters misses."""
    to_box = box.rotation().T.astype(np.float32)
    origin = to_box @ (origin_world - np.asarray(box.centre_m, np.float32)[:, None])
    direction = to_box @ direction_world
    inverse = 1.0 / np.where(np.abs(direction) < 1e-9, np.float32(1e-9), direction)
    half = np.asarray(box.size_m, np.float32)[:, None] / 2.0
    middle, spread = -origin * inverse, half * np.abs(inverse)
    return (middle - spread).max(axis=0), (middle + spread).min(axis=0)


def exit_distance(room: Box, origin_world: np.ndarray, direction_world: np.ndarray) -> np.ndarray:
    """Return how far (N,) float32 rays that start inside a box run to its wall, in lengths of their direction."""
    return np.maximum(_crossings(room, origin_world, direction_world)[1], 0.0)


def blocked(box: Box, origin_world: np.ndarray, direction_world: np.ndarray, reach: np.ndarray | float) -> np.ndarray:
    """Return (N,) bool: does the box lie on the ray before the parameter `reach`? An origin inside it counts."""
    enter, leave = _crossings(box, origin_world, direction_world)
    return (enter <= leave) & (leave > 0.0) & (enter < reach)
