"""What is said of an image that shows nothing, and of one that hardly shows anything."""

from __future__ import annotations

import numpy as np
import pytest

from depth_estimation_ros.camera_remarks import blank_remark

SIZES = [(240, 320), (1080, 1920), (30, 17)]


def gradient(size: tuple[int, int], dark: float, light: float) -> np.ndarray:
    columns = np.linspace(dark, light, size[1])
    return np.broadcast_to(np.rint(columns)[None, :, None], (*size, 3)).astype(np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("level", [0, 40, 128, 255])
def test_one_level_and_its_noise_are_blank(size, level):
    noise = np.random.default_rng(0).normal(level, 10, (*size, 3)).clip(0, 255).astype(np.uint8)
    for image_rgb in (np.full((*size, 3), level, np.uint8), noise):
        remark = blank_remark(image_rgb)
        assert remark is not None
        assert "uncover the lens" in remark


@pytest.mark.parametrize("size", SIZES)
def test_a_lamp_or_a_scratch_in_the_dark_does_not_hide_that_it_is_dark(size):
    image_rgb = np.zeros((*size, 3), np.uint8)
    image_rgb[: size[0] // 5, : size[1] // 5] = 255  # a 25th
    assert blank_remark(image_rgb)


@pytest.mark.parametrize("size", SIZES)
def test_shading_is_enough_to_be_no_blank(size):
    assert blank_remark(gradient(size, 100, 110))
    assert blank_remark(gradient(size, 100, 120)) is None  # 16 levels between the tenths
    assert blank_remark(gradient(size, 0, 255)) is None
