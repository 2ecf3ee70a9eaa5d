"""What the example configurations for nav2 and MoveIt argue in their comments holds for their values."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from depth_estimation_ros.parameters import RULES

ROOT = Path(__file__).parents[2]
NAV2 = ROOT / "config" / "nav2_depth_costmap.yaml"
NAV2_SCAN = ROOT / "config" / "nav2_scan_costmap.yaml"
MOVEIT = ROOT / "config" / "moveit_sensors_3d.yaml"

# What PointCloudOctomapUpdater and DepthImageOctomapUpdater ask for in Humble and Jazzy.
CLOUD_KEYS = [
    "point_cloud_topic",
    "max_range",
    "padding_offset",
    "padding_scale",
    "point_subsample",
    "max_update_rate",
    "filtered_cloud_topic",
]
IMAGE_KEYS = [
    "image_topic",
    "queue_size",
    "near_clipping_plane_distance",
    "far_clipping_plane_distance",
    "shadow_threshold",
    "padding_scale",
    "padding_offset",
    "max_update_rate",
    "skip_vertical_pixels",
    "skip_horizontal_pixels",
    "filtered_cloud_topic",
    "ns",
]
WHOLE_NUMBERS = {"point_subsample", "queue_size", "skip_vertical_pixels", "skip_horizontal_pixels"}
LEAST_CLOUD_RANGE_M = RULES["points.max_range"].default or RULES["max_range"].default


def argued(path: Path, name: str) -> float:
    """A number that the file's comments reason from."""
    found = re.search(rf"^#.*\b{name}: ([\d.]+)", path.read_text(), re.MULTILINE)
    assert found, f"{path.name} names no {name}"
    return float(found[1])


@pytest.fixture(scope="module")
def costmap() -> dict[str, Any]:
    return yaml.safe_load(NAV2.read_text())["local_costmap"]["local_costmap"]["ros__parameters"]


@pytest.fixture(scope="module")
def layer(costmap) -> dict[str, Any]:
    return costmap["depth_layer"]


@pytest.fixture(scope="module")
def moveit() -> dict[str, Any]:
    return yaml.safe_load(MOVEIT.read_text())


def test_nav2_inflates_what_the_depth_layer_marks(costmap):
    assert costmap["plugins"].index("depth_layer") < costmap["plugins"].index("inflation_layer")


def test_both_sources_hear_the_cloud_and_share_the_work(layer):
    sources = {name: layer[name] for name in layer["observation_sources"].split()}
    assert {(source["marking"], source["clearing"]) for source in sources.values()} == {(True, False), (False, True)}
    assert all((s["topic"], s["data_type"]) == ("/depth/points", "PointCloud2") for s in sources.values())


def test_floor_that_is_estimated_wrong_is_no_obstacle_and_clears(layer):
    floor_error_m = argued(NAV2, "camera_height") * argued(NAV2, "scale_error")
    assert f"= {floor_error_m:.1f} m" in NAV2.read_text()
    assert layer["min_obstacle_height"] > floor_error_m
    assert layer["depth_marking"]["min_obstacle_height"] == layer["min_obstacle_height"]  # for Humble
    assert layer["depth_clearing"]["min_obstacle_height"] < -floor_error_m


def test_all_that_marks_and_the_camera_are_within_the_voxel_grid(layer):
    top_m = layer["origin_z"] + layer["z_voxels"] * layer["z_resolution"]
    assert layer["z_voxels"] <= 16
    assert layer["origin_z"] <= layer["min_obstacle_height"] < layer["max_obstacle_height"] <= top_m
    assert layer["depth_marking"]["max_obstacle_height"] == layer["max_obstacle_height"]
    assert layer["depth_clearing"]["max_obstacle_height"] >= layer["max_obstacle_height"]
    assert layer["origin_z"] <= argued(NAV2, "camera_height") <= top_m


def test_what_is_marked_can_be_cleared_and_the_cloud_reaches_as_far(layer):
    marked_m = layer["depth_marking"]["obstacle_max_range"]
    assert marked_m <= layer["depth_clearing"]["raytrace_max_range"] <= LEAST_CLOUD_RANGE_M


def test_the_scan_marks_and_clears_from_the_floor_it_lies_on():
    """As nav2 has it, a source's heights bound what is heard, and a beam of +Inf counts only where it is told so."""
    settings = yaml.safe_load(NAV2_SCAN.read_text())["local_costmap"]["local_costmap"]["ros__parameters"]
    assert settings["plugins"].index("scan_layer") < settings["plugins"].index("inflation_layer")
    layer = settings["scan_layer"]
    source = layer[layer["observation_sources"]]
    assert (source["topic"], source["data_type"]) == ("/scan", "LaserScan")
    assert [source[key] for key in ("marking", "clearing", "inf_is_valid")] == [True, True, True]
    for bounds in (layer, source):
        assert bounds["min_obstacle_height"] < 0 < bounds["max_obstacle_height"]
    # A free beam ends at the scan's range_max, and must not mark there.
    assert source["obstacle_max_range"] <= source["raytrace_max_range"] < RULES["max_range"].default


def test_moveit_reads_every_key_of_the_sensor_that_is_on(moveit):
    assert moveit["sensors"] == ["depth_cloud"]
    assert set(moveit["depth_cloud"]) == {"sensor_plugin", *CLOUD_KEYS}
    assert moveit["depth_cloud"]["sensor_plugin"] == "occupancy_map_monitor/PointCloudOctomapUpdater"
    assert set(moveit["depth_image"]) == {"sensor_plugin", *IMAGE_KEYS}
    assert moveit["depth_image"]["sensor_plugin"] == "occupancy_map_monitor/DepthImageOctomapUpdater"
    assert set(moveit) == {"octomap_frame", "octomap_resolution", "sensors", "depth_cloud", "depth_image"}


@pytest.mark.parametrize("sensor", ["depth_cloud", "depth_image"])
def test_moveit_gets_the_number_types_it_asks_for(moveit, sensor):
    for key, value in moveit[sensor].items():
        if not isinstance(value, str):
            assert type(value) is (int if key in WHOLE_NUMBERS else float), key
    assert type(moveit["octomap_resolution"]) is float


def test_the_cloud_reaches_as_far_as_moveit_clears(moveit):
    assert moveit["depth_cloud"]["max_range"] <= LEAST_CLOUD_RANGE_M
    image = moveit["depth_image"]
    assert image["near_clipping_plane_distance"] < image["far_clipping_plane_distance"] <= RULES["max_range"].default


def test_the_arm_is_not_its_own_obstacle(moveit):
    error_m = argued(MOVEIT, "robot_distance") * argued(MOVEIT, "scale_error")
    for sensor in ("depth_cloud", "depth_image"):
        assert moveit[sensor]["padding_offset"] >= error_m
    assert moveit["depth_cloud"]["padding_offset"] >= moveit["octomap_resolution"]


def test_surfaces_have_no_holes_at_the_greatest_range(moveit):
    cloud = moveit["depth_cloud"]
    view_rad = math.radians(argued(MOVEIT, "cloud_hfov_deg"))
    spacing_m = cloud["point_subsample"] * 2 * cloud["max_range"] * math.tan(view_rad / 2)
    spacing_m /= argued(MOVEIT, "cloud_columns")
    assert f"= {spacing_m:.3f}" in MOVEIT.read_text()
    assert moveit["octomap_resolution"] >= spacing_m
