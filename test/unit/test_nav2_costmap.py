"""config/nav2_depth_costmap.yaml at work: a box on the floor of a room is marked, and cleared when it has gone.

The voxel layer is written anew here, from the behaviour of nav2's: what a source's and the layer's heights drop, what
marks, and which voxels the ray to a point frees.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

CONFIG = Path(__file__).parents[2] / "config" / "nav2_depth_costmap.yaml"
LAYER = yaml.safe_load(CONFIG.read_text())["local_costmap"]["local_costmap"]["ros__parameters"]["depth_layer"]
RESOLUTION_M = 0.05  # nav2's own default
CELLS = 200  # of the map's side, the camera in its middle

BOX = (1.8, 2.2, 0.25, 0.4)
"""Near and far side, half the width, and height, in metres."""
WALL_M = 6.0


def argued(name: str) -> float:
    found = re.search(rf"^#.*\b{name}: ([\d.]+)", CONFIG.read_text(), re.MULTILINE)
    assert found
    return float(found[1])


HEIGHT_M, SCALE_ERROR = argued("camera_height"), argued("scale_error")
SCALES = (1 - SCALE_ERROR, 1.0, 1 + SCALE_ERROR)


def room_cloud(has_box: bool, scale: float, pitch_deg: float, range_m: float = 10.0) -> np.ndarray:
    """(19200, 3) points in metres, x forward, y left, z up from the floor below the camera; NaN beyond `range_m`."""
    rows, columns = np.mgrid[:120, :160]
    right, down = (columns - 79.5) / 130, (rows - 59.5) / 130  # at depth 1, as a view of 63 degrees
    pitch = np.deg2rad(pitch_deg)
    forward = np.cos(pitch) - down * np.sin(pitch)
    rays = np.stack([forward, -right, -np.sin(pitch) - down * np.cos(pitch)], -1).reshape(-1, 3)
    with np.errstate(divide="ignore"):
        to_floor = np.where(rays[:, 2] < 0, -HEIGHT_M / rays[:, 2], np.inf)
        depth_m = np.minimum(to_floor, WALL_M / rays[:, 0])
        if has_box:
            near, far, half_width, top = BOX
            for entry in (near / rays[:, 0], np.where(rays[:, 2] < 0, (top - HEIGHT_M) / rays[:, 2], np.inf)):
                x, y, z = (rays * entry[:, None] + (0, 0, HEIGHT_M)).T
                inside = (near - 1e-9 <= x) & (x <= far) & (abs(y) <= half_width) & (z >= 0) & (z <= top + 1e-9)
                depth_m = np.where(inside, np.minimum(depth_m, entry), depth_m)
    depth_m = depth_m * scale
    depth_m[depth_m > range_m] = np.nan
    return rays * depth_m[:, None] + (0, 0, HEIGHT_M)


class VoxelLayer:
    def __init__(self, settings: dict[str, Any]):
        self.settings = settings
        self.marked = np.zeros((CELLS, CELLS, settings["z_voxels"]), bool)
        self.origin = np.array([-CELLS / 2 * RESOLUTION_M, -CELLS / 2 * RESOLUTION_M, settings["origin_z"]])
        self.cell = np.array([RESOLUTION_M, RESOLUTION_M, settings["z_resolution"]])
        self.camera = np.array([0.0, 0.0, HEIGHT_M])

    def update(self, cloud: np.ndarray) -> None:
        sources = [self.settings[name] for name in self.settings["observation_sources"].split()]
        for source in sources:
            if source["clearing"]:
                self.clear(within(cloud, source), source)
        for source in sources:
            if source["marking"]:
                self.mark(within(within(cloud, source), self.settings), source)

    def mark(self, points: np.ndarray, source: dict[str, Any]) -> None:
        range_m = np.linalg.norm(points - self.camera, axis=1)
        near = (source["obstacle_min_range"] <= range_m) & (range_m < source["obstacle_max_range"])
        self.marked[tuple(self.voxels(points[near]).T)] = True

    def clear(self, points: np.ndarray, source: dict[str, Any]) -> None:
        rays = points - self.camera
        length_m = np.linalg.norm(rays, axis=1)
        # Two cells short of the point, and no farther than the range.
        end_m = np.clip(length_m - 2 * RESOLUTION_M, 0, source["raytrace_max_range"])
        ends = rays * (end_m / length_m)[:, None]
        steps = int(np.abs(ends / self.cell).max(initial=0)) + 1
        for share in np.linspace(0, 1, steps + 1):
            self.marked[tuple(self.voxels(self.camera + ends * share).T)] = False

    def voxels(self, points: np.ndarray) -> np.ndarray:
        """Those that are in the grid."""
        indices = np.floor((points - self.origin) / self.cell).astype(int)
        return indices[((indices >= 0) & (indices < self.marked.shape)).all(1)]

    @property
    def obstacles_m(self) -> np.ndarray:
        """(n, 2) middles of the cells that are obstacles."""
        cells = np.argwhere(self.marked.any(2))
        return self.origin[:2] + (cells + 0.5) * RESOLUTION_M


def within(points: np.ndarray, heights: dict[str, Any]) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # NaN is within nothing
        low, high = heights["min_obstacle_height"], heights["max_obstacle_height"]
        return points[(low <= points[:, 2]) & (points[:, 2] <= high)]


@pytest.mark.parametrize("pitch_deg", [0, 15])
@pytest.mark.parametrize("scale", SCALES)
def test_floor_marks_nothing_and_a_box_marks_where_it_is_seen(scale, pitch_deg):
    layer = VoxelLayer(LAYER)
    layer.update(room_cloud(False, scale, pitch_deg))
    assert len(layer.obstacles_m) == 0
    layer.update(room_cloud(True, scale, pitch_deg))
    near, far, half_width, _ = BOX
    assert len(layer.obstacles_m) > 5
    x, y = layer.obstacles_m.T
    slack_m = RESOLUTION_M
    assert near * scale - slack_m < x.min()
    assert x.max() < far * scale + slack_m
    assert abs(y).max() < half_width * scale + slack_m


@pytest.mark.parametrize("pitch_deg", [0, 15])
@pytest.mark.parametrize("marked_at", SCALES)
@pytest.mark.parametrize("cleared_at", SCALES)
def test_a_box_that_has_gone_is_cleared_at_any_scale(marked_at, cleared_at, pitch_deg):
    layer = VoxelLayer(LAYER)
    layer.update(room_cloud(True, marked_at, pitch_deg))
    assert len(layer.obstacles_m)
    layer.update(room_cloud(False, cleared_at, pitch_deg))
    assert len(layer.obstacles_m) == 0


def test_a_cloud_shorter_than_the_raytrace_range_leaves_obstacles_behind():
    """Why the configuration asks for the range: NaN clears nothing."""
    layer = VoxelLayer(LAYER)
    layer.update(room_cloud(True, 1.0, 0))
    layer.update(room_cloud(False, 1.0, 0, range_m=BOX[0]))
    assert len(layer.obstacles_m)


def test_a_clearing_source_that_drops_the_floor_leaves_obstacles_behind():
    """Why its least height lies below the floor: seen from above, only floor is behind a low box."""
    settings = {**LAYER, "depth_clearing": {**LAYER["depth_clearing"], "min_obstacle_height": 0.15}}
    layer = VoxelLayer(settings)
    layer.update(room_cloud(True, 1.0, 30))
    assert len(layer.obstacles_m)
    layer.update(room_cloud(False, 1.0, 30))
    assert len(layer.obstacles_m)
