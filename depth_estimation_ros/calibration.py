"""A camera's calibration as CameraInfo gives it, and the same folded to the image that actually arrives."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from depth_estimation_ros.rectification import distortion_problem, is_distorted, resize_intrinsics

FARTHEST_CENTRE_SIDES = 100
"""A principal point this many longer sides of the image away is a broken message's; a small window of a sensor may lie
far from its middle."""


class CalibrationError(ValueError):
    """A calibration from which no geometry follows; one sentence with the value, the rule and what to do."""


class RegionOfInterest(NamedTuple):
    """Window of the sensor in unbinned pixels; all zero is the whole sensor."""

    x_offset: int = 0
    y_offset: int = 0
    width: int = 0
    height: int = 0


@dataclass(frozen=True, eq=False)
class Calibration:
    """What CameraInfo says of geometry. Equal calibrations compare equal, whatever their headers were.

    Attributes:
        width, height: Pixels of the full, unbinned image that was calibrated.
        k: (3, 3) float64 intrinsics of the raw image, pixels; k[0, 0] == 0 says uncalibrated.
        d: (n,) float64 distortion terms.
        r: (3, 3) float64 rotation from the camera to the rectified camera; all zero is taken for the identity.
        p: (3, 4) float64 projection of the rectified image, pixels; all zero is taken for [k | 0].
        distortion_model: plumb_bob, rational_polynomial or equidistant.
        binning_x, binning_y: Sensor pixels per image pixel; 0 is taken for 1.
        roi: The window read out.
    """

    width: int
    height: int
    k: np.ndarray
    d: np.ndarray
    r: np.ndarray
    p: np.ndarray
    distortion_model: str = "plumb_bob"
    binning_x: int = 1
    binning_y: int = 1
    roi: RegionOfInterest = field(default_factory=RegionOfInterest)

    @classmethod
    def from_camera_info(cls, msg: Any) -> Calibration:
        """Read a sensor_msgs/CameraInfo, or anything with its fields."""
        return cls(
            width=int(msg.width),
            height=int(msg.height),
            k=np.array(msg.k, np.float64).reshape(3, 3),
            d=np.array(msg.d, np.float64),
            r=np.array(msg.r, np.float64).reshape(3, 3),
            p=np.array(msg.p, np.float64).reshape(3, 4),
            distortion_model=str(msg.distortion_model),
            binning_x=int(msg.binning_x),
            binning_y=int(msg.binning_y),
            roi=RegionOfInterest(int(msg.roi.x_offset), int(msg.roi.y_offset), int(msg.roi.width), int(msg.roi.height)),
        )

    def _identity(self) -> tuple[object, ...]:
        matrices = tuple(matrix.tobytes() for matrix in (self.k, self.d, self.r, self.p))
        return (self.width, self.height, self.distortion_model, self.binning_x, self.binning_y, self.roi, *matrices)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Calibration) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) pixels."""
        return self.height, self.width

    @property
    def is_calibrated(self) -> bool:
        """CameraInfo's own convention: K[0] is zero where nobody has calibrated the camera."""
        return bool(self.k[0, 0] != 0)


def fold(calibration: Calibration) -> Calibration:
    """Fold binning and region of interest into K and P, as image_geometry's PinholeCameraModel does.

    The principal point moves by the window's offset in sensor pixels, then both rows are divided by the binning (and
    P's fourth column with them, but the offset never moves it). Sizes divide downwards.

    Returns:
        The calibration of the image as it arrives: no binning, no region of interest.

    Raises:
        CalibrationError: Nothing is left of the image.
    """
    binning_x, binning_y = max(1, calibration.binning_x), max(1, calibration.binning_y)
    roi = calibration.roi
    if roi == RegionOfInterest():
        roi = RegionOfInterest(0, 0, calibration.width, calibration.height)
    width, height = roi.width // binning_x, roi.height // binning_y
    if width < 1 or height < 1:
        raise CalibrationError(
            f"CameraInfo of {calibration.width}x{calibration.height} pixels with a region of interest of "
            f"{roi.width}x{roi.height} and binning {binning_x}x{binning_y} leaves a {width}x{height} image: "
            "correct its sizes"
        )

    def folded(matrix: np.ndarray) -> np.ndarray:
        matrix = matrix.copy()
        matrix[:2, 2] -= roi.x_offset, roi.y_offset
        matrix[:2] /= [[binning_x], [binning_y]]
        return matrix

    return replace(
        calibration,
        width=width,
        height=height,
        k=folded(calibration.k),
        p=folded(calibration.p) if np.any(calibration.p) else calibration.p,
        binning_x=1,
        binning_y=1,
        roi=RegionOfInterest(),
    )


