"""Recordings written by rosbags in both storages, read back pair by pair."""

import struct

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="depth_training needs the train extra")
pytest.importorskip("rosbags.rosbag2", reason="recordings need rosbags")

from hypothesis import given
from hypothesis import strategies as st
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from depth_training.data.pairs import PairsError, read_image, read_pairs
from depth_training.data.prepare import prepare
from depth_training.data.sources import detect_kind
from depth_training.data.sources.bag import BagOptions, match_stamps, open_bag, spaced

STORE = get_typestore(Stores.ROS2_HUMBLE)
HEIGHT, WIDTH = 48, 64
COLOUR, DEPTH = "/camera/color/image_raw", "/camera/aligned_depth_to_color/image_raw"
MS = 1_000_000


def header(stamp_ns: int, frame_id: str = "camera_color_optical_frame"):
    time = STORE.types["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
    return STORE.types["std_msgs/msg/Header"](time, frame_id)


def image(stamp_ns: int, encoding: str, array: np.ndarray, frame_id="camera_color_optical_frame", padding=0, big=False):
    rows = array.astype(array.dtype.newbyteorder(">" if big else "<")).reshape(len(array), -1).view(np.uint8)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    height, width = array.shape[:2]
    fields = header(stamp_ns, frame_id), height, width, encoding, int(big), rows.shape[1], rows.ravel()
    return STORE.types["sensor_msgs/msg/Image"](*fields)


def compressed(stamp_ns: int, kind: str, data: bytes):
    make = STORE.types["sensor_msgs/msg/CompressedImage"]
    return make(header(stamp_ns), kind, np.frombuffer(data, np.uint8))


def camera_info(stamp_ns: int, distortion=(0.0,) * 5, zoom: float = 1.0):
    k = np.array([60.0, 0, 31, 0, 61, 24, 0, 0, 1])
    p = np.array([60.0 * zoom, 0, 31, 0, 0, 61 * zoom, 24, 0, 0, 0, 1, 0])
    roi = STORE.types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    make = STORE.types["sensor_msgs/msg/CameraInfo"]
    return make(header(stamp_ns), HEIGHT, WIDTH, "plumb_bob", np.array(distortion), k, np.eye(3).ravel(), p, 0, 0, roi)


def record(path, messages, plugin=StoragePlugin.MCAP):
    """Write (topic, log time, message) in the order given."""
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        connections = {}
        for topic, log_ns, message in messages:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, message.__msgtype__, typestore=STORE)
            writer.write(connections[topic], log_ns, STORE.serialize_cdr(message, message.__msgtype__))
    return path


def colour_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def depth_of(number: int) -> np.ndarray:
    """Millimetres with holes."""
    depth = np.full((HEIGHT, WIDTH), 1000 + 100 * number, np.uint16)
    depth[:4] = 0
    return depth


START = 1_700_000_000 * 10**9


def recording(frames: int = 6, depth_late_ms: int = 8):
    yield "/camera/color/camera_info", START, camera_info(START)
    for number in range(frames):
        stamp = START + number * 100 * MS
        yield COLOUR, stamp + 5 * MS, image(stamp, "rgb8", colour_of(number))
        yield DEPTH, stamp + 30 * MS, image(stamp + depth_late_ms * MS, "16UC1", depth_of(number))


@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3], ids=["mcap", "sqlite3"])
def test_a_recording_gives_its_pairs(tmp_path, plugin):
    path = record(tmp_path / "bag", recording(), plugin)
    assert detect_kind(path) == "bag"
    source = open_bag(path)
    assert source.count == 6
    for number, sample in enumerate(source.samples):
        frame = sample.read()
        assert np.array_equal(frame.image_rgb, colour_of(number))
        assert frame.depth_m == pytest.approx(depth_of(number) / 1000)
        assert (frame.intrinsics.fx, frame.intrinsics.fy, frame.intrinsics.cx) == (60, 61, 31)
        assert sample.index == number
    (storage,) = (file for file in path.iterdir() if file.suffix in (".mcap", ".db3"))
    assert open_bag(storage).count == 6


def test_frames_are_matched_by_stamp_not_by_order(tmp_path):
    """Depth arrives late and two of its frames are missing: no image may get another's depth."""
    messages = [m for m in recording(8) if not (m[0] == DEPTH and m[1] in (START + 230 * MS, START + 530 * MS))]
    late = sorted(messages, key=lambda m: m[1] + (250 * MS if m[0] == DEPTH else 0))
    path = record(tmp_path / "bag", late)
    got = [(sample.index, float(sample.read().depth_m.max())) for sample in open_bag(path).samples]
    assert got == [(i, pytest.approx(1 + 0.1 * i)) for i in (0, 1, 3, 4, 6, 7)]


