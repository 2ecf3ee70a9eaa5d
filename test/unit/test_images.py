"""Image decoding against numpy strides and closed-form colour arithmetic, through every conversion library there is."""

from __future__ import annotations

import array
import os
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from depth_estimation_ros import colour_conversion
from depth_estimation_ros.images import (
    MAX_SIDE_PX,
    SUPPORTED_ENCODINGS,
    ImageError,
    decode_compressed,
    decode_image,
    depth_to_message,
    rgb_to_message,
)

HEIGHT, WIDTH = 6, 10
CHANNELS = {  # encoding -> which sample of a pixel is red, green, blue
    "rgb8": (0, 1, 2),
    "bgr8": (2, 1, 0),
    "rgba8": (0, 1, 2),
    "bgra8": (2, 1, 0),
    "mono8": (0, 0, 0),
    "8UC1": (0, 0, 0),
    "8UC3": (2, 1, 0),
    "8UC4": (2, 1, 0),
}
SAMPLES = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1, "8UC3": 3, "8UC4": 4}
BAYER_CELLS = {"rggb": ("RG", "GB"), "bggr": ("BG", "GR"), "gbrg": ("GB", "RG"), "grbg": ("GR", "BG")}
YUV422_ORDER = {"uyvy": "UYVY", "yuv422": "UYVY", "yuyv": "YUYV", "yuv422_yuy2": "YUYV"}


@pytest.fixture(params=["cv_bridge", "rosbags-image"])
def converter(request):
    try:
        return colour_conversion.load_converter(request.param)
    except ImportError as error:
        pytest.skip(str(error))


def message(encoding, height, width, step, data, is_bigendian=0):
    msg = Image(encoding=encoding, is_bigendian=is_bigendian)
    msg.height, msg.width, msg.step = height, width, step
    msg.data.frombytes(bytes(data))
    return msg


def padded(rows, padding, rng):
    """Bytes of (H, row_bytes) uint8 rows with random padding behind each, and the step."""
    height, row_bytes = rows.shape
    out = rng.integers(0, 256, (height, row_bytes + padding), dtype=np.uint8)
    out[:, :row_bytes] = rows
    return out.tobytes(), row_bytes + padding


def strided(data, step, shape, strides):
    return np.lib.stride_tricks.as_strided(np.frombuffer(data, np.uint8), shape, (step, *strides))


def bt601_rgb(y, u, v):
    """RGB of 8-bit limited-range BT.601, as floats clipped to a byte."""
    y, u, v = (np.asarray(plane, np.float64) for plane in (y, u, v))
    luma = 255 / 219 * (y - 16)
    red = luma + 255 / 112 * (1 - 0.299) * (v - 128)
    green = luma - 255 / 112 * (0.114 * (1 - 0.114) * (u - 128) + 0.299 * (1 - 0.299) * (v - 128)) / 0.587
    blue = luma + 255 / 112 * (1 - 0.114) * (u - 128)
    return np.clip(np.stack([red, green, blue], axis=-1), 0, 255)


@pytest.mark.parametrize("padding", [0, 1, 7])
@pytest.mark.parametrize("encoding", list(CHANNELS))
def test_packed_8_bit_pixels_are_where_the_strides_say(converter, encoding, padding):
    rng = np.random.default_rng(1)
    samples = SAMPLES[encoding]
    data, step = padded(rng.integers(0, 256, (HEIGHT, WIDTH * samples), dtype=np.uint8), padding, rng)
    pixels = strided(data, step, (HEIGHT, WIDTH, samples), (samples, 1))

    image_rgb = decode_image(message(encoding, HEIGHT, WIDTH, step, data), converter)

    np.testing.assert_array_equal(image_rgb, pixels[:, :, CHANNELS[encoding]])
    assert image_rgb.dtype == np.uint8
    assert image_rgb.flags.c_contiguous


