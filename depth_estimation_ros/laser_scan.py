"""Depth, intrinsics and the camera's pose to a planar scan: per bearing the nearest thing in a band of heights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from depth_estimation_ros.camera_pose import CameraPose, pinhole_rays
from depth_estimation_ros.point_cloud import is_measured

if TYPE_CHECKING:
    from sensor_msgs.msg import LaserScan

FREE_SHARE = 0.5
"""A bearing counts as free where at least this share of the pixels that could show the band do."""

NEAREST_M = 0.3
"""Bearings are laid out for things from this depth on; it matters only where the frame is not under the camera."""

IN_FRONT = 0.9
"""What is not trusted counts as standing in front of a thing where its range is less than this share of the thing's."""

MOST_BESIDE_M = 1.5
"""A camera that looks along a beam from farther than this beside it sees too little of it to call it free."""

FAR_RATIO, FAR_SLOPE = 2.0, 0.05
"""A beam's highest ray may go down by this factor more steeply than the middle beam's, and by this much besides."""


@dataclass(frozen=True)
class Band:
    """What counts as an obstacle, metres.

    Attributes:
        min_height_m, max_height_m: Above the floor.
        min_range_m, max_range_m: Of the scan; by the second, depth was marked +Inf.
    """

    min_height_m: float
    max_height_m: float
    min_range_m: float
    max_range_m: float


@dataclass(frozen=True, eq=False)
class Scan:
    """Beams at `angle_min_rad + i * angle_increment_rad`, counted from x towards y of the z-up frame.

    Attributes:
        ranges_m: (n,) float32 horizontal metres; +Inf free, NaN unknown, -Inf nearer than measured (REP 117).
    """

    angle_min_rad: float
    angle_increment_rad: float
    ranges_m: np.ndarray


@dataclass(frozen=True, eq=False)
class _Beams:
    """What depends on the camera and not on the picture.

    Attributes:
        directions: (h, w, 3) rays of one metre of depth, in the z-up frame.
        beam: (h, w) the beam in whose direction each ray goes.
        forward_rad: The bearing at which the camera looks; `first_rad` counts from there.
        sees_far: (n,) bool: sees floor about as far as most do, from no farther beside than :data:`MOST_BESIDE_M`. The
            lower corners of a pitched camera's picture see near floor only, which says nothing of what lies behind.
    """

    directions: np.ndarray
    beam: np.ndarray
    forward_rad: float
    first_rad: float
    increment_rad: float
    sees_far: np.ndarray


@dataclass(frozen=True, eq=False)
class _Things:
    """What stands in the band, within range.

    Attributes:
        shown: (h, w) bool: pixels that show it.
        ranges_m: (n,) float64 horizontal range of the nearest in each beam, +Inf where there is none.
        too_near: (n,) bool: beams whose nearest is nearer than is measured, to the camera or to the scan's origin.
        covered: (n,) bool: beams that meet one, or lie between two neighbouring pixels that show one.
    """

    shown: np.ndarray
    ranges_m: np.ndarray
    too_near: np.ndarray
    covered: np.ndarray


