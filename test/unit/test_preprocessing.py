"""The tensor against arithmetic in float64, the filters against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_estimation_ros.inference.contract import InputContract
from depth_estimation_ros.inference.preprocessing import resize_image, to_network_input

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def input_contract(**changes) -> InputContract:
    fields = {
        "name": "image",
        "layout": "NCHW",
        "colour_order": "RGB",
        "dtype": "float32",
        "range": (0.0, 1.0),
        "normalisation": "graph",
        "mean": MEAN,
        "std": STD,
        "resize_filter": "area",
        "native_height": 240,
        "native_width": 320,
        "size_multiple": 1,
        "size_least": 1,
        "size_most": 1024,
    }
    return InputContract(**(fields | changes))


IMAGE = np.array([[[255, 0, 51], [1, 2, 3]]], np.uint8)  # (1, 2, 3)


def test_rgb_goes_through_in_order_and_range():
    tensor = to_network_input(IMAGE, input_contract())
    assert tensor.dtype == np.float32
    assert tensor.flags.c_contiguous
    np.testing.assert_array_equal(tensor[0, :, 0, 0], np.float32([1.0, 0.0, 0.2]))
    np.testing.assert_array_equal(tensor[0, :, 0, 1], np.float32([1 / 255, 2 / 255, 3 / 255]))


def test_bgr_reverses_the_channels_and_nothing_else():
    rgb = to_network_input(IMAGE, input_contract())
    bgr = to_network_input(IMAGE, input_contract(colour_order="BGR"))
    np.testing.assert_array_equal(bgr, rgb[:, ::-1])


def test_the_runtime_normalises_once_in_the_units_of_the_range_and_the_order_of_the_colours():
    contract = input_contract(
        normalisation="runtime", colour_order="BGR", range=(0.0, 255.0), mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 5.0)
    )
    tensor = to_network_input(IMAGE, contract)
    np.testing.assert_array_equal(tensor[0, :, 0, 0], np.float32([(51 - 10) / 2, (0 - 20) / 4, (255 - 30) / 5]))


@pytest.mark.parametrize("normalisation", ["graph", "none"])
def test_nobody_but_the_runtime_normalises_here(normalisation):
    tensor = to_network_input(IMAGE, input_contract(normalisation=normalisation))
    np.testing.assert_array_equal(tensor[0, :, 0, 0], np.float32([1.0, 0.0, 0.2]))


def test_uint8_networks_get_the_bytes():
    tensor = to_network_input(IMAGE, input_contract(dtype="uint8", range=(0.0, 255.0)))
    assert tensor.dtype == np.uint8
    np.testing.assert_array_equal(tensor, IMAGE.transpose(2, 0, 1)[np.newaxis])


@given(
    seed=st.integers(0, 2**32 - 1),
    low=st.sampled_from([-1.0, 0.0]),
    high=st.sampled_from([1.0, 255.0]),
    dtype=st.sampled_from(["float32", "float16"]),
)
def test_every_value_is_the_closed_form_rounded_to_the_dtype(seed, low, high, dtype):
    image = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    tensor = to_network_input(image, input_contract(range=(low, high), dtype=dtype, normalisation="runtime"))
    expected = ((low + image / 255 * (high - low)) - MEAN) / STD
    assert tensor.dtype == dtype
    np.testing.assert_allclose(
        tensor[0].transpose(1, 2, 0).astype(np.float64), expected, rtol=1e-3 if dtype == "float16" else 1e-6, atol=1e-6
    )


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
    ],
)
def test_anything_but_an_rgb_byte_image_is_refused(image):
    with pytest.raises(ValueError, match="uint8"):
        to_network_input(image, input_contract())


def test_area_is_the_mean_of_each_block():
    image = np.random.default_rng(0).random((6, 12, 3))
    expected = image.reshape(2, 3, 4, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resize_image(image, (2, 4), "area"), expected, atol=1e-12)


@pytest.mark.parametrize("resize_filter", ["area", "linear", "cubic"])
@pytest.mark.parametrize("width", [40, 50, 100, 200])
def test_a_ramp_keeps_half_pixel_centres(resize_filter, width):
    """On a ramp, a pixel's value is its position; the filters' own ripple is .05, another convention shifts by .25."""
    ramp = np.tile(np.arange(100, dtype=np.float32), (4, 1))
    resized = resize_image(ramp, (4, width), resize_filter)
    expected = (np.arange(width) + 0.5) * 100 / width - 0.5
    inner = slice(width // 10, -width // 10)
    np.testing.assert_allclose(resized[0, inner], expected[inner], atol=0.1)
    assert np.mean(resized[0, inner] - expected[inner]) == pytest.approx(0, abs=1e-3)


def test_an_image_of_that_size_is_left_alone():
    assert resize_image(IMAGE, (1, 2), "cubic") is IMAGE


def test_an_unknown_filter_is_refused():
    with pytest.raises(ValueError, match="area, linear, cubic"):
        resize_image(IMAGE, (2, 2), "lanczos")
