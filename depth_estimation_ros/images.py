"""sensor_msgs images to and from numpy: every encoding to 8-bit RGB, depth and RGB back to messages."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from depth_estimation_ros.colour_conversion import Converter, PackedImage, default_converter
from depth_estimation_ros.millimetres import depth_to_millimetres

if TYPE_CHECKING:
    from sensor_msgs.msg import Image

MAX_SIDE_PX = 16384
"""A width or height above this is taken for a broken message, not for a camera."""


PNG = b"\x89PNG\r\n\x1a\n"
PNG_COLOUR_TYPE = 25
"""Where it stands in a file: 0 is a single channel."""


class ImageError(ValueError):
    """An image message that cannot be decoded; one sentence with the value, the rule and what to do."""


class _Layout(NamedTuple):
    samples_per_pixel: int
    bytes_per_sample: int
    name_8bit: str  # of these samples at 8 bits
    multiple: tuple[int, int] = (1, 1)  # of height and width, from chroma subsampling
    least_side_px: int = 1


_BAYER = {
    f"bayer_{pattern}{8 * n}": _Layout(1, n, f"bayer_{pattern}8", least_side_px=3)
    for pattern in ("rggb", "bggr", "gbrg", "grbg")
    for n in (1, 2)
}
_LAYOUTS = {
    "rgb8": _Layout(3, 1, "rgb8"),
    "bgr8": _Layout(3, 1, "bgr8"),
    "rgba8": _Layout(4, 1, "rgba8"),
    "bgra8": _Layout(4, 1, "bgra8"),
    "mono8": _Layout(1, 1, "mono8"),
    "mono16": _Layout(1, 2, "mono8"),
    "8UC1": _Layout(1, 1, "mono8"),
    "8UC3": _Layout(3, 1, "bgr8"),
    "8UC4": _Layout(4, 1, "bgra8"),
    "uyvy": _Layout(2, 1, "uyvy", multiple=(1, 2)),
    "yuv422": _Layout(2, 1, "uyvy", multiple=(1, 2)),
    "yuyv": _Layout(2, 1, "yuyv", multiple=(1, 2)),
    "yuv422_yuy2": _Layout(2, 1, "yuyv", multiple=(1, 2)),
    # In 4:2:0 the luma plane comes first and half as many rows of interleaved chroma follow it.
    "nv12": _Layout(1, 1, "nv12", multiple=(2, 2)),
    "nv21": _Layout(1, 1, "nv21", multiple=(2, 2)),
    **_BAYER,
}
# OpenCV does these directly: older cv_bridge knows neither yuyv nor 4:2:0, and rosbags-image gets the latter wrong.
_YUV422_CODES = {"uyvy": cv2.COLOR_YUV2RGB_UYVY, "yuyv": cv2.COLOR_YUV2RGB_YUYV}
_YUV420_CODES = {"nv12": cv2.COLOR_YUV2RGB_NV12, "nv21": cv2.COLOR_YUV2RGB_NV21}

SUPPORTED_ENCODINGS: tuple[str, ...] = tuple(_LAYOUTS)


def decode_image(msg: Any, converter: Converter | None = None) -> np.ndarray:
    """Turn a sensor_msgs/Image into RGB.

    16-bit samples (mono16, bayer_*16) become 8 bits by `>> 8`, in either byte order. 8UC1, 8UC3 and 8UC4 are read as
    mono8, bgr8 and bgra8; alpha is dropped; YUV is BT.601 limited range. nv12 and nv21 are accepted with `height` the
    picture's own (three halves as many rows in `data`, `step` that of the luma plane) and with `height` counting the
    chroma rows too: the length of `data` decides, so take the size from the returned array, not from the message.

    Args:
        msg: sensor_msgs/Image; `data` is anything with the buffer protocol (array.array, bytes, numpy).
        converter: The library to convert with; by default the one that works here.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous, never a view of the message.

    Raises:
        ImageError: Unknown encoding, zero or absurd size, `step` below a row, or `data` shorter or longer than it says.
    """
    layout = _LAYOUTS.get(msg.encoding)
    if layout is None:
        raise ImageError(
            f"encoding {msg.encoding!r} is unknown: set the camera driver to one of {', '.join(SUPPORTED_ENCODINGS)}"
        )
    data = np.frombuffer(msg.data, np.uint8) if len(msg.data) else np.empty(0, np.uint8)
    name, width, height, row_count = layout.name_8bit, int(msg.width), int(msg.height), int(msg.height)
    if name in _YUV420_CODES:
        if data.size == row_count * int(msg.step) and row_count % 3 == 0:
            height = row_count * 2 // 3
        else:
            row_count = height * 3 // 2
    _check_size(msg.encoding, layout, height, width)

    samples = _packed_rows(msg, data, row_count, layout)  # (rows, W * samples) uint8
    if name in _YUV420_CODES:
        return cv2.cvtColor(samples, _YUV420_CODES[name])
    if name in _YUV422_CODES:
        return cv2.cvtColor(samples.reshape(height, width, 2), _YUV422_CODES[name])
    return _to_rgb(name, samples, width, converter)


def _to_rgb(name: str, samples: np.ndarray, width: int, converter: Converter | None = None) -> np.ndarray:
    height, row_samples = samples.shape
    image_rgb = (converter or default_converter())(PackedImage(height, width, name, row_samples, samples))
    return np.require(image_rgb, np.uint8, ["C_CONTIGUOUS", "OWNDATA", "WRITEABLE"])


def _check_size(encoding: str, layout: _Layout, height: int, width: int) -> None:
    least = layout.least_side_px
    if not (least <= height <= MAX_SIDE_PX and least <= width <= MAX_SIDE_PX):
        raise ImageError(
            f"{encoding} image of {width}x{height} pixels: each side must be {least} to {MAX_SIDE_PX}; "
            "correct the camera driver's width and height"
        )
    if height % layout.multiple[0] or width % layout.multiple[1]:
        raise ImageError(
            f"{encoding} image of {width}x{height} pixels: chroma is shared between neighbours, so width must be a "
            f"multiple of {layout.multiple[1]} and height of {layout.multiple[0]}; choose another size or encoding"
        )


def _packed_rows(msg: Any, data: np.ndarray, row_count: int, layout: _Layout) -> np.ndarray:
    """Cut the padding off each row and keep the high byte of each sample: (rows, W * samples) uint8, C-contiguous."""
    step, row_samples = int(msg.step), int(msg.width) * layout.samples_per_pixel
    row_bytes = row_samples * layout.bytes_per_sample
    if step < row_bytes:
        raise ImageError(
            f"step is {step} bytes, but a row of {msg.width} {msg.encoding} pixels takes {row_bytes}: "
            "correct the camera driver's step or encoding"
        )
    if data.size != row_count * step:
        fault = "truncated" if data.size < row_count * step else "too long"
        raise ImageError(
            f"data is {fault}: {data.size} bytes, but {row_count} {msg.encoding} rows of step {step} take "
            f"{row_count * step}; check the camera driver and the transport"
        )
    rows = data.reshape(row_count, step)[:, :row_bytes]
    if layout.bytes_per_sample == 2:
        rows = rows.reshape(row_count, row_samples, 2)[:, :, 0 if msg.is_bigendian else 1]
    return np.ascontiguousarray(rows)


def decode_compressed(msg: Any) -> np.ndarray:
    """Turn a sensor_msgs/CompressedImage (jpeg or png) into RGB.

    The first bytes decide what it is, since drivers disagree on `format`. 16-bit png becomes 8 bits by `>> 8`, alpha is
    dropped, and an EXIF orientation is not applied: CameraInfo describes the sensor's rows. A Bayer mosaic, which
    image_transport puts into a png as it is, is told by `format`.

    Returns:
        (H, W, 3) uint8 RGB, C-contiguous.

    Raises:
        ImageError: Neither jpeg nor png, cut off before its end marker, broken, or of absurd size.
    """
    data = bytes(msg.data)
    if "compressedDepth" in msg.format:
        raise ImageError(f"compressed format {msg.format!r} is depth: give the topic of a colour camera")
    if data.startswith(b"\xff\xd8\xff"):
        # Decoders fill a cut-off jpeg with grey, so look for the end of image behind the last start of scan.
        complete = data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")
    elif data.startswith(PNG):
        complete = b"IEND" in data[-64:]
    else:
        raise ImageError(
            f"compressed image of format {msg.format!r} starts with {data[:4].hex(' ') or 'nothing'}: only jpeg and "
            "png are read; set the image transport's format to one of them"
        )
    if not complete:
        raise ImageError(f"compressed image is truncated: {len(data)} bytes without an end marker; check the transport")
    pattern = msg.format.partition(";")[0].strip()
    is_grey = data.startswith(PNG) and data[PNG_COLOUR_TYPE : PNG_COLOUR_TYPE + 1] == b"\0"
    is_mosaic = pattern in _BAYER and is_grey  # in a jpeg it would have been spoilt
    flags = cv2.IMREAD_GRAYSCALE if is_mosaic else cv2.IMREAD_COLOR
    try:
        image_bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise ImageError(f"compressed image of {len(data)} bytes is broken: {error.err or error}") from error
    if image_bgr is None:
        raise ImageError(f"compressed image of {len(data)} bytes is broken: OpenCV cannot decode it; check the driver")
    if max(image_bgr.shape[:2]) > MAX_SIDE_PX:
        height, width = image_bgr.shape[:2]
        raise ImageError(f"compressed image of {width}x{height} pixels: each side must be 1 to {MAX_SIDE_PX}")
    if is_mosaic:
        return _to_rgb(_BAYER[pattern].name_8bit, image_bgr, image_bgr.shape[1])
    return cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)


def depth_to_message(depth_m: np.ndarray, encoding: str, header: Any) -> Image:
    """Build the depth image of REP 118.

    Args:
        depth_m: (H, W) float32 metres; NaN unknown, +Inf too far, -Inf too near (REP 117).
        encoding: "32FC1" passes the metres on as they are; "16UC1" is millimetres, rounded, with 0 for what is not
            finite, not above zero, or beyond 65.535 m (never wrapped).
        header: std_msgs/Header of the camera image.

    Raises:
        ValueError: Another encoding.
    """
    if encoding == "32FC1":
        return float_to_message(depth_m, header)
    if encoding == "16UC1":
        return _image_message(depth_to_millimetres(depth_m), encoding, header)
    raise ValueError(f"depth encoding is {encoding!r}: it must be '32FC1' (metres) or '16UC1' (millimetres)")


def float_to_message(values: np.ndarray, header: Any) -> Image:
    """Build a 32FC1 image from (H, W) float32."""
    return _image_message(values.astype(np.float32, copy=False), "32FC1", header)


def rgb_to_message(image_rgb: np.ndarray, header: Any) -> Image:
    """Build an rgb8 image from (H, W, 3) uint8 RGB."""
    return _image_message(image_rgb, "rgb8", header)


def _image_message(pixels: np.ndarray, encoding: str, header: Any) -> Image:
    from sensor_msgs.msg import Image  # here, so that decoding needs no ROS messages

    message = Image(header=header, encoding=encoding, is_bigendian=int(sys.byteorder == "big"))
    message.height, message.width = int(pixels.shape[0]), int(pixels.shape[1])
    message.step = int(pixels[0].nbytes)
    # Assigning to `data` walks over every element; filling the array that is there copies it at once.
    message.data.frombytes(np.ascontiguousarray(pixels).view(np.uint8))
    return message
