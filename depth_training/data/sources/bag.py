"""A rosbag2 recording (mcap or sqlite3) of an RGB-D camera: colour, registered depth and camera_info."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_estimation_ros.camera import is_rectified_topic
from depth_estimation_ros.images import ImageError, decode_compressed, decode_image
from depth_training.data.pairs import PairsError
from depth_training.data.sources.bag_depth import Rectifier, decode_depth_message
from depth_training.data.sources.sample import Frame, Sample, Source

logger = logging.getLogger(__name__)

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
CAMERA_INFO_TYPE = "sensor_msgs/msg/CameraInfo"
TRANSPORTS = ("/compressed", "/compressedDepth")
NOT_COLOUR = ("infra", "/ir/", "disparity", "confidence", "mask", "label", "theora", "thermal")
# One room seen for this long: the least that is held apart for validation.
SCENE_NS = 20_000_000_000


@dataclass(frozen=True)
class BagOptions:
    """What to take from a recording.

    Attributes:
        image_topic: Colour; empty: the only one, or the one named color or rgb.
        depth_topic: Depth registered to the colour image; empty: likewise, aligned or registered.
        camera_info_topic: Of the colour camera; empty: the image topic's sibling.
        tolerance_s: Greatest difference of the two stamps, seconds.
        spacing_s: Least time between two pairs, seconds.
        trust_registration: Take depth of another frame_id as registered to the colour image.
    """

    image_topic: str = ""
    depth_topic: str = ""
    camera_info_topic: str = ""
    tolerance_s: float = 0.02
    spacing_s: float = 0.0
    trust_registration: bool = False


@dataclass
class _Stream:
    """What the first pass over a recording learns of one topic."""

    topic: str
    stamps_ns: list[int] = field(default_factory=list)
    frame_id: str = ""


def match_stamps(image_ns: np.ndarray, depth_ns: np.ndarray, tolerance_ns: int) -> np.ndarray:
    """Pair images with depth maps by stamp: each with its nearest, none twice.

    Args:
        image_ns: (N,) int64 stamps in any order.
        depth_ns: (M,) int64 likewise.
        tolerance_ns: Greatest difference.

    Returns:
        (P, 2) int64 places in ``image_ns`` and ``depth_ns``, by image stamp.
    """
    if not (len(image_ns) and len(depth_ns)):
        return np.empty((0, 2), np.int64)
    order = np.argsort(depth_ns, kind="stable")
    after = np.searchsorted(depth_ns[order], image_ns).clip(1, max(1, len(order) - 1))
    neighbours = order[np.stack([after - 1, np.minimum(after, len(order) - 1)])]  # (2, N)
    gaps = np.abs(depth_ns[neighbours] - image_ns)
    side = gaps.argmin(axis=0)
    images = np.arange(len(image_ns))
    depths, gap = neighbours[side, images], gaps[side, images]
    nearest_first = np.lexsort((images, gap))
    nearest_first = nearest_first[gap[nearest_first] <= tolerance_ns]
    _, first = np.unique(depths[nearest_first], return_index=True)  # of several images the nearest keeps the depth
    chosen = nearest_first[first]
    chosen = chosen[np.argsort(image_ns[chosen], kind="stable")]
    return np.column_stack([chosen, depths[chosen]])


def spaced(stamps_ns: np.ndarray, spacing_ns: int) -> list[int]:
    """Places in rising stamps that lie at least ``spacing_ns`` apart, the first included."""
    places: list[int] = []
    for place, stamp in enumerate(stamps_ns):
        if not places or stamp - stamps_ns[places[-1]] >= spacing_ns:
            places.append(place)
    return places


def choose_topic(role: str, topics: Collection[str], preferred: Collection[str], asked: str, option: str) -> str:
    """Take the topic asked for, or the only one that fits.

    Raises:
        PairsError: It is not in the recording, none fits, or several do.
    """
    if asked and asked in topics:
        return asked
    listed = ", ".join(sorted(topics)) or "none"
    if asked:
        raise PairsError(f"topic {asked} is not among the recording's image topics ({listed}): correct {option}")
    fitting = [topic for topic in topics if any(word in topic for word in preferred)] or list(topics)
    # Of one camera's raw and compressed images, raw has lost nothing.
    fitting = [topic for topic in fitting if not topic.endswith(TRANSPORTS)] or fitting
    if len(fitting) != 1:
        raise PairsError(f"the recording has {len(fitting)} topics that may be {role} ({listed}): name one by {option}")
    return fitting[0]


def open_bag(path: Path, options: BagOptions | None = None) -> Source:
    """List the pairs of a recording: two passes, the first over stamps alone.

    A raw colour image of a lens with distortion is rectified, and its depth with it.

    Args:
        path: The recording's folder, or a single .mcap or .db3 file.
        options: Topics, matching and thinning.

    Raises:
        PairsError: No recording, topics that are missing or not clear, depth that is not registered, or no match.
    """
    options = options or BagOptions()
    with _opened(path) as bag:
        image, depth, camera_info = _first_pass(bag, options)
    _check_registration(image, depth, options)
    image_ns, depth_ns = np.array(image.stamps_ns, np.int64), np.array(depth.stamps_ns, np.int64)
    matches = match_stamps(image_ns, depth_ns, round(options.tolerance_s * 1e9))
    if not len(matches):
        raise PairsError(
            f"none of {len(image_ns)} images on {image.topic} has one of {len(depth_ns)} depth maps on {depth.topic} "
            f"within {options.tolerance_s:g} s: raise --tolerance, or record both from one camera"
        )
    matches = matches[spaced(image_ns[matches[:, 0]], round(options.spacing_s * 1e9))]
    logger.info("%s with %s: %d pairs", image.topic, depth.topic, len(matches))
    rectifier = Rectifier(camera_info, is_rectified_topic(image.topic, "auto"), is_rectified_topic(depth.topic, "auto"))
    return Source(len(matches), _samples(path, image, depth, matches, rectifier))


class _opened:  # noqa: N801 - a context manager that reads as a verb
    """The reader of a recording, its errors in our words."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self):
        try:
            from rosbags.highlevel import AnyReader
            from rosbags.typesys import Stores, get_typestore
        except ImportError as error:
            raise PairsError("reading a recording needs rosbags: pip install '.[train]'") from error
        if not self.path.exists() or self.path.suffix == ".bag":
            raise PairsError(
                f"{self.path} is no ROS 2 recording: give its folder, or a .mcap or .db3 file (rosbags-convert turns a "
                "ROS 1 bag into one)"
            )
        try:
            # Recordings older than Iron say nothing of their types; sensor_msgs has not changed since.
            self.reader = AnyReader([self.path], default_typestore=get_typestore(Stores.ROS2_HUMBLE))
            self.reader.open()
        except Exception as error:  # rosbags, sqlite and yaml each raise their own
            raise PairsError(
                f"{self.path} cannot be opened ({error}): `ros2 bag reindex` mends a recording that was not closed"
            ) from error
        return self.reader

    def __exit__(self, kind, error, traceback) -> None:
        self.reader.close()
        if isinstance(error, sqlite3.Error):
            raise PairsError(f"{self.path} is broken ({error}): copy it again") from error


