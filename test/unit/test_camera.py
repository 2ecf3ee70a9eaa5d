"""Camera geometry against OpenCV's own distortion, image_geometry's formulas written again, and closed forms."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, RegionOfInterest
from std_msgs.msg import Header

from depth_estimation_ros.camera import (
    Calibration,
    camera_info_message,
    fold,
    is_rectified_topic,
    plan_view,
    rectified_focal_px,
)
from depth_estimation_ros.point_cloud import depth_to_points

LENSES = {
    "plumb_bob-4": ("plumb_bob", [-0.21, 0.06, 0.0012, -0.0008]),
    "plumb_bob-5": ("plumb_bob", [-0.28, 0.09, 0.0006, -0.0011, -0.012]),
    "rational-8": ("rational_polynomial", [0.35, -0.12, 0.0007, 0.0004, -0.004, 0.62, -0.09, -0.02]),
    "thin-prism-12": (
        "rational_polynomial",
        [0.35, -0.12, 0.0007, 0.0004, -0.004, 0.62, -0.09, -0.02, 0.001, -0.0006, 0.0008, 0.0004],
    ),
    "tilted-14": (
        "rational_polynomial",
        [-0.2, 0.05, 0.0007, 0.0004, 0.0, 0.0, 0.0, 0.0, 0.001, -0.0006, 0.0008, 0.0004, 0.01, -0.015],
    ),
    "equidistant-4": ("equidistant", [-0.012, 0.005, -0.002, 0.0004]),
    "equidistant-zero": ("equidistant", [0.0, 0.0, 0.0, 0.0]),
}
PLANE_NORMAL, PLANE_DISTANCE_M = np.array([0.35, -0.25, 0.9]), 2.1  # normal . point = distance


def calibration(**changes):
    """A 640x480 camera of one sort; `changes` are fields of CameraInfo."""
    fields = {
        "width": 640,
        "height": 480,
        "k": [430.0, 0, 326.5, 0, 424.0, 236.25, 0, 0, 1],
        "d": [],
        "r": np.eye(3).ravel().tolist(),
        "p": [410.0, 0, 322.0, 0, 0, 405.0, 241.0, 0, 0, 0, 1, 0],
        "distortion_model": "plumb_bob",
        "binning_x": 0,
        "binning_y": 0,
        "roi": SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    }
    return Calibration.from_camera_info(SimpleNamespace(**{**fields, **changes}))


def roi(x_offset, y_offset, width, height):
    return SimpleNamespace(x_offset=x_offset, y_offset=y_offset, width=width, height=height)


def plan(camera, image_size=(480, 640), network_size=(240, 320), rectified=False, hfov_deg=0.0, resize_filter="area"):
    return plan_view(camera, image_size, network_size, rectified, hfov_deg, resize_filter)


def undistort(pixels, camera):
    """Rays (N, 3) with z = 1 in the rectified camera for (N, 2) pixels of the full, unbinned, distorted image."""
    criteria = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 200, 1e-12)
    if camera.distortion_model == "equidistant":
        function = cv2.fisheye.undistortPoints
    else:
        function = getattr(cv2, "undistortPointsIter", cv2.undistortPoints)  # OpenCV 4 iterates to a target only there
    source = np.ascontiguousarray(pixels, np.float64).reshape(-1, 1, 2)
    normalised = function(source, camera.k, camera.d, R=camera.r, P=np.eye(3), criteria=criteria).reshape(-1, 2)
    return np.column_stack([normalised, np.ones(len(normalised))])


def distort(points_camera, camera):
    """(N, 2) pixels of the full, unbinned, distorted image for (N, 3) points in the rectified camera."""
    rotation_vector, zero = cv2.Rodrigues(camera.r.T)[0], np.zeros(3)
    points = np.ascontiguousarray(points_camera, np.float64).reshape(-1, 1, 3)
    if camera.distortion_model == "equidistant":
        return cv2.fisheye.projectPoints(points, rotation_vector, zero, camera.k, camera.d)[0].reshape(-1, 2)
    return cv2.projectPoints(points, rotation_vector, zero, camera.k, camera.d)[0].reshape(-1, 2)


def to_image_pixels(full_pixels, camera):
    """CameraInfo's own words: the window's offset in sensor pixels, then the binning."""
    offset = np.array([camera.roi.x_offset, camera.roi.y_offset])
    return (full_pixels - offset) / [max(1, camera.binning_x), max(1, camera.binning_y)]


def render_plane(camera, image_size):
    """(H, W) float32: the z-depth of the plane along each pixel of the image that such a camera sends."""
    rows, columns = np.mgrid[0 : image_size[0], 0 : image_size[1]]
    image_pixels = np.stack([columns, rows], axis=-1).reshape(-1, 2)
    binning = [max(1, camera.binning_x), max(1, camera.binning_y)]
    full_pixels = image_pixels * binning + [camera.roi.x_offset, camera.roi.y_offset]
    rays = undistort(full_pixels, camera)
    np.testing.assert_allclose(distort(rays, camera), full_pixels, atol=1e-6)  # the rays are the image's own
    return (PLANE_DISTANCE_M / (rays @ PLANE_NORMAL)).reshape(image_size).astype(np.float32)


@pytest.mark.parametrize(
    ("window", "binning", "image_size", "network_size"),
    [
        ((0, 0, 0, 0), (0, 0), (480, 640), (240, 320)),
        ((40, 30, 560, 420), (2, 2), (210, 280), (160, 224)),
        ((33, 21, 576, 440), (2, 4), (110, 288), (96, 256)),
        ((0, 0, 0, 0), (1, 1), (480, 640), (96, 128)),  # shrinks five times: through INTER_AREA
        ((0, 0, 320, 240), (1, 1), (240, 320), (288, 384)),  # a window of the upper left quarter, enlarged
    ],
)
@pytest.mark.parametrize("lens", list(LENSES))
def test_a_slanted_plane_seen_through_a_lens_comes_back_as_a_plane(lens, window, binning, image_size, network_size):
    distortion_model, d = LENSES[lens]
    rotation = cv2.Rodrigues(np.radians([1.2, -0.9, 0.6]))[0]
    camera = calibration(
        distortion_model=distortion_model,
        d=d,
        r=rotation.ravel().tolist(),
        binning_x=binning[0],
        binning_y=binning[1],
        roi=roi(*window),
    )
    depth_image_m = render_plane(camera, image_size)

    view = plan(camera, image_size, network_size)
    assert (view.why_no_cloud, view.warnings) == (None, ())
    depth_m = view.apply(depth_image_m)

    assert depth_m.shape == network_size
    points_camera = depth_to_points(depth_m, view.k_network, 1).reshape(-1, 3).astype(np.float64)
    off_plane_m = np.abs(points_camera @ PLANE_NORMAL - PLANE_DISTANCE_M) / np.linalg.norm(PLANE_NORMAL)
    pixels = to_image_pixels(distort(points_camera, camera), camera)
    # Behind the outermost pixel centres depth is the border repeated, no longer the plane.
    margin = max(1, image_size[0] // network_size[0]) / 2
    seen = np.all((pixels >= margin) & (pixels <= np.array(image_size[::-1]) - 1 - margin), axis=1)
    valid = np.ones(len(seen), bool) if view.valid_mask is None else view.valid_mask.ravel()
    assert valid[seen].all()
    assert seen.mean() > 0.4
    assert off_plane_m[seen].max() < 1e-3


@pytest.mark.parametrize(
    ("lens", "rotation_deg"), [*((lens, (0, 0, 0)) for lens in LENSES), ("equidistant-4", (5, 62, -3))]
)
def test_valid_pixels_are_exactly_those_the_camera_saw(lens, rotation_deg):
    distortion_model, d = LENSES[lens]
    # P sees more than the lens does, as after a calibration that keeps every pixel; turned far, even what is behind it.
    camera = calibration(
        distortion_model=distortion_model,
        d=d,
        r=cv2.Rodrigues(np.radians(rotation_deg))[0].ravel().tolist(),
        p=[300.0, 0, 330, 0, 0, 300.0, 225, 0, 0, 0, 1, 0],
    )
    view = plan(camera)
    rows, columns = np.mgrid[0:240, 0:320]
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1).reshape(-1, 3) @ np.linalg.inv(view.k_network).T
    x, y = distort(rays, camera).T
    beyond_px = np.max([-0.5 - x, x - 639.5, -0.5 - y, y - 479.5], axis=0)  # > 0 outside the image's outer edge
    behind = (rays @ camera.r)[:, 2] <= 0
    assert behind.any() == any(rotation_deg)
    assert view.valid_mask is not None
    assert not view.valid_mask.ravel()[(beyond_px > 0.01) | behind].any()
    assert view.valid_mask.ravel()[(beyond_px < -0.01) & ~behind].all()
    assert view.apply(np.full((480, 640, 3), 9, np.uint8)).max() == 9


@pytest.mark.parametrize("d", [[-0.4, 0, 0, 0], [-0.6, 0.16, 0, 0], [-0.5, 0.1, 0, 0, 0.005]])
def test_a_lens_polynomial_past_its_turning_point_shows_nothing_twice(d):
    camera = calibration(d=d, p=[150.0, 0, 319.5, 0, 0, 150.0, 239.5, 0, 0, 0, 1, 0])
    view = plan(camera)
    rows, columns = np.nonzero(view.valid_mask)
    rays = np.column_stack([columns, rows, np.ones_like(rows)]) @ np.linalg.inv(view.k_network).T
    # The camera model is one to one up to its turning point: no valid ray lies behind it.
    radius = np.linspace(0, 5, 50001)
    k_1, k_2, k_3 = d[0], d[1], d[4] if len(d) > 4 else 0.0
    turns = radius[np.argmax(1 + 3 * k_1 * radius**2 + 5 * k_2 * radius**4 + 7 * k_3 * radius**6 <= 0)]
    assert turns > 0
    reached = np.hypot(rays[:, 0], rays[:, 1]).max()
    assert turns - 0.03 < reached < turns + 0.003


def test_where_the_camera_saw_nothing_the_border_is_repeated():
    camera = calibration(d=[-0.2, 0, 0, 0], p=[250.0, 0, 319.5, 0, 0, 250.0, 239.5, 0, 0, 0, 1, 0])
    view = plan(camera)
    assert not view.valid_mask[0, 0]
    np.testing.assert_array_equal(view.apply(np.full((480, 640, 3), 77, np.uint8)), 77)


def image_geometry_fold(camera):
    """The eight numbers of PinholeCameraModel::fromCameraInfo and its reduced resolution, element by element."""
    b_x, b_y = camera.binning_x or 1, camera.binning_y or 1
    window = camera.roi
    full = (window.x_offset, window.y_offset, window.width, window.height) == (0, 0, 0, 0)
    size = (camera.width // b_x, camera.height // b_y) if full else (window.width // b_x, window.height // b_y)
    numbers = {}
    for name, matrix in (("k", camera.k), ("p", camera.p)):
        numbers[name] = {
            (0, 0): matrix[0, 0] / b_x,
            (1, 1): matrix[1, 1] / b_y,
            (0, 2): (matrix[0, 2] - window.x_offset) / b_x,
            (1, 2): (matrix[1, 2] - window.y_offset) / b_y,
        }
    numbers["p"][0, 3] = camera.p[0, 3] / b_x
    numbers["p"][1, 3] = camera.p[1, 3] / b_y
    return size, numbers


@settings(deadline=None)
@given(
    window=st.one_of(
        st.just((0, 0, 0, 0)),
        st.tuples(st.integers(0, 300), st.integers(0, 200), st.integers(8, 340), st.integers(8, 280)),
    ),
    binning=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    focal=st.floats(100, 2000),
    baseline_px=st.floats(-100, 100),
)
def test_folding_is_image_geometrys(window, binning, focal, baseline_px):
    camera = calibration(
        k=[focal, 0, 300.25, 0, 1.1 * focal, 260.5, 0, 0, 1],
        p=[0.9 * focal, 0, 310.0, baseline_px, 0, focal, 244.0, 0.5 * baseline_px, 0, 0, 1, 0],
        binning_x=binning[0],
        binning_y=binning[1],
        roi=roi(*window),
    )
    size, numbers = image_geometry_fold(camera)
    folded = fold(camera)
    assert (folded.width, folded.height) == size
    for name, entries in numbers.items():
        for index, value in entries.items():
            assert getattr(folded, name)[index] == pytest.approx(value)
    again = fold(folded)  # nothing is left to fold
    assert again == folded


@settings(deadline=None)
@given(
    image_size=st.tuples(st.integers(60, 1080), st.integers(60, 1920)),
    network_size=st.tuples(st.integers(32, 640), st.integers(32, 640)),
    focal=st.tuples(st.floats(50, 3000), st.floats(50, 3000)),
    centre=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    point=st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.1, 10)),
    rectified=st.booleans(),
)
def test_a_point_lands_where_the_resize_takes_its_rectified_pixel(
    image_size, network_size, focal, centre, point, rectified
):
    height, width = image_size
    p = [focal[0], 0, centre[0] * width, 0, 0, focal[1], centre[1] * height, 0, 0, 0, 1, 0]
    camera = calibration(width=width, height=height, p=p, d=[-0.1, 0.01, 0, 0])
    view = plan(camera, image_size, network_size, rectified)
    assume(view.why_no_cloud is None)  # the invented lens may miss the image altogether
    x, y, z = point
    u, v = focal[0] * x / z + centre[0] * width, focal[1] * y / z + centre[1] * height
    # Half-pixel centres: a pixel's outer corner stays a corner under the resize.
    expected = (u + 0.5) / width * network_size[1] - 0.5, (v + 0.5) / height * network_size[0] - 0.5
    projected = view.k_network @ point
    assert projected[:2] / projected[2] == pytest.approx(expected, rel=1e-9, abs=1e-6)
    focal_px = rectified_focal_px(camera, image_size, rectified, 0.0)
    assert focal_px == pytest.approx(np.sqrt(focal[0] * focal[1]))
    zoom = np.sqrt(network_size[0] * network_size[1] / (height * width))
    assert view.focal_network_px == pytest.approx(focal_px * zoom)


@pytest.mark.parametrize("resize_filter", ["area", "linear", "cubic"])
@pytest.mark.parametrize("d", [[], [-0.02, 0, 0, 0]])
def test_shrinking_more_than_twice_does_not_alias(d, resize_filter):
    rows, columns = np.mgrid[0:480, 0:640]
    stripes = np.where((columns // 2 + rows // 2) % 2, 255, 0).astype(np.uint8)
    camera = calibration(d=d, p=[0.0] * 12)
    image = plan(camera, network_size=(80, 120), resize_filter=resize_filter).apply(np.dstack([stripes] * 3))
    assert image.shape == (80, 120, 3)
    assert np.abs(image.astype(float) - 127.5).max() < 45  # the stripes themselves are 127.5 away


@pytest.mark.parametrize(
    ("resize_filter", "network_size", "flag"),
    [
        ("area", (256, 352), cv2.INTER_AREA),
        ("area", (96, 160), cv2.INTER_AREA),
        ("area", (512, 704), cv2.INTER_LINEAR),  # an area mean is defined for shrinking only
        ("linear", (256, 352), cv2.INTER_LINEAR),
        ("cubic", (256, 352), cv2.INTER_CUBIC),
    ],
)
def test_a_pinhole_is_resized_by_the_filter_asked_for_and_everything_is_valid(resize_filter, network_size, flag):
    image = np.random.default_rng(1).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    view = plan(calibration(d=[0.0] * 5, p=[0.0] * 12), network_size=network_size, resize_filter=resize_filter)
    assert view.maps is None
    assert view.valid_mask is None
    np.testing.assert_array_equal(view.apply(image), cv2.resize(image, network_size[::-1], interpolation=flag))


def test_an_image_of_another_size_than_planned_is_refused():
    with pytest.raises(ValueError, match="plan it again"):
        plan(calibration()).apply(np.zeros((481, 640, 3), np.uint8))


def test_a_rectified_image_uses_p_and_is_never_rectified_twice():
    camera = calibration(d=[-0.3, 0.1, 0, 0, 0], r=[0.0, -1, 0, 1, 0, 0, 0, 0, 1], distortion_model="of some vendor")
    view = plan(camera, network_size=(480, 640), rectified=True)
    assert view.maps is None
    np.testing.assert_allclose(view.k_network, camera.p[:, :3])
    image = np.random.default_rng(2).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    np.testing.assert_array_equal(view.apply(image), image)


@pytest.mark.parametrize("rectified", [False, True])
def test_p_all_zero_means_k(rectified):
    camera = calibration(p=[0.0] * 12, r=[0.0] * 9, binning_x=2, binning_y=2, d=[-0.1, 0, 0, 0])
    view = plan(camera, (240, 320), (240, 320), rectified)
    np.testing.assert_allclose(view.k_network, [[215, 0, 163.25], [0, 212, 118.125], [0, 0, 1]])


def test_without_distortion_p_still_moves_the_picture():
    camera = calibration(k=[400.0, 0, 320, 0, 400, 240, 0, 0, 1], p=[400.0, 0, 300, 0, 0, 400, 250, 0, 0, 0, 1, 0])
    image = np.random.default_rng(3).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    view = plan(camera, network_size=(480, 640))
    np.testing.assert_array_equal(view.apply(image)[10:, :620], image[:470, 20:])
    assert view.valid_mask[10:, :620].all()
    assert not view.valid_mask[:9].any()
    assert not view.valid_mask[:, 621:].any()


@pytest.mark.parametrize("camera", [None, calibration(k=[0.0] * 9, p=[0.0] * 12)])
def test_an_uncalibrated_camera_has_no_cloud_unless_a_field_of_view_is_assumed(camera):
    view = plan(camera)
    assert view.k_network is None
    assert view.focal_network_px is None
    assert "assumed_hfov_deg" in view.why_no_cloud
    assert rectified_focal_px(camera, (480, 640), False, 0.0) is None
    assert view.apply(np.zeros((480, 640, 3), np.uint8)).shape == (240, 320, 3)

    view = plan(camera, hfov_deg=90.0)
    assert view.why_no_cloud is None
    assert "90 degrees" in view.warnings[0]
    edges = view.k_network @ np.array([[-1.0, 1.0], [0.0, 0.0], [1.0, 1.0]])  # 45 degrees left and right
    np.testing.assert_allclose(edges[0], [-0.5, 319.5])
    assert view.k_network[1, 2] == pytest.approx(119.5)
    assert rectified_focal_px(camera, (480, 640), False, 90.0) == pytest.approx(320.0)


@pytest.mark.parametrize("hfov_deg", [-1.0, 180.0, float("nan")])
def test_an_impossible_field_of_view_is_named(hfov_deg):
    assert "between 0 and 180" in plan(None, hfov_deg=hfov_deg).why_no_cloud


def test_an_image_of_another_size_but_the_same_aspect_is_scaled_with_a_warning():
    camera = calibration(p=[0.0] * 12)
    view = plan(camera, (240, 320), (240, 320))
    np.testing.assert_allclose(view.k_network, plan(camera, (480, 640), (240, 320)).k_network)
    assert "320x240" in view.warnings[0]
    assert "640x480" in view.warnings[0]
    assert view.why_no_cloud is None


def test_scaled_calibrations_undistort_alike():
    """Half the picture of a camera that sends half the size is the picture of the whole, rectified."""
    camera = calibration(d=[-0.25, 0.05, 0, 0])
    whole = plan(camera, (480, 640), (120, 160))
    half = plan(camera, (240, 320), (120, 160))
    ramps = np.stack(np.mgrid[0:480, 0:640].astype(np.float32), axis=-1)  # each pixel holds its own row and column
    # OpenCV 4 rounds sampling positions to 1/32 pixel: 1/64 of the 3 pixels that whole steps over after INTER_AREA,
    # and of twice the 2 of half, is 0.11 in all.
    np.testing.assert_allclose(
        whole.apply(ramps)[5:-5, 5:-5], 2 * half.apply(ramps[:240, :320])[5:-5, 5:-5] + 0.5, atol=0.12
    )


NAN = float("nan")
K_ROW = [430.0, 0, 326.5, 0, 424.0, 236.25, 0, 0, 1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"height": 360}, ["640x480", "640x360", "aspect"]),
        ({"width": 0, "height": 0}, ["0x0", "correct"]),
        ({"roi": roi(10, 0, 0, 0)}, ["0x0", "region of interest"]),
        ({"distortion_model": "thin_prism_fisheye"}, ["'thin_prism_fisheye'", "plumb_bob", "equidistant"]),
        ({"distortion_model": "", "d": [0.1, 0, 0, 0, 0]}, ["distortion_model", "plumb_bob"]),
        ({"d": [0.1, 0, 0]}, ["4 or 5 or 8 or 12 or 14", "3"]),
        ({"distortion_model": "equidistant", "d": []}, ["4 terms", "0"]),
        ({"distortion_model": "equidistant", "d": [0.1] * 5}, ["4 terms", "5"]),
        ({"d": [0.1, NAN, 0, 0]}, ["nan", "finite"]),
        ({"k": [NAN, *K_ROW[1:]], "p": [0.0] * 12}, ["fx nan", "finite"]),
        ({"k": [-430.0, *K_ROW[1:]], "d": [0.1, 0, 0, 0]}, ["fx -430", "positive"]),
        ({"k": [430.0, 0, 326.5, 0, 0.0, 236.25, 0, 0, 1], "p": [0.0] * 12}, ["fy 0", "positive"]),
        ({"p": [410.0, 0, NAN, 0, 0, 405.0, 241.0, 0, 0, 0, 1, 0]}, ["camerainfo.p", "cx nan"]),
        ({"p": [0.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]}, ["camerainfo.p", "fx 0"]),
        ({"r": [1.0, 0, 0, 0, 1, 0, 0, 0, -1]}, ["no rotation"]),
        ({"r": [2.0, 0, 0, 0, 2, 0, 0, 0, 2]}, ["no rotation"]),
        ({"r": [NAN] * 9}, ["no rotation"]),
        ({"p": [410.0, 0, 5e4, 0, 0, 405.0, 241.0, 0, 0, 0, 1, 0]}, ["finds no pixel"]),
        ({"p": [410.0, 0, 9e5, 0, 0, 405.0, 241.0, 0, 0, 0, 1, 0]}, ["principal point at 900000, 241", "640x480"]),
        ({"roi": roi(2**31, 0, 640, 480)}, ["principal point", "region of interest"]),
    ],
)
def test_a_calibration_that_gives_no_geometry_holds_the_cloud_and_says_why(changes, words):
    camera = calibration(**changes)
    view = plan(camera)
    assert view.why_no_cloud is not None
    assert all(word.lower() in view.why_no_cloud.lower() for word in words), view.why_no_cloud
    assert "\n" not in view.why_no_cloud
    assert (view.k_network, view.maps, view.valid_mask, view.focal_network_px) == (None, None, None, None)
    image = np.random.default_rng(4).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    np.testing.assert_array_equal(view.apply(image), cv2.resize(image, (320, 240), interpolation=cv2.INTER_AREA))
    info = camera_info_message(view, Header())
    assert (info.height, info.width, info.k.any(), info.p.any()) == (240, 320, False, False)


@pytest.mark.parametrize("distortion_model", ["", "none", "plumb_bob"])
def test_a_simulated_pinhole_without_distortion_needs_no_model(distortion_model):
    view = plan(calibration(distortion_model=distortion_model, d=[], p=[0.0] * 12))
    assert view.why_no_cloud is None
    assert view.maps is None


@pytest.mark.parametrize(("distortion_model", "count"), [("", 6), ("none", 1), ("plumb_bob", 5)])
def test_any_number_of_terms_that_are_zero_says_undistorted(distortion_model, count):
    moved = {"k": [400.0, 0, 320, 0, 400, 240, 0, 0, 1], "p": [400.0, 0, 300, 0, 0, 400, 250, 0, 0, 0, 1, 0]}
    view = plan(calibration(distortion_model=distortion_model, d=[0.0] * count, **moved))
    assert view.maps is not None
    np.testing.assert_array_equal(view.maps.map_x, plan(calibration(**moved)).maps.map_x)


@pytest.mark.parametrize(
    ("topic", "setting", "expected"),
    [
        ("/camera/image_rect", "auto", True),
        ("/camera/image_rect_color", "auto", True),
        ("/camera/image_rect_color/compressed", "auto", True),
        ("/camera/image_raw", "auto", False),
        ("/camera/image_raw/compressed", "auto", False),
        ("/image_rect/image_raw", "auto", False),
        ("image_rect", "auto", True),
        ("/camera/image_rect", "false", False),
        ("/camera/image_raw", "true", True),
    ],
)
def test_rectified_topics_are_told_by_their_last_name(topic, setting, expected):
    assert is_rectified_topic(topic, setting) is expected


def test_another_setting_for_rectified_topics_is_refused():
    with pytest.raises(ValueError, match="'auto', 'true' or 'false'"):
        is_rectified_topic("/camera/image_raw", "yes")


def test_the_camera_info_of_the_depth_image_describes_a_plain_pinhole():
    camera = calibration(d=[-0.2, 0.05, 0, 0, 0], binning_x=2, binning_y=2, roi=roi(0, 0, 600, 400))
    view = plan(camera, (200, 300), (128, 192))
    msg = camera_info_message(view, Header(frame_id="camera_optical"))
    assert (msg.header.frame_id, msg.height, msg.width) == ("camera_optical", 128, 192)
    np.testing.assert_array_equal(msg.k.reshape(3, 3), view.k_network)
    np.testing.assert_array_equal(msg.p.reshape(3, 4), np.column_stack([view.k_network, np.zeros(3)]))
    np.testing.assert_array_equal(msg.r.reshape(3, 3), np.eye(3))
    assert (msg.distortion_model, list(msg.d)) == ("plumb_bob", [0.0] * 5)
    assert (msg.binning_x, msg.binning_y, msg.roi) == (0, 0, RegionOfInterest())
    # Read back, it is this very geometry with nothing left to do.
    again = plan(Calibration.from_camera_info(msg), (128, 192), (128, 192))
    np.testing.assert_allclose(again.k_network, view.k_network)
    assert again.maps is None


def test_a_camera_info_message_is_read_and_calibrations_compare_by_content():
    msg = CameraInfo(width=640, height=480, distortion_model="equidistant", binning_x=2, binning_y=1)
    msg.d = [0.1, 0.2, 0.3, 0.4]
    msg.k = np.arange(9.0)
    msg.r = np.arange(9.0) + 10
    msg.p = np.arange(12.0) + 20
    msg.roi = RegionOfInterest(x_offset=1, y_offset=2, width=30, height=40)
    one, two = Calibration.from_camera_info(msg), Calibration.from_camera_info(msg)
    assert one.k[0, 2] == 2.0
    assert one.k[1, 0] == 3.0
    assert one.p[0, 3] == 23.0
    assert one.r[2, 0] == 16.0
    assert one.d.tolist() == [0.1, 0.2, 0.3, 0.4]
    assert (one.width, one.height, one.binning_x, one.distortion_model) == (640, 480, 2, "equidistant")
    assert tuple(one.roi) == (1, 2, 30, 40)
    assert one == two
    assert hash(one) == hash(two)
    assert one != replace(two, binning_x=1)
    assert one != replace(two, d=two.d * 2)


def test_the_camera_info_can_be_published():
    serialization = pytest.importorskip("rclpy.serialization")
    msg = camera_info_message(plan(calibration()), Header())
    assert serialization.deserialize_message(serialization.serialize_message(msg), CameraInfo) == msg
