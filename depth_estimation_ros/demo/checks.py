"""What the demo's listener demands of the node's messages, as pure functions that return what they find wrong.

The rules are those of DESIGN's ROS interface: REP 103 (optical frame), REP 117 (NaN and infinities, never a false
zero), REP 118 (depth images). They are written anew here, from the message definitions, and share no code with the
node, so that an error there is not repeated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from depth_estimation_ros.demo.recording import SentImage

POINT_FIELD_FLOAT32 = 7
# A cloud's point has to fall on the centre of a depth pixel, and hold its depth, within these.
ON_PIXEL_TOLERANCE_PX = 0.02
SAME_DEPTH_TOLERANCE = 1e-4


class Problem(NamedTuple):
    """One broken rule, in the same words each time, and where it was found."""

    rule: str
    detail: str


def stamp_ns(message: Any) -> int:
    """Return a message's header stamp in nanoseconds."""
    return int(message.header.stamp.sec) * 1_000_000_000 + int(message.header.stamp.nanosec)


def read_depth(image: Any) -> tuple[np.ndarray | None, list[Problem]]:
    """Return a depth image as (H, W) float32 metres, None where it cannot be read, and what is wrong with it."""
    types: dict[str, np.dtype] = {"32FC1": np.dtype("f4"), "16UC1": np.dtype("u2")}
    if image.encoding not in types:
        return None, [Problem("depth encoding is 32FC1 or 16UC1", repr(image.encoding))]
    pixel = types[image.encoding].newbyteorder(">" if image.is_bigendian else "<")
    if image.step < image.width * pixel.itemsize or len(image.data) != image.step * image.height or not image.height:
        found = f"{image.width}x{image.height}, step {image.step}, {len(image.data)} bytes"
        return None, [Problem("depth image has step * height bytes", found)]
    rows = np.frombuffer(image.data, np.uint8).reshape(image.height, image.step)
    pixels = np.ascontiguousarray(rows[:, : image.width * pixel.itemsize]).view(pixel)
    if image.encoding == "16UC1":
        depth_m = np.where(pixels == 0, np.nan, pixels / 1000.0).astype(np.float32)
    else:
        depth_m = pixels.astype(np.float32)
    problems = []
    if zeros := int((depth_m == 0.0).sum()):
        problems.append(Problem("depth is never a false zero", f"{zeros} pixels"))
    if negative := int((np.isfinite(depth_m) & (depth_m < 0.0)).sum()):
        problems.append(Problem("finite depth is positive", f"{negative} pixels"))
    if not np.isfinite(depth_m).any():
        problems.append(Problem("depth image holds at least one depth", "no finite pixel"))
    return depth_m, problems


def read_cloud(cloud: Any) -> tuple[np.ndarray | None, np.ndarray | None, list[Problem]]:
    """Return points (H, W, 3) float32, colours (H, W, 3) uint8 (grey where there are none), and what is wrong."""
    fields = {field.name: field for field in cloud.fields}
    if cloud.height < 2 or cloud.width < 2:
        return None, None, [Problem("cloud is organized", f"{cloud.width}x{cloud.height}")]
    if not {"x", "y", "z"} <= fields.keys() or any(field.datatype != POINT_FIELD_FLOAT32 for field in cloud.fields):
        return None, None, [Problem("cloud has float32 fields x, y, z", ", ".join(fields) or "no field")]
    fits = cloud.row_step >= cloud.width * cloud.point_step and len(cloud.data) == cloud.row_step * cloud.height
    if not fits or any(field.offset + 4 > cloud.point_step for field in cloud.fields):
        found = f"point_step {cloud.point_step}, row_step {cloud.row_step}, {len(cloud.data)} bytes"
        return None, None, [Problem("cloud's steps and data agree", found)]
    rows = np.frombuffer(cloud.data, np.uint8).reshape(cloud.height, cloud.row_step)
    points_raw = rows[:, : cloud.width * cloud.point_step].reshape(cloud.height, cloud.width, cloud.point_step)
    order = ">" if cloud.is_bigendian else "<"

    def column(name: str, kind: str) -> np.ndarray:
        start = fields[name].offset
        return np.ascontiguousarray(points_raw[..., start : start + 4]).view(order + kind)[..., 0]

    points_m = np.stack([column(axis, "f4") for axis in "xyz"], axis=-1).astype(np.float32)
    rgb = np.full(points_m.shape, 128, np.uint8)
    problems = []
    if "rgb" in fields:
        packed = column("rgb", "u4")
        rgb = np.stack([(packed >> shift) & 0xFF for shift in (16, 8, 0)], axis=-1).astype(np.uint8)
        if (packed >> 24).any():
            problems.append(Problem("cloud colour's top byte is 0", f"{int((packed >> 24 > 0).sum())} points"))
    finite = np.isfinite(points_m)
    if cloud.is_dense:
        problems.append(Problem("cloud says is_dense false", "true"))
    if (finite.any(axis=-1) != finite.all(axis=-1)).any() or np.isinf(points_m).any():
        problems.append(Problem("cloud's points are finite or all NaN", "mixed or infinite"))
    if (points_m[..., 2] <= 0.0).any():
        problems.append(Problem("cloud's points lie before the camera", f"{int((points_m[..., 2] <= 0).sum())} points"))
    if not finite.any():
        problems.append(Problem("cloud holds at least one point", "all NaN"))
    return points_m, rgb, problems