def fit_to_image(folded: Calibration, image_size: tuple[int, int]) -> tuple[Calibration, str | None]:
    """Scale a folded calibration to an image of another size and the same aspect, with a warning.

    Each side may be off by one pixel of rounding.

    Returns:
        The calibration at `image_size` (H, W), and the warning, None where the sizes agree.

    Raises:
        CalibrationError: The aspect differs, so the image was cropped or padded nobody knows where.
    """
    if folded.size == image_size:
        return folded, None
    height, width = image_size
    sizes = f"the image is {width}x{height}, but CameraInfo (binning and region of interest folded) is "
    sizes += f"{folded.width}x{folded.height}"
    if abs(height / folded.height - width / folded.width) > 1 / folded.height + 1 / folded.width:
        raise CalibrationError(f"{sizes}, of another aspect: calibrate at the size that the camera sends")
    scaled = replace(
        folded,
        width=width,
        height=height,
        k=resize_intrinsics(folded.k, folded.size, image_size),
        p=resize_intrinsics(folded.p, folded.size, image_size) if np.any(folded.p) else folded.p,
    )
    return scaled, f"{sizes}: intrinsics are scaled to the image"


def rectified_pinhole(calibration: Calibration) -> np.ndarray:
    """(3, 3) float64 intrinsics of the rectified image, pixels: from P, or from K where P is all zero.

    Raises:
        CalibrationError: Focal lengths or principal point are not those of a camera.
    """
    name, matrix = ("P", calibration.p) if np.any(calibration.p) else ("K", calibration.k)
    return _checked_pinhole(name, matrix, calibration.size)


def raw_pinhole(calibration: Calibration) -> np.ndarray:
    """(3, 3) float64 intrinsics of the raw image, pixels. Raises CalibrationError as `rectified_pinhole` does."""
    return _checked_pinhole("K", calibration.k, calibration.size)


def _checked_pinhole(name: str, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    f_x, f_y, c_x, c_y = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    if not (np.all(np.isfinite([f_x, f_y, c_x, c_y])) and f_x > 0 and f_y > 0):
        raise CalibrationError(
            f"CameraInfo.{name.lower()} has fx {f_x:g}, fy {f_y:g}, cx {c_x:g}, cy {c_y:g}: all must be finite and the "
            "focal lengths positive; calibrate the camera again"
        )
    if max(abs(c_x), abs(c_y)) > FARTHEST_CENTRE_SIDES * max(size):
        raise CalibrationError(
            f"CameraInfo.{name.lower()} has its principal point at {c_x:g}, {c_y:g} of a {size[1]}x{size[0]} image "
            "(region of interest folded), where no camera has it: correct the region of interest, or calibrate again"
        )
    return np.array([[f_x, 0.0, c_x], [0.0, f_y, c_y], [0.0, 0.0, 1.0]])


def rectifying_rotation(calibration: Calibration) -> np.ndarray:
    """(3, 3) float64 rotation R, the identity where it is all zero.

    Raises:
        CalibrationError: R is not a rotation.
    """
    r = calibration.r
    if not np.any(r):
        return np.eye(3)
    if not (np.allclose(r @ r.T, np.eye(3), atol=1e-3) and np.linalg.det(r) > 0):
        raise CalibrationError(
            f"CameraInfo.r is {np.round(r, 3).tolist()}, which is no rotation: set it to the identity for a single "
            "camera, or calibrate again"
        )
    return r


def needs_rectification(calibration: Calibration) -> bool:
    """Say whether the raw image has to be remapped to become the image that P describes.

    Raises:
        CalibrationError: D, R, K or P cannot be used.
    """
    problem = distortion_problem(calibration.distortion_model, calibration.d)
    if problem is not None:
        raise CalibrationError(problem)
    return (
        is_distorted(calibration.distortion_model, calibration.d)
        or not np.allclose(rectifying_rotation(calibration), np.eye(3), atol=1e-9)
        or not np.allclose(raw_pinhole(calibration), rectified_pinhole(calibration), rtol=1e-9, atol=1e-6)
    )
