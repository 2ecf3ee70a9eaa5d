"""The built-in source of the demo: a furnished room, ray-cast with numpy, whose depth is known exactly.

Only boxes are in it, so that every depth is the closed form of a plane. The picture is made to resemble an indoor
photograph as far as that goes: textures, baked light, corner shading, lens falloff, blur and noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from depth_estimation_ros.demo.frames import NYU_K, NYU_SIZE
from depth_estimation_ros.demo.room_atlas import Atlas, build_atlas
from depth_estimation_ros.demo.room_layout import ACROSS, UP, Box, build_room

NEAREST_M = 0.02
SEAM_M = 1e-9  # faces overlap by this, so that no ray slips between two of them


@dataclass(frozen=True)
class Pose:
    """Where the camera stands (world, metres) and where it looks: yaw from +x to +y, pitch down positive, radians."""

    position_m: tuple[float, float, float]
    yaw_rad: float
    pitch_rad: float

    def rotation(self) -> np.ndarray:
        """Return the (3, 3) rotation from the optical frame (REP 103: x right, y down, z forward) to the world."""
        cy, sy, cp, sp = np.cos(self.yaw_rad), np.sin(self.yaw_rad), np.cos(self.pitch_rad), np.sin(self.pitch_rad)
        forward = np.array([cp * cy, cp * sy, -sp])
        right = np.array([sy, -cy, 0.0])
        return np.stack([right, np.cross(forward, right), forward], axis=1)


def camera_path(fraction: float) -> Pose:
    """Return the pose at 0..1 of a walk through the south of the room, looking round from south-east to west.

    The camera is 1.29 to 1.51 m above the floor and never nearer than 0.3 m to anything.
    """
    angle = np.pi * (1.02 + 0.96 * fraction)
    x, y = 2.75 + 1.75 * np.cos(angle), 2.15 + 1.10 * np.sin(angle)
    z = 1.40 + 0.11 * np.sin(5.0 * np.pi * fraction)
    yaw = -0.42 + 3.45 * fraction + 0.10 * np.sin(2.0 * np.pi * fraction)
    return Pose((float(x), float(y), float(z)), float(yaw), float(0.20 + 0.09 * np.cos(6.0 * fraction)))


def _outline(corners_camera: np.ndarray, k: np.ndarray, height: int, width: int) -> tuple[slice, slice] | None:
    """Return the image rows and columns that a rectangle (4, 3) may cover, None where it lies out of sight."""
    kept = []
    for start, end in zip(corners_camera, np.roll(corners_camera, -1, axis=0), strict=True):
        if start[2] >= NEAREST_M:
            kept.append(start)
        if (start[2] >= NEAREST_M) != (end[2] >= NEAREST_M):
            kept.append(start + (NEAREST_M - start[2]) / (end[2] - start[2]) * (end - start))
    if not kept:
        return None
    u, v, _ = k @ (np.array(kept) / np.array(kept)[:, 2:]).T
    top, bottom = max(0, int(np.floor(v.min()))), min(height, int(np.ceil(v.max())) + 1)
    left, right = max(0, int(np.floor(u.min()))), min(width, int(np.ceil(u.max())) + 1)
    return (slice(top, bottom), slice(left, right)) if top < bottom and left < right else None


@dataclass(frozen=True)
class Hits:
    """What each pixel's ray meets first, arrays (H, W): z-depth in metres, face index, place on the face, slant.

    The face index is 6 * box + index in `FACES`. `across_m` and `down_m` run from the face's upper left corner.
    `slant` is the cosine between ray and normal, with the ray's z as 1.
    """

    depth_m: np.ndarray
    face: np.ndarray
    across_m: np.ndarray
    down_m: np.ndarray
    slant: np.ndarray


def cast_rays(boxes: list[Box], pose: Pose, k: np.ndarray, height: int, width: int) -> Hits:
    """Cast a ray through every pixel's centre; depth is inf and the face -1 where it meets nothing.

    With rays whose z is 1 in the optical frame, the ray parameter at a face's plane is the z-depth itself.
    Only faces turned to the camera are tried, each in the part of the image that it can cover.
    """
    x, y = (np.arange(width) - k[0, 2]) / k[0, 0], (np.arange(height) - k[1, 2]) / k[1, 1]
    hits = Hits(np.full((height, width), np.inf), np.full((height, width), -1), *np.zeros((3, height, width)))
    for box_index, box in enumerate(boxes):
        to_box = box.rotation().T @ pose.rotation()
        origin = box.rotation().T @ (np.asarray(pose.position_m) - np.asarray(box.centre_m))
        half = np.asarray(box.size_m) / 2.0
        for face_index in range(6):
            axis, side = face_index // 2, 2 * (face_index % 2) - 1
            if (side * origin[axis] > half[axis]) == box.inward:
                continue
            a, b = ACROSS[axis], UP[axis]
            corners = np.zeros((4, 3))
            corners[:, axis] = side * half[axis]
            corners[:, a], corners[:, b] = half[a] * np.array([-1, 1, 1, -1]), half[b] * np.array([-1, -1, 1, 1])
            window = _outline((corners - origin) @ to_box, k, height, width)
            if window is None:
                continue
            rows, columns = y[window[0], None], x[None, window[1]]
            along = to_box[axis, 0] * columns + to_box[axis, 1] * rows + to_box[axis, 2]
            with np.errstate(divide="ignore", invalid="ignore"):
                depth_m = (side * half[axis] - origin[axis]) / along
                across = origin[a] + depth_m * (to_box[a, 0] * columns + to_box[a, 1] * rows + to_box[a, 2])
                up = origin[b] + depth_m * (to_box[b, 0] * columns + to_box[b, 1] * rows + to_box[b, 2])
            inside = (np.abs(across) <= half[a] + SEAM_M) & (np.abs(up) <= half[b] + SEAM_M)
            first = inside & (depth_m > 0.0) & (depth_m < hits.depth_m[window])
            hits.depth_m[window][first] = depth_m[first]
            hits.face[window][first] = 6 * box_index + face_index
            hits.across_m[window][first] = across[first] + half[a]
            hits.down_m[window][first] = half[b] - up[first]
            hits.slant[window][first] = np.abs(along[first])
    return hits


class Room:
    """The room, painted and lit once (some seconds); `render` then takes pictures of it."""

    def __init__(self) -> None:
        self.boxes = build_room()
        self._atlas: Atlas = build_atlas(self.boxes)

    def render(
        self, pose: Pose, k: np.ndarray = NYU_K, size: tuple[int, int] = NYU_SIZE, seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a picture (H, W, 3) uint8 RGB, its noise drawn by `seed`, and the exact z-depth (H, W) float32, m."""
        hits = cast_rays(self.boxes, pose, k, *size)
        corner, scale = self._atlas.corner_px[hits.face], self._atlas.texels_per_m[hits.face]
        # Texels under one pixel: between what a slanted surface shows along and across the slant.
        footprint = hits.depth_m / k[0, 0] * scale[..., 0] / np.sqrt(np.clip(hits.slant, 0.02, 1.0))
        colours = self._atlas.sample(
            corner[..., 0] + hits.across_m * scale[..., 0] - 0.5,
            corner[..., 1] + hits.down_m * scale[..., 1] - 0.5,
            footprint,
        )
        return _photograph(colours, seed), hits.depth_m.astype(np.float32)


def _photograph(colours: np.ndarray, seed: int) -> np.ndarray:
    """Give (H, W, 3) float32 display values what a cheap camera adds: lens blur, darker corners, sensor noise."""
    height, width = colours.shape[:2]
    v, u = np.ogrid[-1.0 : 1.0 : height * 1j, -1.0 : 1.0 : width * 1j]
    blurred = cv2.GaussianBlur(colours, (0, 0), 0.65)
    blurred *= (1.0 - 0.11 * (u * u + v * v))[..., None].astype(np.float32)
    noise = np.random.default_rng(seed).standard_normal(colours.shape, dtype=np.float32)
    return np.clip(blurred + 1.8 * noise + 0.5, 0.0, 255.0).astype(np.uint8)
