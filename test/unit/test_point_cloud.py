"""The cloud read back through its own field list: every point reprojects onto its pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from depth_estimation_ros.point_cloud import cloud_message, depth_to_points

K = np.array([[50.0, 0.0, 11.0], [0.0, 40.0, 6.5], [0.0, 0.0, 1.0]])
FLOAT32 = 7  # sensor_msgs/PointField


def read_cloud(msg):
    """Structured (H, W) array over the message's bytes, laid out as its fields say."""
    assert all(field.datatype == FLOAT32 and field.count == 1 for field in msg.fields)
    dtype = np.dtype(
        {
            "names": [field.name for field in msg.fields],
            "formats": ["<f4"] * len(msg.fields),
            "offsets": [field.offset for field in msg.fields],
            "itemsize": msg.point_step,
        }
    )
    assert len(msg.data) == msg.height * msg.row_step
    return np.ndarray((msg.height, msg.width), dtype, bytes(msg.data), strides=(msg.row_step, msg.point_step))


@settings(max_examples=100, deadline=None)
@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    focal_px=st.tuples(st.floats(20, 900), st.floats(20, 900)),
    centre_px=st.tuples(st.floats(-5, 15), st.floats(-5, 15)),
    stride=st.integers(1, 5),
    seed=st.integers(0, 999),
)
def test_every_point_reprojects_onto_its_pixel_at_its_depth(size, focal_px, centre_px, stride, seed):
    stride = min(stride, *size)
    k = np.array([[focal_px[0], 0, centre_px[0]], [0, focal_px[1], centre_px[1]], [0, 0, 1]])
    depth_m = np.random.default_rng(seed).uniform(0.2, 10, size).astype(np.float32)

    points_camera = depth_to_points(depth_m, k, stride)

    assert points_camera.dtype == np.float32
    rows = list(range(stride // 2, size[0], stride))
    columns = list(range(stride // 2, size[1], stride))
    assert points_camera.shape == (len(rows), len(columns), 3)
    projected = points_camera.astype(np.float64) @ k.T
    pixels = projected[..., :2] / projected[..., 2:]
    np.testing.assert_allclose(pixels[..., 0], np.broadcast_to(columns, pixels.shape[:2]), atol=1e-3)
    np.testing.assert_allclose(pixels[..., 1], np.broadcast_to(np.array(rows)[:, None], pixels.shape[:2]), atol=1e-3)
    np.testing.assert_array_equal(points_camera[..., 2], depth_m[np.ix_(rows, columns)])


def test_x_runs_right_along_columns_and_y_down_along_rows():
    msg = cloud_message(np.full((14, 22), 2, np.float32), K, Header(frame_id="camera_optical"), stride=2)
    cloud = read_cloud(msg)
    assert (msg.height, msg.width, cloud.shape) == (7, 11, (7, 11))
    assert (msg.point_step, msg.row_step, msg.is_dense, msg.is_bigendian) == (16, 176, False, False)
    assert msg.header.frame_id == "camera_optical"
    assert cloud.dtype.names == ("x", "y", "z")
    # Pixel (1, 1) is the first point: x = (1 - 11) / 50 * 2, y = (1 - 6.5) / 40 * 2.
    assert cloud[0, 0].tolist() == pytest.approx((-0.4, -0.275, 2.0))
    assert cloud[0, 10].tolist() == pytest.approx((0.4, -0.275, 2.0))
    assert cloud[6, 0].tolist() == pytest.approx((-0.4, 0.325, 2.0))


@pytest.mark.parametrize("depth", [np.nan, np.inf, -np.inf, 0.0, -1.0])
def test_a_depth_that_is_none_gives_a_point_that_is_none(depth):
    depth_m = np.ones((4, 6), np.float32)
    depth_m[2, 3] = depth
    cloud = read_cloud(cloud_message(depth_m, K, Header(), stride=1))
    for name in ("x", "y", "z"):
        assert np.argwhere(np.isnan(cloud[name])).tolist() == [[2, 3]]
        assert np.isfinite(cloud[name]).sum() == 23


def test_points_beyond_the_range_are_nan_and_the_limit_itself_stays():
    depth_m = np.array([[1.0, 3.0, 3.001, 8.0]], np.float32)
    cloud = read_cloud(cloud_message(depth_m, K, Header(), stride=1, max_range_m=3.0))
    assert np.isnan(cloud["z"]).tolist() == [[False, False, True, True]]
    assert np.isnan(cloud["x"]).tolist() == [[False, False, True, True]]


def test_colours_are_exact_and_belong_to_their_pixels():
    rng = np.random.default_rng(1)
    image_rgb = rng.integers(0, 256, (9, 13, 3), dtype=np.uint8)
    image_rgb[1, 1] = 255, 254, 253
    depth_m = rng.uniform(1, 2, (9, 13)).astype(np.float32)
    depth_m[4, 4] = np.nan
    msg = cloud_message(depth_m, K, Header(), stride=3, image_rgb=image_rgb)
    assert [(field.name, field.offset) for field in msg.fields] == [("x", 0), ("y", 4), ("z", 8), ("rgb", 12)]
    assert msg.point_step == 16
    blue, green, red, alpha = np.moveaxis(np.frombuffer(msg.data, np.uint8).reshape(3, 4, 16)[..., 12:], -1, 0)
    np.testing.assert_array_equal(np.stack([red, green, blue], axis=-1), image_rgb[1::3, 1::3])
    assert not alpha.any()


def test_points_are_as_large_without_colour():
    msg = cloud_message(np.ones((4, 4), np.float32), K, Header(), stride=1)
    assert (msg.point_step, len(msg.data)) == (16, 16 * 16)


@pytest.mark.parametrize("stride", [0, -1, 5])
def test_a_stride_beyond_the_image_is_refused(stride):
    with pytest.raises(ValueError, match=r"points\.stride is .* 1 to 4"):
        depth_to_points(np.ones((4, 6), np.float32), K, stride)


def test_an_image_of_another_size_is_refused():
    with pytest.raises(ValueError, match="at the depth's size"):
        cloud_message(np.ones((4, 6), np.float32), K, Header(), image_rgb=np.zeros((6, 4, 3), np.uint8))


def test_the_message_can_be_published():
    serialization = pytest.importorskip("rclpy.serialization")
    image_rgb = np.zeros((4, 6, 3), np.uint8)
    msg = cloud_message(np.ones((4, 6), np.float32), K, Header(), stride=2, image_rgb=image_rgb)
    assert serialization.deserialize_message(serialization.serialize_message(msg), PointCloud2) == msg