def test_thinning_by_time_and_scenes_by_stretch(tmp_path):
    path = record(tmp_path / "bag", recording(10))
    assert [s.index for s in open_bag(path, BagOptions(spacing_s=0.3)).samples] == [0, 3, 6, 9]
    assert {s.scene for s in open_bag(path).samples} == {"bag/0000"}
    with pytest.raises(PairsError, match=r"none of 10 images.*--tolerance"):
        open_bag(path, BagOptions(tolerance_s=0.005))


def inverse_depth_png(metres: np.ndarray) -> bytes:
    """As compressed_depth_image_transport writes 32FC1, with its default quantisation."""
    numerator, offset = 100.0 * 101.0, 1.0 - 100.0 * 101.0 / 10.0
    steps = np.where(metres > 0, numerator / np.maximum(metres, 1e-6) + offset, 0).astype(np.uint16)
    return struct.pack("<iff", 0, numerator, offset) + cv2.imencode(".png", steps)[1].tobytes()


@pytest.mark.parametrize(
    "message",
    [
        lambda: image(START, "32FC1", np.where(depth_of(3) > 0, depth_of(3) / 1000, np.nan).astype(np.float32)),
        lambda: image(START, "16UC1", depth_of(3), padding=6),
        lambda: image(START, "16UC1", depth_of(3), big=True),
        lambda: compressed(
            START, "16UC1; compressedDepth png", bytes(12) + cv2.imencode(".png", depth_of(3))[1].tobytes()
        ),
        lambda: compressed(START, "16UC1; png compressed ", cv2.imencode(".png", depth_of(3))[1].tobytes()),
        lambda: compressed(START, "32FC1; compressedDepth", inverse_depth_png(depth_of(3) / 1000)),
    ],
    ids=["32FC1", "padded", "big endian", "compressedDepth", "compressed", "compressedDepth 32FC1"],
)
def test_every_way_of_sending_depth(tmp_path, message):
    topic = DEPTH + ("/compressedDepth" if hasattr(message(), "format") else "")
    colour = compressed(START, "rgb8; jpeg compressed bgr8", cv2.imencode(".jpg", colour_of(1))[1].tobytes())
    messages = [(COLOUR + "/compressed", START, colour), (topic, START + 1, message())]
    (sample,) = open_bag(record(tmp_path / "bag", messages)).samples
    frame = sample.read()
    assert frame.depth_m == pytest.approx(depth_of(3) / 1000, rel=2e-3)
    assert frame.encoded == (".jpg", bytes(colour.data))
    assert frame.intrinsics is None


def test_a_mosaic_in_a_png_is_stored_in_the_colours_that_were_read_from_it(tmp_path):
    mosaic = np.empty((HEIGHT, WIDTH), np.uint8)
    mosaic[::2, ::2], mosaic[1::2, 1::2] = 220, 10  # rggb of one colour
    mosaic[::2, 1::2] = mosaic[1::2, ::2] = 40
    png = cv2.imencode(".png", mosaic)[1].tobytes()
    colour = compressed(START, "bayer_rggb8; png compressed bayer_rggb8", png)
    messages = [(COLOUR + "/compressed", START, colour), (DEPTH, START, image(START, "16UC1", depth_of(1)))]
    result = prepare(open_bag(record(tmp_path / "bag", messages)).samples, tmp_path / "pairs")
    (pair,) = read_pairs(result.pairs)
    inside = read_image(pair.image)[4:-4, 4:-4]
    assert np.abs(inside.astype(int) - (220, 40, 10)).max() <= 6  # a jpeg


def test_depth_that_is_not_registered_is_refused_unless_trusted(tmp_path):
    messages = [
        (COLOUR, START, image(START, "rgb8", colour_of(0))),
        ("/camera/depth/image_rect_raw", START, image(START, "16UC1", depth_of(0), "camera_depth_optical_frame")),
    ]
    path = record(tmp_path / "bag", messages)
    with pytest.raises(PairsError, match=r"frame 'camera_depth_optical_frame'.*aligned_depth_to_color"):
        open_bag(path)
    assert open_bag(path, BagOptions(trust_registration=True)).count == 1