def _first_pass(bag: Any, options: BagOptions) -> tuple[_Stream, _Stream, Any | None]:
    topics = [connection.topic for connection in bag.connections if connection.msgtype in IMAGE_TYPES]
    depths = [topic for topic in topics if "depth" in topic.lower()]
    colours = [topic for topic in topics if topic not in depths and not any(word in topic for word in NOT_COLOUR)]
    if options.depth_topic:
        depths = topics
    if options.image_topic:
        colours = topics
    image = _Stream(choose_topic("the colour image", colours, ("color", "rgb"), options.image_topic, "--image-topic"))
    depth = _Stream(
        choose_topic("registered depth", depths, ("aligned", "registered"), options.depth_topic, "--depth-topic")
    )
    base = next(
        (image.topic.removesuffix(ending) for ending in TRANSPORTS if image.topic.endswith(ending)), image.topic
    )
    info_topic = options.camera_info_topic or base.rpartition("/")[0] + "/camera_info"
    wanted = {image.topic: image, depth.topic: depth, info_topic: None}
    camera_info = None
    for connection, log_ns, data in bag.messages([c for c in bag.connections if c.topic in wanted]):
        stream = wanted[connection.topic]
        if stream is not None:
            header = bag.deserialize(data, connection.msgtype).header
            stamp_ns = header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
            stream.stamps_ns.append(stamp_ns or log_ns)
            stream.frame_id = stream.frame_id or header.frame_id
        elif camera_info is None and connection.msgtype == CAMERA_INFO_TYPE:
            camera_info = bag.deserialize(data, connection.msgtype)
    if camera_info is None:
        logger.warning("no CameraInfo on %s: give --fx and --fy, or the training camera's will be assumed", info_topic)
    return image, depth, camera_info