@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize("is_bigendian", [0, 1])
def test_mono16_keeps_the_high_byte_in_either_byte_order(converter, is_bigendian, padding):
    rng = np.random.default_rng(2)
    values = rng.integers(0, 65536, (HEIGHT, WIDTH), dtype=np.uint16)
    rows = values.astype(">u2" if is_bigendian else "<u2").view(np.uint8)
    data, step = padded(rows, padding, rng)

    image_rgb = decode_image(message("mono16", HEIGHT, WIDTH, step, data, is_bigendian), converter)

    np.testing.assert_array_equal(image_rgb, np.repeat((values // 256)[..., np.newaxis], 3, axis=2))


def test_big_endian_flag_does_not_touch_8_bit_samples(converter):
    data = bytes(range(18))
    expected = np.frombuffer(data, np.uint8).reshape(2, 3, 3)
    np.testing.assert_array_equal(decode_image(message("rgb8", 2, 3, 9, data, 1), converter), expected)


@pytest.mark.parametrize("padding", [0, 1, 5])
@pytest.mark.parametrize("encoding", list(YUV422_ORDER))
def test_yuv422_is_limited_range_bt601_with_chroma_shared_by_pairs(converter, encoding, padding):
    rng = np.random.default_rng(3)
    y = rng.integers(16, 236, (HEIGHT, WIDTH))
    u, v = rng.integers(16, 241, (2, HEIGHT, WIDTH // 2))
    planes = {"Y": iter((y[:, 0::2], y[:, 1::2])), "U": iter((u,)), "V": iter((v,))}
    rows = np.stack([next(planes[letter]) for letter in YUV422_ORDER[encoding]], axis=-1)
    data, step = padded(rows.reshape(HEIGHT, 2 * WIDTH).astype(np.uint8), padding, rng)

    image_rgb = decode_image(message(encoding, HEIGHT, WIDTH, step, data), converter)

    expected = bt601_rgb(y, np.repeat(u, 2, axis=1), np.repeat(v, 2, axis=1))
    np.testing.assert_allclose(image_rgb, expected, atol=1.5)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("height_counts_chroma", [False, True])
@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_nv12_and_nv21_with_either_meaning_of_height(converter, encoding, height_counts_chroma, padding):
    rng = np.random.default_rng(4)
    y = rng.integers(16, 236, (HEIGHT, WIDTH))
    u, v = rng.integers(16, 241, (2, HEIGHT // 2, WIDTH // 2))
    chroma = np.stack([u, v] if encoding == "nv12" else [v, u], axis=-1).reshape(HEIGHT // 2, WIDTH)
    data, step = padded(np.vstack([y, chroma]).astype(np.uint8), padding, rng)
    height = HEIGHT * 3 // 2 if height_counts_chroma else HEIGHT

    image_rgb = decode_image(message(encoding, height, WIDTH, step, data), converter)

    u_full, v_full = (plane.repeat(2, axis=0).repeat(2, axis=1) for plane in (u, v))
    np.testing.assert_allclose(image_rgb, bt601_rgb(y, u_full, v_full), atol=1.5)


def mosaic(image, pattern):
    """Keep of each (H, W, 3) pixel the one colour its place in the 2x2 cell lets through."""
    out = np.empty(image.shape[:2], image.dtype)
    for row, letters in enumerate(BAYER_CELLS[pattern]):
        for column, letter in enumerate(letters):
            out[row::2, column::2] = image[row::2, column::2, "RGB".index(letter)]
    return out


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(("bits", "is_bigendian"), [(8, 0), (16, 0), (16, 1)])
@pytest.mark.parametrize("pattern", list(BAYER_CELLS))
def test_bayer_gives_flat_colours_and_gradients_back(converter, pattern, bits, is_bigendian, padding):
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[0:12, 0:16]
    gradient = np.stack([20 + 8 * columns, 200 - 9 * rows, 30 + 4 * columns + 5 * rows], axis=-1)
    flat = np.broadcast_to([210, 90, 30], (12, 16, 3))
    for image, atol in ((flat, 0), (gradient, 1)):
        raw = mosaic(image, pattern).astype(np.uint16)
        if bits == 16:
            raw = (raw << 8 | rng.integers(0, 256, raw.shape, dtype=np.uint16)).astype(">u2" if is_bigendian else "<u2")
        else:
            raw = raw.astype(np.uint8)
        data, step = padded(np.ascontiguousarray(raw).view(np.uint8), padding, rng)

        image_rgb = decode_image(message(f"bayer_{pattern}{bits}", 12, 16, step, data, is_bigendian), converter)

        inner = (slice(1, -1), slice(1, -1))  # the outermost ring has no neighbours to interpolate a gradient from
        np.testing.assert_allclose(image_rgb[inner], image[inner], atol=atol)


@pytest.mark.parametrize("wrap", [bytes, lambda b: array.array("B", b), lambda b: np.frombuffer(b, np.uint8)])
def test_data_may_be_anything_with_a_buffer_and_is_never_shared(wrap):
    data = bytes(range(24))
    msg = SimpleNamespace(encoding="rgb8", height=2, width=4, step=12, is_bigendian=0, data=wrap(data))
    image_rgb = decode_image(msg)
    np.testing.assert_array_equal(image_rgb, np.frombuffer(data, np.uint8).reshape(2, 4, 3))
    image_rgb[:] = 0
    assert bytes(msg.data) == data


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"height": 0, "data": b""}, ["4x0", f"1 to {MAX_SIDE_PX}"]),
        ({"width": 0}, ["0x2", f"1 to {MAX_SIDE_PX}"]),
        ({"width": 2**32 - 1}, ["4294967295x2"]),
        ({"height": MAX_SIDE_PX + 1}, [f"4x{MAX_SIDE_PX + 1}"]),
        ({"step": 11}, ["step is 11", "12"]),
        ({"step": 0, "data": b""}, ["step is 0"]),
        ({"data": bytes(23)}, ["truncated", "23 bytes", "24"]),
        ({"data": b""}, ["truncated", "0 bytes"]),
        ({"data": bytes(25)}, ["too long", "25 bytes", "24"]),
        ({"encoding": "32FC1"}, ["'32FC1'", *SUPPORTED_ENCODINGS]),
        ({"encoding": ""}, ["''", "rgb8"]),
        ({"encoding": "yuyv", "width": 3, "step": 6, "data": bytes(12)}, ["3x2", "multiple of 2"]),
        ({"encoding": "nv12", "step": 4, "data": bytes(11)}, ["truncated", "11 bytes", "12"]),
        ({"encoding": "nv12", "step": 4, "height": 3, "width": 3, "data": bytes(16)}, ["3x3", "multiple of 2"]),
        ({"encoding": "bayer_rggb8", "step": 4, "data": bytes(8)}, ["4x2", f"3 to {MAX_SIDE_PX}"]),
    ],
)
def test_malformed_images_are_refused_in_one_sentence(changed, words):
    fields = {"encoding": "rgb8", "height": 2, "width": 4, "step": 12, "is_bigendian": 0, "data": bytes(24)}
    with pytest.raises(ImageError) as caught:
        decode_image(SimpleNamespace(**{**fields, **changed}))
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "\n" not in text
    assert "; " in text or ": " in text  # what was wrong, then what to do


@settings(max_examples=200, deadline=None)
@given(
    encoding=st.sampled_from(SUPPORTED_ENCODINGS),
    height=st.integers(0, 9),
    width=st.integers(0, 9),
    step=st.integers(0, 40),
    surplus=st.sampled_from([0, 0, 0, -1, 1]),
    rows=st.sampled_from([2, 3]),
    is_bigendian=st.booleans(),
)
def test_whatever_the_fields_say_there_is_an_image_or_an_image_error(
    encoding, height, width, step, surplus, rows, is_bigendian
):
    data = bytes(max(0, height * step * rows // 2 + surplus))
    msg = message(encoding, height, width, step, data, int(is_bigendian))
    try:
        image_rgb = decode_image(msg)
    except ImageError:
        return
    assert image_rgb.shape[1:] == (width, 3)
    assert image_rgb.shape[0] in (height, height * 2 // 3)


def encoded(image, extension, file_format):
    msg = CompressedImage(format=file_format)
    msg.data.frombytes(cv2.imencode(extension, image)[1].tobytes())
    return msg


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_is_lossless_and_16_bits_keep_the_high_byte(dtype, channels):
    rng = np.random.default_rng(6)
    pixels = rng.integers(0, np.iinfo(dtype).max + 1, (9, 7, channels), dtype=dtype)
    image_rgb = decode_compressed(encoded(pixels, ".png", "png"))
    high = pixels >> 8 if dtype == np.uint16 else pixels
    np.testing.assert_array_equal(image_rgb, high[..., (0, 0, 0) if channels == 1 else (2, 1, 0)])


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", list(BAYER_CELLS))
def test_a_bayer_mosaic_in_a_png_becomes_colours(pattern, bits):
    colour = np.broadcast_to([210, 90, 30], (12, 16, 3))
    raw = mosaic(colour, pattern).astype(np.uint8 if bits == 8 else np.uint16) << (bits - 8)
    image_rgb = decode_compressed(encoded(raw, ".png", f"bayer_{pattern}{bits}; png compressed "))
    np.testing.assert_array_equal(image_rgb[1:-1, 1:-1], colour[1:-1, 1:-1])


def test_a_png_in_colour_is_no_mosaic_whatever_its_name():
    bgr = np.random.default_rng(7).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    image_rgb = decode_compressed(encoded(bgr, ".png", "bayer_rggb8; png compressed bgr8"))
    np.testing.assert_array_equal(image_rgb, bgr[..., ::-1])


def test_a_png_of_nothing_but_its_ends_is_refused():
    for file_format in ("png", "bayer_rggb8; png compressed "):
        with pytest.raises(ImageError, match="broken"):
            decode_compressed(SimpleNamespace(format=file_format, data=b"\x89PNG\r\n\x1a\nIEND"))


@pytest.mark.parametrize("file_format", ["jpeg", "rgb8; jpeg compressed bgr8", ""])
def test_jpeg_keeps_the_order_of_the_colours(file_format):
    bgr = np.broadcast_to(np.uint8([20, 90, 200]), (16, 24, 3))
    image_rgb = decode_compressed(encoded(bgr, ".jpg", file_format))
    assert image_rgb.shape == (16, 24, 3)
    np.testing.assert_allclose(image_rgb, np.broadcast_to([200, 90, 20], (16, 24, 3)), atol=3)


def test_jpeg_orientation_is_left_alone():
    msg = encoded(np.zeros((16, 24, 3), np.uint8), ".jpg", "jpeg")
    rotate_by_90_degrees = bytes.fromhex("4d4d002a00000008 0001 0112 0003 00000001 00060000 00000000")
    exif = b"Exif\0\0" + rotate_by_90_degrees
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    data = bytes(msg.data)
    rotated = SimpleNamespace(format="jpeg", data=data[:2] + segment + data[2:])
    assert cv2.imdecode(np.frombuffer(rotated.data, np.uint8), cv2.IMREAD_COLOR).shape == (24, 16, 3)  # OpenCV obeys it
    assert decode_compressed(rotated).shape == (16, 24, 3)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_a_compressed_image_cut_off_is_refused(extension, share):
    rng = np.random.default_rng(7)
    whole = encoded(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), extension, extension[1:]).data
    cut_off = SimpleNamespace(format=extension[1:], data=whole[: int(len(whole) * share)])
    with pytest.raises(ImageError, match="truncated"):
        decode_compressed(cut_off)


@pytest.mark.parametrize(
    ("file_format", "data", "words"),
    [
        ("jpeg", b"", "nothing"),
        ("tiff", b"II*\0rest", "49 49 2a 00"),
        ("16UC1; compressedDepth png", b"\0" * 20, "colour camera"),
        ("png", b"\x89PNG\r\n\x1a\nnonsense IEND", "broken"),
        ("jpeg", b"\xff\xd8\xff\xe0nonsense\xff\xda\xff\xd9", "broken"),
    ],
)
def test_what_is_no_picture_is_refused(file_format, data, words):
    with pytest.raises(ImageError, match=words):
        decode_compressed(SimpleNamespace(format=file_format, data=data))


def test_depth_in_metres_passes_unchanged():
    depth_m = np.array([[1.5, np.nan, np.inf], [-np.inf, 0.25, 9.75]], np.float32)
    header = Header(frame_id="camera_optical")
    msg = depth_to_message(depth_m, "32FC1", header)
    assert (msg.height, msg.width, msg.step, msg.encoding, msg.is_bigendian) == (2, 3, 12, "32FC1", 0)
    assert msg.header.frame_id == "camera_optical"
    np.testing.assert_array_equal(np.frombuffer(msg.data, "<f4").reshape(2, 3), depth_m)


def test_depth_in_millimetres_is_rounded_and_never_wraps():
    expected_mm = {
        1.0: 1000,
        0.0014: 1,
        0.0016: 2,
        65.535: 65535,
        65.536: 0,
        70.0: 0,
        1e30: 0,
        0.0: 0,
        -1.0: 0,
        np.nan: 0,
        np.inf: 0,
        -np.inf: 0,
    }
    depth_m = np.array([list(expected_mm)], np.float32)
    msg = depth_to_message(depth_m, "16UC1", Header())
    assert (msg.height, msg.width, msg.step, msg.encoding) == (1, len(expected_mm), 2 * len(expected_mm), "16UC1")
    assert np.frombuffer(msg.data, "<u2").tolist() == list(expected_mm.values())


def test_depth_of_another_encoding_is_refused():
    with pytest.raises(ValueError, match=r"'64FC1'.*'32FC1'"):
        depth_to_message(np.ones((2, 2), np.float32), "64FC1", Header())


def test_rgb_survives_the_round_trip_even_from_a_strided_view():
    image_rgb = np.random.default_rng(8).integers(0, 256, (HEIGHT, 2 * WIDTH, 3), dtype=np.uint8)[:, ::2]
    msg = rgb_to_message(image_rgb, Header(frame_id="camera"))
    assert (msg.encoding, msg.step, msg.header.frame_id) == ("rgb8", 3 * WIDTH, "camera")
    np.testing.assert_array_equal(decode_image(msg), image_rgb)


def test_messages_can_be_published():
    serialization = pytest.importorskip("rclpy.serialization")
    depth_m = np.ones((4, 5), np.float32)
    for msg in (depth_to_message(depth_m, "16UC1", Header()), rgb_to_message(np.zeros((4, 5, 3), np.uint8), Header())):
        assert serialization.deserialize_message(serialization.serialize_message(msg), Image) == msg


CONVERTS_NOTHING = "return numpy.asarray(image.data)"
RAISES_AT_FIRST_USE = "raise AttributeError(\"module 'numpy' has no attribute 'float'\")"
ENDS_THE_PROCESS = "os.kill(os.getpid(), signal.SIGSEGV)"


@pytest.fixture
def broken_cv_bridge(request, tmp_path, monkeypatch):
    """A cv_bridge that imports well and fails at the first conversion, for this process and its children."""
    (tmp_path / "cv_bridge.py").write_text(
        "import numpy, os, signal\n"
        "class CvBridge:\n"
        "    def imgmsg_to_cv2(self, image, desired_encoding):\n"
        f"        {request.param}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)
    colour_conversion.default_converter.cache_clear()
    yield
    sys.modules.pop("cv_bridge", None)
    colour_conversion.default_converter.cache_clear()


# A crash is looked for only where it happens: NumPy 2 beside a cv_bridge built for NumPy 1.
BROKEN = [CONVERTS_NOTHING, RAISES_AT_FIRST_USE, *([ENDS_THE_PROCESS] if np.__version__ >= "2" else [])]


@pytest.mark.parametrize("broken_cv_bridge", BROKEN, indirect=True)
@pytest.mark.usefixtures("broken_cv_bridge")
def test_a_cv_bridge_that_does_not_convert_is_passed_over():
    pytest.importorskip("rosbags.image")
    with pytest.raises(ImportError, match="cv_bridge cannot be used"):
        colour_conversion.load_converter("cv_bridge")
    assert decode_image(message("bgr8", 1, 1, 3, b"\x01\x02\x03")).tolist() == [[[3, 2, 1]]]


@pytest.mark.parametrize("broken_cv_bridge", [RAISES_AT_FIRST_USE], indirect=True)
@pytest.mark.usefixtures("broken_cv_bridge")
def test_without_any_library_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "rosbags.image", None)
    with pytest.raises(ImportError, match="install ros-<distribution>-cv-bridge"):
        colour_conversion.default_converter()