def test_several_cameras_are_asked_about_and_a_wrong_topic_named(tmp_path):
    other = [("/rear/color/image_raw", START, image(START, "rgb8", colour_of(0)))]
    path = record(tmp_path / "bag", [*recording(2), *other])
    with pytest.raises(PairsError, match=r"2 topics that may be the colour image.*/rear/color.*--image-topic"):
        open_bag(path)
    assert open_bag(path, BagOptions(image_topic=COLOUR)).count == 2
    with pytest.raises(PairsError, match="/none is not among"):
        open_bag(path, BagOptions(image_topic="/none"))


def test_what_is_no_recording_is_refused(tmp_path):
    path = record(tmp_path / "bag", recording(2))
    (storage,) = path.glob("*.mcap")
    storage.write_bytes(storage.read_bytes()[:3000])
    with pytest.raises(PairsError, match="reindex"):
        open_bag(path)
    with pytest.raises(PairsError, match="no ROS 2 recording"):
        open_bag(tmp_path / "old.bag")
    (tmp_path / "x.db3").write_text("nothing")
    with pytest.raises(PairsError, match=r"cannot be opened|broken"):
        open_bag(tmp_path / "x.db3")


@pytest.mark.parametrize("zoom", [1.0, 0.4], ids=["as large", "so small that the picture is averaged first"])
def test_a_raw_image_of_a_lens_is_rectified_with_its_depth(tmp_path, zoom):
    """Oracle: OpenCV's undistortPoints. The picture and the depth hold each pixel's own column."""
    distortion = (-0.25, 0.05, 0.0, 0.0, 0.0)
    columns = np.tile(np.arange(WIDTH), (HEIGHT, 1))
    messages = [
        ("/camera/color/camera_info", START, camera_info(START, distortion, zoom)),
        (COLOUR, START, image(START, "mono8", (columns * 3).astype(np.uint8))),
        (DEPTH, START, image(START, "16UC1", (1000 + columns * 10).astype(np.uint16))),
    ]
    (sample,) = open_bag(record(tmp_path / "bag", messages)).samples
    frame = sample.read()
    k = np.array([[60.0, 0, 31], [0, 61, 24], [0, 0, 1]])
    k_shown = k * [[zoom, 1, 1], [1, zoom, 1], [1, 1, 1]]
    pixels = np.float64([[[x, y]] for x in (8, 20, 45, 56) for y in (10, 24, 40)])
    for (x, y), (u, v) in zip(
        pixels[:, 0], cv2.undistortPoints(pixels, k, np.array(distortion), P=k_shown)[:, 0], strict=True
    ):
        column, row = round(u), round(v)
        if not (2 <= column < WIDTH - 2 and 2 <= row < HEIGHT - 2):
            continue
        assert frame.image_rgb[row, column, 0] / 3 == pytest.approx(x, abs=1.0 / zoom), (x, y)
        assert (frame.depth_m[row, column] * 1000 - 1000) / 10 == pytest.approx(x, abs=1.2 / zoom), (x, y)


stamps = st.lists(st.integers(0, 500), unique=True, max_size=30)


@given(stamps, stamps, st.integers(0, 40))
def test_no_frame_is_matched_twice_or_beyond_the_tolerance(images, depths, tolerance):
    image_ns, depth_ns = np.array(images, np.int64), np.array(depths, np.int64)
    matches = match_stamps(image_ns, depth_ns, tolerance)
    assert len(set(matches[:, 0])) == len(set(matches[:, 1])) == len(matches)
    gaps = {(i, j): abs(images[i] - depths[j]) for i in range(len(images)) for j in range(len(depths))}
    for i, j in matches:
        assert gaps[i, j] <= tolerance
        assert gaps[i, j] == min(gaps[i, other] for other in range(len(depths)))
    # An image and a depth map that are each other's nearest, and near enough, are never left apart.
    matched = {tuple(pair) for pair in matches.tolist()}
    for (i, j), gap in gaps.items():
        alone = all(gap < gaps[i, o] for o in range(len(depths)) if o != j)
        alone = alone and all(gap < gaps[o, j] for o in range(len(images)) if o != i)
        assert (i, j) in matched or gap > tolerance or not alone
    assert (np.diff(image_ns[matches[:, 0]]) > 0).all()


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40), st.integers(0, 200))
def test_spacing_keeps_the_first_and_skips_what_is_too_near(values, spacing):
    rising = np.sort(np.array(values, np.int64))
    kept = rising[spaced(rising, spacing)]
    assert kept[0] == rising[0]
    assert (np.diff(kept) >= spacing).all()
    assert all((value - kept[kept <= value]).min() < max(spacing, 1) for value in rising)