def _check_registration(image: _Stream, depth: _Stream, options: BagOptions) -> None:
    if image.frame_id != depth.frame_id and not options.trust_registration:
        raise PairsError(
            f"depth on {depth.topic} is in frame {depth.frame_id!r}, the image on {image.topic} in {image.frame_id!r}: "
            "record depth registered to the colour image (aligned_depth_to_color, depth_registered), or add "
            "--trust-registration where you know that it is"
        )


def _samples(path: Path, image: _Stream, depth: _Stream, matches: np.ndarray, rectifier: Rectifier) -> Iterator[Sample]:
    matches_of_image = {int(i): place for place, (i, _) in enumerate(matches)}
    matches_of_depth = {int(j): place for place, (_, j) in enumerate(matches)}
    counters = {image.topic: iter(range(len(image.stamps_ns))), depth.topic: iter(range(len(depth.stamps_ns)))}
    places = {image.topic: matches_of_image, depth.topic: matches_of_depth}
    start_ns = image.stamps_ns[matches[0, 0]]
    pending: dict[int, dict[str, Any]] = {}
    with _opened(path) as bag:
        for connection, _, data in bag.messages([c for c in bag.connections if c.topic in places]):
            place = places[connection.topic].get(next(counters[connection.topic], -1))
            if place is None:
                continue
            waiting = pending.setdefault(place, {})
            waiting[connection.topic] = (data, connection.msgtype)
            if len(waiting) < 2:
                continue
            messages = {topic: _deserialiser(bag.typestore, *raw) for topic, raw in pending.pop(place).items()}
            stamp_ns = image.stamps_ns[matches[place, 0]]
            name = f"{image.topic} at {stamp_ns / 1e9:.3f} s"
            scene = f"{path.stem}/{(stamp_ns - start_ns) // SCENE_NS:04}"
            read = _reader(messages[image.topic], messages[depth.topic], rectifier, name)
            yield Sample(name, int(matches[place, 0]), scene, read)


def _deserialiser(typestore: Any, data: bytes, msgtype: str) -> Callable[[], Any]:
    return lambda: typestore.deserialize_cdr(data, msgtype)


def _reader(image: Callable[[], Any], depth: Callable[[], Any], rectifier: Rectifier, name: str) -> Callable[[], Frame]:
    def read() -> Frame:
        message = image()
        try:
            image_rgb = decode_compressed(message) if hasattr(message, "format") else decode_image(message)
        except ImageError as error:
            raise PairsError(f"{name}: {error}") from error
        depth_m = decode_depth_message(depth(), name)
        if image_rgb.shape[:2] != depth_m.shape:
            return Frame(image_rgb, depth_m)  # refused by the size check, which knows the words
        before = rectifier.warning
        rectified_rgb, depth_m, intrinsics = rectifier(image_rgb, depth_m)
        if rectifier.warning and rectifier.warning != before:
            logger.warning("%s", rectifier.warning)
        same = rectified_rgb is image_rgb and hasattr(message, "format")
        return Frame(rectified_rgb, depth_m, intrinsics, _file_of(message, image_rgb) if same else None)

    return read


def _file_of(message: Any, image_rgb: np.ndarray) -> tuple[str, bytes] | None:
    data = bytes(message.data)
    # A Bayer mosaic, for one, is a grey picture to whoever reads the file without its message.
    read_bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if read_bgr is None or not np.array_equal(read_bgr[..., ::-1], image_rgb):
        return None
    return (".png" if data.startswith(b"\x89PNG") else ".jpg"), data
