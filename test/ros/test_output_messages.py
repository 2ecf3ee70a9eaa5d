"""Each optional output's message, built from one estimate."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from robot_harness import points_of
from std_msgs.msg import Header

from depth_estimation_ros.calibration import Calibration
from depth_estimation_ros.camera_pipeline import CameraPipeline
from depth_estimation_ros.inference.predictor import Prediction
from depth_estimation_ros.outputs import OUTPUTS
from depth_estimation_ros.parameters import Parameters

BUILD = {output.topic: output for output in OUTPUTS}
SIZE = (240, 320)
HEADER = Header(frame_id="camera_optical")


class RampPredictor:
    """A wall at 2 m and one at 4 m, and between them a ramp of twelve network pixels."""

    def __init__(self, log_depth_sigma: float | None = None):
        sizes = {"native_height": 120, "native_width": 160, "size_multiple": 8, "size_least": 32, "size_most": 1024}
        given = SimpleNamespace(resize_filter="area", fixed_size=(120, 160), **sizes)
        self.contract = SimpleNamespace(input=given, training_focal_px=130.0)
        self._sigma = log_depth_sigma

    def predict(self, image_rgb: np.ndarray, focal_ratio: float) -> Prediction:
        shape = image_rgb.shape[:2]
        depth_m = np.tile(np.clip(2 + 2 * (np.arange(160) - 74) / 12, 2, 4), (120, 1)).astype(np.float32)
        return Prediction(depth_m, None if self._sigma is None else np.full(shape, self._sigma, np.float32))


def build(topic: str, sigma: float | None = None, **given):
    k = np.array([[260.0, 0, 159.5], [0, 260, 119.5], [0, 0, 1]])
    calibration = Calibration(320, 240, k, np.zeros(5), np.eye(3), np.zeros((3, 4)))
    image = np.random.default_rng(5).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    parameters = Parameters(**given)
    estimate = CameraPipeline(RampPredictor(sigma)).estimate(image, calibration, False, parameters)
    return BUILD[topic].build(estimate, HEADER, parameters), estimate


@pytest.mark.parametrize(
    ("topic", "encoding", "pixel_bytes"),
    [
        ("depth/image_rect", "32FC1", 4),
        ("depth/color", "rgb8", 3),
        ("depth/confidence", "32FC1", 4),
        ("rgb/image_rect", "rgb8", 3),
    ],
)
@pytest.mark.parametrize(("output_size", "size"), [("network", (120, 160)), ("camera", SIZE)])
def test_images_have_encoding_and_size(topic, encoding, pixel_bytes, output_size, size):
    msg, _ = build(topic, sigma=0.2, output_size=output_size)
    assert (msg.encoding, (msg.height, msg.width), msg.is_bigendian) == (encoding, size, 0)
    assert (msg.step, len(msg.data)) == (size[1] * pixel_bytes, size[0] * size[1] * pixel_bytes)
    assert msg.header == HEADER
    info, _ = build("depth/camera_info", output_size=output_size)
    assert (info.height, info.width) == size
    scale = size[0] / 240
    np.testing.assert_allclose(np.reshape(info.k, (3, 3))[0], [260 * scale, 0, 160 * scale - 0.5])


def test_the_rectified_image_is_the_pixels_that_depth_belongs_to():
    msg, estimate = build("rgb/image_rect")
    np.testing.assert_array_equal(np.frombuffer(msg.data, np.uint8).reshape(120, 160, 3), estimate.image_rgb)


def test_confidence_is_that_of_the_documented_formula():
    msg, _ = build("depth/confidence", sigma=0.2)
    np.testing.assert_allclose(np.frombuffer(msg.data, "<f4"), 0.7354, atol=1e-4)


def test_without_confidence_there_is_no_message_and_one_sentence():
    msg, estimate = build("depth/confidence")
    assert msg is None
    assert "gives no confidence" in BUILD["depth/confidence"].why_never(estimate)
    assert BUILD["depth/confidence"].why_never(build("depth/confidence", sigma=0.2)[1]) is None
    assert {BUILD[topic].why_never(estimate) for topic in BUILD if topic != "depth/confidence"} == {None}


def test_the_ramp_is_not_in_the_cloud_but_in_the_depth_image():
    cloud, estimate = build("depth/points", **{"points_stride": 1})
    known = np.isfinite(points_of(cloud)).all(axis=-1)
    assert not known[:, 75:86].any()  # what lies between the walls
    assert known[:, :65].all()
    assert known[:, 95:].all()
    assert np.isfinite(estimate.output_depth_m).all()


def test_the_filter_can_be_switched_off_or_set_wide():
    for given in ({"points_filter": False}, {"points_filter_threshold": 1.0}):
        cloud, _ = build("depth/points", **given)
        assert np.isfinite(points_of(cloud)).all()


def test_a_range_within_the_ramp_leaves_no_rim_of_it():
    cloud, _ = build("depth/points", points_stride=1, max_range=3.0)
    known = np.isfinite(points_of(cloud)).all(axis=-1)
    assert not known[:, 75:].any()
    assert known[:, :65].all()


def test_little_confidence_leaves_no_points():
    cloud, estimate = build("depth/points", sigma=0.5, min_confidence=0.5)
    assert np.isnan(points_of(cloud)).all()
    np.testing.assert_array_equal(estimate.suspected_m, build("depth/points")[1].depth_m)  # for the scan's freedom
    cloud, _ = build("depth/points", sigma=0.1, min_confidence=0.5)
    assert np.isfinite(points_of(cloud)).any()


def test_the_scan_is_made_of_near_depth_too():
    """What of it is floor and what a thing is for its height to say; the other outputs leave it out."""
    _, estimate = build("depth/points", min_range=3.0)
    _, whole = build("depth/points")
    near = np.isneginf(estimate.depth_m)
    assert near.any()
    np.testing.assert_array_equal(estimate.scanned_m, whole.surfaces_m)
    np.testing.assert_array_equal(estimate.suspected_m, whole.depth_m)
    _, doubtful = build("depth/points", min_range=3.0, sigma=0.5, min_confidence=0.5)
    assert np.isnan(doubtful.scanned_m).all()