def depth_to_scan(
    depth_m: np.ndarray, k: np.ndarray, pose: CameraPose, band: Band, suspected_m: np.ndarray | None = None
) -> Scan:
    """Look for the nearest point of the band along every bearing.

    Args:
        depth_m: (h, w) float32 z-depth in metres; NaN unknown, +Inf beyond max_range_m. What is nearer than min_range_m
            is as it was measured, so that floor is told from things there as elsewhere.
        k: (3, 3) intrinsics of the depth image, in pixels.
        pose: The camera in the z-up frame of the scan.
        band: Heights and ranges.
        suspected_m: (h, w) the same before pixels were left out that are not trusted: they show no obstacle, but where
            one of them would stand in the band the beam is neither free nor does it look past it. By default `depth_m`.

    Returns:
        One beam per column of the image or a little more. A beam is +Inf where nothing in view stands in the band and
        at least half of the pixels that could show it do; the view may end before max_range_m. It is NaN where too
        little is known: a range says that nothing stands before it, and whoever clears a map by it relies on that.
        A beam with the camera more than :data:`MOST_BESIDE_M` beside it is not known to be free. It is -Inf where its
        nearest thing is nearer than min_range_m, to the camera or to the scan's origin.
    """
    beams = _plan_beams(
        depth_m.shape, tuple(k.ravel()), tuple(pose.rotation.ravel()), (pose.x_m, pose.y_m), band.min_range_m
    )
    count = beams.sees_far.size
    rise = beams.directions[..., 2]
    measured = is_measured(depth_m)
    # How far each pixel is known to see: to its point, or as far as is measured at all.
    reach_m = np.where(depth_m == np.inf, band.max_range_m, np.where(measured, depth_m, np.nan))
    end_m = pose.height_m + reach_m * rise
    things = _find_things(depth_m, pose, beams, band)
    suspects = things if suspected_m is None else _find_things(suspected_m, pose, beams, band)
    ranges_m = things.ranges_m.copy()
    stands = np.isfinite(ranges_m)
    hidden = stands & (suspects.ranges_m < IN_FRONT * ranges_m)
    ranges_m[things.too_near] = -np.inf

    could_show = _crosses(pose.height_m, pose.height_m + band.max_range_m * rise, band)
    shows = _crosses(pose.height_m, end_m, band)
    known = np.bincount(beams.beam[shows], minlength=count)
    knowable = np.bincount(beams.beam[could_show], minlength=count)
    # Rays that meet something say nothing of what lies behind it, in whichever beam the thing itself stands.
    meets = (np.bincount(beams.beam[suspects.shown], minlength=count) > 0) | suspects.covered
    free = beams.sees_far & ~meets & (known > 0) & (known >= FREE_SHARE * knowable)
    ranges_m[hidden | (~stands & ~free)] = np.nan
    return Scan(beams.forward_rad + beams.first_rad, beams.increment_rad, ranges_m.astype(np.float32))


def scan_message(scan: Scan, band: Band, header: Any) -> LaserScan:
    """Fill the message; `header` carries the image's stamp and the z-up frame."""
    from sensor_msgs.msg import LaserScan  # here, so that the geometry needs no ROS messages

    message = LaserScan(header=header, range_min=float(band.min_range_m), range_max=float(band.max_range_m))
    message.angle_min = float(scan.angle_min_rad)
    message.angle_increment = float(scan.angle_increment_rad)
    message.angle_max = float(scan.angle_min_rad + scan.angle_increment_rad * (scan.ranges_m.size - 1))
    message.ranges.frombytes(scan.ranges_m.tobytes())
    return message


def _find_things(depth_m: np.ndarray, pose: CameraPose, beams: _Beams, band: Band) -> _Things:
    count = beams.sees_far.size
    height_m = pose.height_m + np.where(is_measured(depth_m), depth_m, np.nan) * beams.directions[..., 2]
    shown = _is_within(height_m, band)
    # (3, m) of the m pixels that show something, in the frame's axes
    shown_m = depth_m[shown]
    x_m, y_m, _ = shown_m * beams.directions[shown].T
    x_m, y_m = x_m + pose.x_m, y_m + pose.y_m
    range_m = np.hypot(x_m, y_m)
    beam = np.rint((_wrap(np.arctan2(y_m, x_m) - beams.forward_rad) - beams.first_rad) / beams.increment_rad)
    is_near = range_m <= band.max_range_m
    inside = is_near & (beam >= 0) & (beam < count)
    ranges_m, met, met_m = np.full(count, np.inf), beam[inside].astype(np.intp), range_m[inside]
    np.minimum.at(ranges_m, met, met_m)
    is_nearest_too_near = (met_m == ranges_m[met]) & (np.minimum(shown_m[inside], met_m) < band.min_range_m)
    too_near = np.zeros(count, bool)
    too_near[met[is_nearest_too_near]] = True
    covered = np.isfinite(ranges_m)
    if pose.x_m or pose.y_m:
        covered |= _between_neighbours(shown, np.where(inside, beam, -1).astype(np.intp), beams)
    shown[shown] = is_near
    return _Things(shown, ranges_m, too_near, covered)


