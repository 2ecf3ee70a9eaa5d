"""The chosen network size against the rules it must keep, over many cameras."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from depth_estimation_ros.inference.contract import InputContract, ModelContract, OutputContract
from depth_estimation_ros.inference.network_size import DEFAULT_BUDGET, choose_network_size


def model(
    multiple=1, least=32, most=1024, training_focal=250.0, fixed_size=None, zoom_range=(1.0, 1.0)
) -> ModelContract:
    return ModelContract(
        format_version=1,
        name="test",
        encoder="",
        decoder="",
        licence="",
        git_revision="",
        training_data="",
        metrics={},
        training_fx=training_focal,
        training_fy=training_focal,
        input=InputContract(
            name="image",
            layout="NCHW",
            colour_order="RGB",
            dtype="float32",
            range=(0.0, 1.0),
            normalisation="none",
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            resize_filter="area",
            native_height=240,
            native_width=320,
            zoom_range=zoom_range,
            size_multiple=multiple,
            size_least=least,
            size_most=most,
            fixed_size=fixed_size,
        ),
        output=OutputContract(
            name="depth", stride=1, quantity="z_depth", unit="m", least_depth_m=0.1, greatest_depth_m=10.0
        ),
    )


multiples = st.sampled_from([1, 2, 8, 14, 16, 32])
cameras = st.tuples(st.integers(120, 2160), st.integers(160, 3840)).filter(lambda s: 0.5 <= s[1] / s[0] <= 3)
focals = st.none() | st.floats(50, 5000)


@given(camera=cameras, focal=focals, multiple=multiples, budget=st.none() | st.integers(8_000, 400_000))
def test_every_rule_is_kept_for_every_camera(camera, focal, multiple, budget):
    height, width = camera
    try:
        h, w = choose_network_size(model(multiple), height, width, focal, budget)
    except ValueError:
        # Refusing is right only where even the smallest size of that aspect ratio is too large.
        side = max(multiple, 32) + multiple
        assert side * side * max(width / height, height / width) + 2 * side * multiple > (budget or 115_200)
        return
    assert h % multiple == 0
    assert w % multiple == 0
    assert min(h, w) >= 32
    assert max(h, w) <= 1024
    assert h * w <= (budget or 1.5 * 240 * 320)
    aspect = width / height
    assert min(abs(w - h * aspect), abs(h - w / aspect)) <= multiple / 2 + 1e-9


@given(camera=cameras, focal=st.floats(50, 5000), multiple=st.sampled_from([1, 2, 8]))
def test_the_focal_length_comes_as_near_to_training_as_budget_and_bounds_allow(camera, focal, multiple):
    height, width = camera
    contract = model(multiple, least=64, most=640)
    ideal = 250.0 / focal
    lowest = 64 / min(camera)
    highest = min(640 / max(camera), math.sqrt(DEFAULT_BUDGET * 240 * 320 / (height * width)))
    assume(highest > lowest * 1.3)
    h, w = choose_network_size(contract, height, width, focal, None)
    reached = math.sqrt(h * w / (height * width))
    # Both sides may be off by one multiple from the ideal, the shorter one by the larger factor.
    slack = 1 + 1.5 * multiple / (min(camera) * min(max(ideal, lowest), highest))
    clamped = min(max(ideal, lowest), highest)
    assert clamped / slack <= reached <= clamped * slack


def test_a_camera_like_the_training_camera_gets_the_native_size():
    assert choose_network_size(model(), 480, 640, 500.0, None) == (240, 320)


def test_a_longer_lens_gets_a_smaller_network_image():
    assert choose_network_size(model(), 480, 640, 1000.0, None) == (120, 160)


@pytest.mark.parametrize("focal", [400.0, 500.0, 700.0, 800.0])
def test_a_lens_that_training_has_shown_gets_the_native_size(focal):
    assert choose_network_size(model(zoom_range=(0.8, 1.6)), 480, 640, focal, None) == (240, 320)


@given(camera=cameras, focal=st.floats(50, 5000), low=st.floats(0.5, 1), high=st.floats(1, 2))
def test_the_focal_length_is_brought_to_the_nearest_that_training_has_shown(camera, focal, low, high):
    height, width = camera
    at_native = focal * math.sqrt(240 * 320 / (height * width)) / 250.0
    # Within the range nothing is changed, outside it no more than is needed.
    nearest = min(max(at_native, low), high)
    scale = nearest * 250.0 / focal
    assume(min(camera) * scale > 33 and max(camera) * scale < 4000)
    h, w = choose_network_size(model(zoom_range=(low, high), most=4096), height, width, focal, 4096**2)
    zoom = focal * math.sqrt(h * w / (height * width)) / 250.0
    # Each side is rounded to a pixel, the second one after the first.
    assert zoom == pytest.approx(nearest, rel=1.5 / min(h, w))


def test_the_two_training_focal_lengths_count_by_their_geometric_mean():
    contract = replace(model(), training_fx=400.0, training_fy=100.0)
    assert choose_network_size(contract, 480, 640, 400.0, None) == (240, 320)


@pytest.mark.parametrize(("focal", "training_focal"), [(None, 250.0), (600.0, None)])
def test_without_a_focal_length_the_native_pixel_count_is_kept_at_the_cameras_aspect(focal, training_focal):
    h, w = choose_network_size(model(training_focal=training_focal), 720, 1280, focal, None)
    assert w / h == pytest.approx(16 / 9, rel=0.01)
    assert h * w == pytest.approx(240 * 320, rel=0.01)


def test_the_default_depth_image_stays_under_half_a_megabyte():
    h, w = choose_network_size(model(), 1080, 1920, 100.0, None)
    assert h * w * 4 < 500_000


def test_what_cannot_be_kept_is_refused_with_a_remedy():
    with pytest.raises(ValueError, match=r"10000x100 image .* raise max_network_pixels or crop"):
        choose_network_size(model(), 100, 10000, None, None)


@pytest.mark.parametrize("focal", [0.0, -1.0, math.nan, math.inf])
def test_a_focal_length_that_is_none_is_refused(focal):
    with pytest.raises(ValueError, match="focal length"):
        choose_network_size(model(), 480, 640, focal, None)


def test_an_empty_image_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        choose_network_size(model(), 0, 640, None, None)


def test_a_graph_of_one_size_gets_it_and_a_warning_where_that_stretches(caplog):
    contract = model(fixed_size=(384, 512))
    with caplog.at_level(logging.WARNING):
        assert choose_network_size(contract, 480, 640, 100.0, 1000) == (384, 512)
        assert not caplog.records
        assert choose_network_size(contract, 720, 1280, None, None) == (384, 512)
    assert "1280x720 images are stretched" in caplog.text
