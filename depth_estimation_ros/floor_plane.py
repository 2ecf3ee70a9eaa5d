"""The floor in a depth map: a plane below the horizon, found by random sampling, in the depth's own metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depth_estimation_ros.camera_pose import pinhole_rays
from depth_estimation_ros.point_cloud import is_measured

BELOW_HORIZON_DEG = 3.0
"""Nearer to the horizon than this, a small tilt moves the floor by more than it tells."""

TOLERANCE = 0.1
"""A point lies on the floor where its depth below the camera is the camera's height within this share."""

LEAST_TOLERANCE = 0.01
"""Of the refinement, which looks closer where the floor is smooth."""

LEAST_POINTS = 100
MOST_PIXELS = 10_000
"""Looked at, evenly spread over the picture."""

MOST_JUDGES = 500
HYPOTHESES = 128
"""Level and tilted planes each, every one judged by at most `MOST_JUDGES` points; all points refine the best."""

REFINEMENTS = 4

NORMAL_OVER_MEDIAN = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


@dataclass(frozen=True, eq=False)
class FloorPlane:
    """The plane `normal . P = -height_m` in the optical frame.

    Attributes:
        height_m: Of the camera above the plane, in the metres of the depth map.
        normal: (3,) unit vector away from the floor, towards the camera.
        inlier_share: Share of the points below the horizon that lie on it, 0 to 1.
        log_spread: Robust standard deviation of the log ratio between depth and plane over those points.
        point_count: How many they are.
    """

    height_m: float
    normal: np.ndarray
    inlier_share: float
    log_spread: float
    point_count: int


def fit_floor(
    depth_m: np.ndarray, k: np.ndarray, up_camera: np.ndarray, tilt_deg: float = 0.0, seed: int = 0
) -> FloorPlane | None:
    """Fit the floor to what lies below the horizon.

    The residual is the relative error of depth along the ray, so that the fit is the same at any scale. A plane with
    points below it is no floor: a table top loses to what is seen beside it.

    Args:
        depth_m: (h, w) z-depth in metres; what is not finite or not above zero is left out.
        k: (3, 3) intrinsics of the depth map, pixels.
        up_camera: (3,) unit vector away from the floor in the optical frame, as far as is known.
        tilt_deg: Degrees by which the true one may differ from it; 0: not at all.
        seed: Of the random samples: the same picture gives the same floor.

    Returns:
        None where fewer than `LEAST_POINTS` are below the horizon, or no plane is within the tilt.
    """
    points_camera = _below_horizon(depth_m, k, up_camera)
    if len(points_camera) < LEAST_POINTS:
        return None
    least_cosine = np.cos(np.radians(tilt_deg)) - 1e-9
    normals, heights_m = _hypotheses(points_camera, up_camera, least_cosine if tilt_deg else None, seed)
    if not len(normals):
        return None
    judges = points_camera[:: -(-len(points_camera) // MOST_JUDGES)].astype(np.float32)
    relative = _dot(
        judges, (-normals / heights_m[:, np.newaxis]).astype(np.float32)
    )  # (points, hypotheses), 1 on the plane
    score = (np.abs(relative - 1) < TOLERANCE).sum(axis=0) - (relative > 1 + 2 * TOLERANCE).sum(axis=0)
    best = int(score.argmax())
    normal, height_m = normals[best], float(heights_m[best])
    for _ in range(REFINEMENTS):
        inliers = points_camera[_is_core(-_dot(points_camera, normal) / height_m - 1)]
        if tilt_deg:
            # Least squares of the relative error: m . P = -1 with m = normal / height.
            moments = np.einsum("ni,nj->ij", inliers, inliers)
            m = -np.linalg.lstsq(moments, inliers.sum(axis=0), rcond=None)[0]
            length = float(np.linalg.norm(m))
            if not length > 0 or m @ up_camera < least_cosine * length:
                break
            normal, height_m = m / length, 1 / length
        else:
            height_m = float(np.median(-_dot(inliers, normal)))
    relative = -_dot(points_camera, normal) / height_m
    is_floor = np.abs(relative - 1) < TOLERANCE
    logs = np.log(relative[is_floor])
    spread = robust_deviation(logs) if logs.size else 0.0
    return FloorPlane(height_m, normal, float(is_floor.mean()), spread, int(is_floor.sum()))


def robust_deviation(values: np.ndarray) -> float:
    """Standard deviation of a normal distribution of the same median absolute deviation."""
    return NORMAL_OVER_MEDIAN * float(np.median(np.abs(values - np.median(values))))


def _dot(points: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Products of (n, 3) points with one (3,) or many (m, 3) directions: (n,) or (n, m).

    Term by term, because a matrix product as thin as this wakes BLAS's threads, which wait for the network's.
    """
    x, y, z = points.T if directions.ndim == 1 else points.T[:, :, np.newaxis]
    return x * directions[..., 0] + y * directions[..., 1] + z * directions[..., 2]


def _is_core(error: np.ndarray) -> np.ndarray:
    """What scatters like most of the inliers: the foot of a wall lies within the tolerance, too, but on one side."""
    sigma = (
        NORMAL_OVER_MEDIAN * np.median(np.abs(error[np.abs(error) < TOLERANCE]))
        if (np.abs(error) < TOLERANCE).any()
        else 0.0
    )
    return np.abs(error) < min(TOLERANCE, max(2.5 * sigma, LEAST_TOLERANCE))


def _below_horizon(depth_m: np.ndarray, k: np.ndarray, up_camera: np.ndarray) -> np.ndarray:
    """(n, 3) points of rays that go down by at least `BELOW_HORIZON_DEG`, row by row."""
    height, width = depth_m.shape
    stride = max(1, round(np.sqrt(height * width / MOST_PIXELS)))
    first = stride // 2
    k_sampled = k - np.array([[0, 0, first], [0, 0, first], [0, 0, 0]])
    k_sampled[:2] /= stride
    depth_m = depth_m[first::stride, first::stride]
    rays = pinhole_rays((depth_m.shape[0], depth_m.shape[1]), k_sampled)
    sine = -(rays @ up_camera) / np.linalg.norm(rays, axis=-1)
    with np.errstate(invalid="ignore"):
        chosen = (sine > np.sin(np.radians(BELOW_HORIZON_DEG))) & is_measured(depth_m)
    return rays[chosen] * depth_m[chosen][:, np.newaxis].astype(np.float64)


def _hypotheses(
    points_camera: np.ndarray, up_camera: np.ndarray, least_cosine: float | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Normals (m, 3) and heights (m,) of planes through random points: level ones, and tilted ones where allowed."""
    rng = np.random.default_rng(seed)
    normals = np.tile(up_camera, (HYPOTHESES, 1))
    heights_m = -(points_camera[rng.integers(len(points_camera), size=HYPOTHESES)] @ up_camera)
    if least_cosine is not None:
        a, b, c = points_camera[rng.integers(len(points_camera), size=(3, 4 * HYPOTHESES))]
        tilted = np.cross(b - a, c - a)
        lengths = np.linalg.norm(tilted, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            tilted *= (np.sign(tilted @ up_camera) / lengths)[:, np.newaxis]
        allowed = np.flatnonzero(tilted @ up_camera >= least_cosine)[:HYPOTHESES]
        normals = np.concatenate([normals, tilted[allowed]])
        heights_m = np.concatenate([heights_m, -np.einsum("ij,ij->i", tilted[allowed], a[allowed])])
    above = heights_m > 0
    return normals[above], heights_m[above]