def info_problems(info: Any, depth_size: tuple[int, int]) -> list[Problem]:
    """Judge a depth/camera_info beside a depth image of (height, width) with the same stamp."""
    problems = []
    if (info.height, info.width) != depth_size:
        problems.append(
            Problem("camera_info has the depth's size", f"{info.width}x{info.height} beside {depth_size[::-1]}")
        )
    k, p, r = np.array(info.k).reshape(3, 3), np.array(info.p).reshape(3, 4), np.array(info.r).reshape(3, 3)
    if not (k[0, 0] > 0.0 and np.allclose(p[:, :3], k) and p[0, 3] == 0.0 and np.allclose(r, np.eye(3))):
        problems.append(Problem("camera_info has K = P[:, :3], R = I, P[3] = 0", f"fx {k[0, 0]:g}, P {p.ravel()}"))
    if any(info.d) or info.binning_x > 1 or info.binning_y > 1 or info.roi.width or info.roi.height:
        problems.append(Problem("camera_info has no distortion, binning or region", f"d {list(info.d)}"))
    return problems


def cloud_on_depth_problems(points_m: np.ndarray, depth_m: np.ndarray, k: np.ndarray) -> list[Problem]:
    """Project each point through the intrinsics: it has to meet a pixel's centre, and that pixel's depth."""
    points = points_m[np.isfinite(points_m).all(axis=-1) & (points_m[..., 2] > 0.0)].astype(np.float64)
    u = points[:, 0] / points[:, 2] * k[0, 0] + k[0, 2]
    v = points[:, 1] / points[:, 2] * k[1, 1] + k[1, 2]
    columns, rows = np.rint(u).astype(int), np.rint(v).astype(int)
    inside = (columns >= 0) & (columns < depth_m.shape[1]) & (rows >= 0) & (rows < depth_m.shape[0])
    off_centre = np.maximum(np.abs(u - columns), np.abs(v - rows)) > ON_PIXEL_TOLERANCE_PX
    if off := int((~inside | off_centre).sum()):
        return [Problem("cloud's points project onto depth pixels", f"{off} of {len(points)} beside one")]
    there = depth_m[rows, columns]
    differs = ~(np.abs(there - points[:, 2]) <= SAME_DEPTH_TOLERANCE * points[:, 2] + 1e-6)
    if wrong := int(differs.sum()):
        return [Problem("cloud and depth image agree", f"{wrong} of {len(points)} points differ")]
    return []


def stream_problems(topic: str, headers: Iterable[tuple[int, str]], sent: Mapping[int, SentImage]) -> list[Problem]:
    """Judge a topic's (stamp_ns, frame_id) in order of arrival against the images sent, by stamp."""
    problems, stamps = [], []
    for stamp, frame_id in headers:
        stamps.append(stamp)
        if stamp not in sent:
            problems.append(Problem(f"{topic} has the stamp of a sent image", f"{stamp} ns was never sent"))
        elif frame_id != sent[stamp].frame_id:
            problems.append(Problem(f"{topic} has the camera's frame_id", f"{frame_id!r}"))
    if not stamps:
        problems.append(Problem(f"{topic} arrives", "no message"))
    if repeated := [stamp for stamp, count in Counter(stamps).items() if count > 1]:
        problems.append(Problem(f"{topic} comes once for an image", f"{len(repeated)} stamps repeated"))
    if stamps != sorted(stamps):
        problems.append(Problem(f"{topic} comes in the order of the images", "an older one came later"))
    return problems


def in_words(problems: Iterable[Problem]) -> list[str]:
    """Return one line for each broken rule: how often, and the first place."""
    details: dict[str, list[str]] = {}
    for problem in problems:
        details.setdefault(problem.rule, []).append(problem.detail)
    return [f"broken {len(where)} times: {rule} (first: {where[0]})" for rule, where in details.items()]