def _between_neighbours(shown: np.ndarray, beam: np.ndarray, beams: _Beams) -> np.ndarray:
    """(n,) bool: beams from one pixel's to its neighbour's in a row, both (m,) of those ``shown`` and within 0 to n.

    Nearer to the frame's origin than to the camera, a thing is wider than its pixels are apart.
    """
    count = beams.sees_far.size
    beam_image = np.full(shown.shape, -1)
    beam_image[shown] = beam
    left, right = beam_image[:, :-1], beam_image[:, 1:]
    both = (left >= 0) & (right >= 0)
    left, right = left[both], right[both]
    low, high = np.minimum(left, right), np.maximum(left, right)
    # Behind the frame's origin, where the first beam follows the last.
    across = (high - low) * beams.increment_rad > np.pi
    begins = np.bincount(low[~across], minlength=count)
    ends = np.bincount(high[~across] + 1, minlength=count)[:count]
    between: np.ndarray = np.cumsum(begins - ends) > 0
    between[: low[across].max(initial=-1) + 1] = True
    between[high[across].min(initial=count) :] = True
    return between


def _is_within(height_m: np.ndarray, band: Band) -> np.ndarray:
    return (height_m >= band.min_height_m) & (height_m <= band.max_height_m)


def _crosses(start_m: float, end_m: np.ndarray, band: Band) -> np.ndarray:
    """Whether a ray between two heights passes through the band; False for NaN."""
    return (np.maximum(start_m, end_m) >= band.min_height_m) & (np.minimum(start_m, end_m) <= band.max_height_m)


@lru_cache(maxsize=8)
def _plan_beams(
    size: tuple[int, int],
    k: tuple[float, ...],
    rotation: tuple[float, ...],
    place_m: tuple[float, float],
    min_range_m: float,
) -> _Beams:
    turn = np.reshape(rotation, (3, 3))
    directions = pinhole_rays(size, np.reshape(k, (3, 3))) @ turn.T
    # A camera that looks straight down has its picture's upper edge in front.
    front = turn[:, 2] if np.hypot(*turn[:2, 2]) > 1e-3 else -turn[:, 1]
    forward_rad = math.atan2(front[1], front[0])
    bearing_rad = _wrap(np.arctan2(directions[..., 1], directions[..., 0]) - forward_rad)

    border = _border(directions)
    near = np.asarray(place_m) + max(min_range_m, NEAREST_M) * border[:, :2]
    outline_rad = np.concatenate(
        [_border(bearing_rad), _wrap(np.arctan2(near[:, 1], near[:, 0]) - forward_rad)]
        if any(place_m)
        else [_border(bearing_rad)]
    )
    first_rad, last_rad = outline_rad.min(), outline_rad.max()
    # As wide as the widest step between neighbours along most rows (columns, where the camera is rolled), so that no
    # beam falls between two pixels; rows far below the horizon step wider.
    steps = [np.quantile(np.abs(_wrap(np.diff(bearing_rad, axis=axis))).max(axis=axis), 0.75) for axis in (0, 1)]
    count = max(2, int((last_rad - first_rad) / max(steps)) + 1)
    increment_rad = (last_rad - first_rad) / (count - 1)

    beam = np.clip(np.rint((bearing_rad - first_rad) / increment_rad).astype(np.intp), 0, count - 1)
    slope = directions[..., 2] / np.hypot(directions[..., 0], directions[..., 1])
    highest = np.full(count, -np.inf)
    np.maximum.at(highest, beam, slope)
    sees_far = highest >= FAR_RATIO * min(0.0, float(np.median(highest))) - FAR_SLOPE
    beams_rad = forward_rad + first_rad + increment_rad * np.arange(count)
    sees_far &= np.abs(place_m[0] * np.sin(beams_rad) - place_m[1] * np.cos(beams_rad)) <= MOST_BESIDE_M
    return _Beams(directions, beam, forward_rad, float(first_rad), float(increment_rad), sees_far)


def _border(image: np.ndarray) -> np.ndarray:
    """The outermost pixels (n, ...), once round."""
    return np.concatenate([image[0], image[1:, -1], image[-1, -2::-1], image[-2:0:-1, 0]])


def _wrap(angle_rad: np.ndarray) -> np.ndarray:
    """To -pi..pi."""
    return (angle_rad + np.pi) % (2 * np.pi) - np.pi
