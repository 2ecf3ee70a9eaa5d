"""Which topics a camera is heard on, after the user's remaps."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rclpy.node import Node

COMPRESSED_SUFFIX = "/compressed"


def in_namespace(camera: str, topic: str) -> str:
    """Name of a camera's topic before remaps; a node's only camera, "", has no namespace of its own."""
    return f"{camera}/{topic}" if camera else topic


def image_topic(node: Node, transport: str, camera: str = "") -> str:
    """Name to subscribe to: `image`, and for the compressed transport what image_transport calls its topic.

    `image` may be remapped to the camera's base topic (`/compressed` is appended) or to the compressed one itself, and
    `image/compressed` may be remapped as image_transport's users are used to.
    """
    image = in_namespace(camera, "image")
    if transport == "raw":
        return image
    relative = image + COMPRESSED_SUFFIX
    if _is_remapped(node, relative):
        return relative
    base = node.resolve_topic_name(image)
    return base if base.endswith(COMPRESSED_SUFFIX) else base + COMPRESSED_SUFFIX


def input_topics(node: Node, transport: str, camera: str = "") -> tuple[str, str]:
    """Names, as resolved, of the image and the CameraInfo that a camera is heard on."""
    image = node.resolve_topic_name(image_topic(node, transport, camera))
    return image, node.resolve_topic_name(camera_info_topic(node, image, camera))


def camera_info_topic(node: Node, resolved_image_topic: str, camera: str = "") -> str:
    """Name to subscribe to: `camera_info` if it is remapped itself, else the sibling of the image that arrives.

    image_transport does the latter for C++ nodes, so that remapping the image alone moves both; rclpy does not.
    """
    camera_info = in_namespace(camera, "camera_info")
    if _is_remapped(node, camera_info):
        return camera_info
    return sibling_camera_info(resolved_image_topic)


def sibling_camera_info(image_topic: str) -> str:
    """Name of the CameraInfo that goes with an image, raw or compressed, by image_transport's rule."""
    return image_topic.removesuffix(COMPRESSED_SUFFIX).rpartition("/")[0] + "/camera_info"


def _is_remapped(node: Node, topic: str) -> bool:
    expanded = node.resolve_topic_name(topic, only_expand=True)
    if node.resolve_topic_name(topic) != expanded:
        return True
    # A rule that gives a topic the name which it has anyway changes nothing that rclpy could show.
    names = (topic, expanded, f"{node.get_name()}:{topic}", f"{node.get_name()}:{expanded}")
    return any(argument.startswith(tuple(f"{name}:=" for name in names)) for argument in sys.argv[1:])
