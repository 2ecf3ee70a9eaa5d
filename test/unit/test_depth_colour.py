"""The colour scale against matplotlib's turbo."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np

from depth_estimation_ros.depth_colour import depth_to_rgb


def turbo(share: np.ndarray) -> np.ndarray:
    return np.rint(mpl.colormaps["turbo"](share)[..., :3] * 255).astype(int)


def test_colours_are_turbo_from_the_least_to_the_greatest_range():
    depth_m = np.linspace(0.5, 4.5, 256).astype(np.float32).reshape(16, 16)  # one value per colour
    rgb = depth_to_rgb(depth_m, 0.5, 4.5)
    assert (rgb.shape, rgb.dtype) == ((16, 16, 3), np.uint8)
    np.testing.assert_allclose(rgb.reshape(-1, 3), turbo(np.arange(256) / 255), atol=2)
    nearer, farther = rgb[1, 8], rgb[14, 0]
    assert nearer[2] > nearer[0]  # blue
    assert farther[0] > farther[2]  # red


def test_the_scale_is_metres_whatever_else_is_in_the_picture():
    alone = depth_to_rgb(np.full((2, 2), 3, np.float32), 0, 10)
    beside = depth_to_rgb(np.array([[3, 9], [0.2, 7]], np.float32), 0, 10)
    np.testing.assert_array_equal(alone[0, 0], beside[0, 0])


def test_what_lies_beyond_an_end_has_its_colour_and_what_is_unknown_is_black():
    depth_m = np.array([[-np.inf, 1, 5, np.inf, np.nan]], np.float32)
    below, least, greatest, beyond, unknown = depth_to_rgb(depth_m, 1, 5)[0]
    np.testing.assert_array_equal(below, least)
    np.testing.assert_array_equal(beyond, greatest)
    assert least.any()
    assert greatest.any()
    assert not unknown.any()
