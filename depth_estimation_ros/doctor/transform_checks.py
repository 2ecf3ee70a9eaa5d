"""Whether tf leads from the camera's optical frame to the robot's base."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from depth_estimation_ros.camera_pose import rotation_from_quaternion
from depth_estimation_ros.doctor.findings import Finding

MOUNT_IT = "depth.launch.py camera_height:=… camera_pitch:=… camera_frame:=…, or the camera's joint in the robot's URDF"
UPRIGHT = 0.9
"""An axis whose part along the base's z axis exceeds this points up: within 26 degrees."""


@dataclass(frozen=True)
class Edge:
    """One transform: the child's parent, and the child's orientation in it as a quaternion (x, y, z, w)."""

    parent: str
    orientation: tuple[float, float, float, float]


@dataclass(frozen=True)
class TransformFacts:
    """What was heard on /tf and /tf_static.

    Attributes:
        edges: By child frame; None where the messages' package is not installed.
        camera_frame: frame_id of the node's outputs; None where no image came.
        base_frame: Where the cloud has to get to.
    """

    edges: Mapping[str, Edge] | None
    camera_frame: str | None
    base_frame: str


def check_transforms(facts: TransformFacts) -> list[Finding]:
    """The camera's frame has a name, is joined to the base, and is an optical one."""
    camera, base = facts.camera_frame, facts.base_frame
    if camera is None:
        return []
    if not camera:
        return [
            Finding(
                "ERROR",
                "images have no frame_id, so nothing can place the cloud",
                "set the driver's frame_id or the node's optical_frame to the camera's optical frame",
            )
        ]
    if facts.edges is None:
        return [
            Finding(
                "WARN", "tf is not looked at: tf2_msgs is not installed", "sudo apt install ros-$ROS_DISTRO-tf2-msgs"
            )
        ]
    if camera == base:
        return [Finding("OK", f"the images' frame {camera!r} is the base itself")]
    if not facts.edges:
        return [
            Finding(
                "WARN",
                "there is no tf: rviz shows the cloud in its own frame only, and nav2 cannot use it",
                f"publish the camera's transform: {MOUNT_IT}",
            )
        ]
    from_camera, from_base = path_to_root(facts.edges, camera), path_to_root(facts.edges, base)
    known = sorted(set(facts.edges) | {edge.parent for edge in facts.edges.values()})
    if from_camera[-1] != from_base[-1]:
        absent = [frame for frame in (camera, base) if frame not in known]
        why = f"tf does not know {' nor '.join(map(repr, absent))}" if absent else "they are in separate trees"
        return [
            Finding(
                "ERROR",
                f"tf does not lead from {camera!r} to {base!r}: {why}",
                f"join them: {MOUNT_IT}; or name another --base, of {', '.join(known)}",
            )
        ]
    rotation = rotation_to_root(facts.edges, from_base).T @ rotation_to_root(facts.edges, from_camera)
    if rotation[2, 2] > UPRIGHT:
        return [
            Finding(
                "WARN",
                f"{camera!r} hardly is an optical frame: its z axis, where the camera looks, points up in {base!r}",
                "unless the camera looks at the ceiling, let the driver's frame_id, or the node's optical_frame, name "
                "the frame with z forward, x right and y down (REP 103), usually the one that ends in _optical_frame",
            )
        ]
    return [Finding("OK", f"tf leads from {camera!r} to {base!r}")]


def path_to_root(edges: Mapping[str, Edge], frame: str) -> list[str]:
    """The frame and its ancestors, the root last; a loop ends where it would begin again."""
    path = [frame]
    while path[-1] in edges and edges[path[-1]].parent not in path:
        path.append(edges[path[-1]].parent)
    return path


def rotation_to_root(edges: Mapping[str, Edge], path: list[str]) -> npt.NDArray[np.float64]:
    """(3, 3) rotation of vectors in the path's first frame into its last."""
    rotation = np.eye(3)
    for child in path[:-1]:
        rotation = rotation_matrix(edges[child].orientation) @ rotation
    return rotation


def rotation_matrix(quaternion: tuple[float, float, float, float]) -> npt.NDArray[np.float64]:
    """(3, 3) from a quaternion (x, y, z, w) of any length but zero, which gives the identity."""
    return rotation_from_quaternion(*quaternion) if any(quaternion) else np.eye(3)
