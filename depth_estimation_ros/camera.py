"""From a camera image to the network's input and back to geometry: rectify, resize, and the pinhole that results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from depth_estimation_ros.calibration import (
    Calibration,
    CalibrationError,
    RegionOfInterest,
    fit_to_image,
    fold,
    needs_rectification,
    raw_pinhole,
    rectified_pinhole,
    rectifying_rotation,
)
from depth_estimation_ros.inference.preprocessing import resize_image
from depth_estimation_ros.rectification import (
    RectificationMaps,
    area_size,
    focal_of_view,
    rectification_maps,
    resize_intrinsics,
)

if TYPE_CHECKING:
    from sensor_msgs.msg import CameraInfo

__all__ = [
    "Calibration",
    "CalibrationError",
    "RegionOfInterest",
    "View",
    "camera_info_message",
    "fold",
    "is_rectified_topic",
    "plan_view",
    "rectified_focal_px",
]


@dataclass(frozen=True, eq=False)
class View:
    """How one camera's images become network images, and the pinhole of those.

    Attributes:
        image_size: (H, W) pixels of the camera image.
        network_size: (h, w) pixels of the network image, or of whatever image the view was planned to make.
        resize_filter: "area", "linear" or "cubic", where no rectification is needed.
        k_network: (3, 3) float64 intrinsics of the network image, pixels; None where `why_no_cloud`.
        maps: The rectification, None where a plain resize does.
        valid_mask: (h, w) bool, False where the camera saw nothing and depth would be invented; None if all is valid.
        warnings: One sentence each: the geometry holds, with a reservation.
        why_no_cloud: One sentence saying why there is no geometry; None if a cloud can be made.
    """

    image_size: tuple[int, int]
    network_size: tuple[int, int]
    resize_filter: str
    k_network: np.ndarray | None = None
    maps: RectificationMaps | None = None
    valid_mask: np.ndarray | None = None
    warnings: tuple[str, ...] = ()
    why_no_cloud: str | None = None

    @property
    def focal_network_px(self) -> float | None:
        """sqrt(fx * fy) at network size in pixels; None without geometry."""
        return None if self.k_network is None else _focal_px(self.k_network)

    def apply(self, image_rgb: np.ndarray) -> np.ndarray:
        """Resample one camera image (H, W, 3) uint8 into (h, w, 3); float32 and single-channel images work too.

        Raises:
            ValueError: The image is not of `image_size`: plan the view again.
        """
        if image_rgb.shape[:2] != self.image_size:
            raise ValueError(
                f"the image is {image_rgb.shape[:2]} and this view was planned for {self.image_size}: plan it again"
            )
        if self.maps is not None:
            return self.maps.resample(_shrink(image_rgb, self.maps.source_size))
        if self.resize_filter != "area":
            (height, width), (h, w) = self.image_size, self.network_size
            image_rgb = _shrink(image_rgb, area_size(self.image_size, (height / h, width / w)))
        return resize_image(image_rgb, self.network_size, self.resize_filter)


def _shrink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return image if image.shape[:2] == size else cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)


def _focal_px(k: np.ndarray) -> float:
    return math.sqrt(k[0, 0] * k[1, 1])


@dataclass(frozen=True)
class _Geometry:
    """The camera at image size: the rectified pinhole, and the raw calibration where the two differ."""

    k_rectified: np.ndarray
    distorted: Calibration | None
    warnings: tuple[str, ...]


def _geometry(
    calibration: Calibration | None, image_size: tuple[int, int], input_rectified: bool, assumed_hfov_deg: float
) -> _Geometry:
    if calibration is None or not calibration.is_calibrated:
        why = "no CameraInfo has arrived" if calibration is None else "CameraInfo says uncalibrated (K[0] is 0)"
        k = _assumed_pinhole(why, image_size, assumed_hfov_deg)
        warning = f"{why}: a pinhole with {assumed_hfov_deg:g} degrees of horizontal view is assumed; calibrate it"
        return _Geometry(k, None, (warning,))
    at_image_size, warning_or_none = fit_to_image(fold(calibration), image_size)
    warnings = () if warning_or_none is None else (warning_or_none,)
    k_rectified = rectified_pinhole(at_image_size)
    distorted = None if input_rectified or not needs_rectification(at_image_size) else at_image_size
    return _Geometry(k_rectified, distorted, warnings)


def _assumed_pinhole(why: str, image_size: tuple[int, int], assumed_hfov_deg: float) -> np.ndarray:
    if assumed_hfov_deg == 0:
        raise CalibrationError(f"{why}: calibrate the camera, or set assumed_hfov_deg to its horizontal view")
    if not 0 < assumed_hfov_deg < 180:
        raise CalibrationError(
            f"assumed_hfov_deg is {assumed_hfov_deg:g}: it must lie between 0 and 180 degrees, or be 0 for off"
        )
    height, width = image_size
    focal_px = focal_of_view(width, assumed_hfov_deg)
    return np.array([[focal_px, 0.0, (width - 1) / 2], [0.0, focal_px, (height - 1) / 2], [0.0, 0.0, 1.0]])


def rectified_focal_px(
    calibration: Calibration | None, image_size: tuple[int, int], input_rectified: bool, assumed_hfov_deg: float
) -> float | None:
    """sqrt(fx * fy) of the rectified camera in pixels of the camera image (H, W), to choose the network size by.

    None where the camera has no usable geometry; `plan_view` then says why.
    """
    try:
        return _focal_px(_geometry(calibration, image_size, input_rectified, assumed_hfov_deg).k_rectified)
    except CalibrationError:
        return None


def plan_view(
    calibration: Calibration | None,
    image_size: tuple[int, int],
    network_size: tuple[int, int],
    input_rectified: bool,
    assumed_hfov_deg: float,
    resize_filter: str,
) -> View:
    """Work out once per CameraInfo and image size how this camera's images become network images.

    Never raises for a calibration: where it gives no geometry, the view resizes plainly, has no `k_network`, and
    `why_no_cloud` says why.

    Args:
        calibration: As received; None before any CameraInfo.
        image_size: (H, W) pixels of the decoded image.
        network_size: (h, w) pixels.
        input_rectified: The image is rectified already: P describes it, D and R are not applied a second time.
        assumed_hfov_deg: Horizontal field of view in degrees for an uncalibrated camera; 0 assumes nothing.
        resize_filter: "area", "linear" or "cubic", as the model's contract has it.
    """
    try:
        geometry = _geometry(calibration, image_size, input_rectified, assumed_hfov_deg)
        k_network = resize_intrinsics(geometry.k_rectified, image_size, network_size)
        maps = None if geometry.distorted is None else _maps(geometry.distorted, k_network, network_size)
    except CalibrationError as error:
        return View(image_size, network_size, resize_filter, why_no_cloud=str(error))
    valid_mask = None if maps is None or maps.valid_mask.all() else maps.valid_mask
    return View(image_size, network_size, resize_filter, k_network, maps, valid_mask, geometry.warnings)


def _maps(distorted: Calibration, k_network: np.ndarray, network_size: tuple[int, int]) -> RectificationMaps:
    maps = rectification_maps(
        raw_pinhole(distorted),
        distorted.d,
        rectifying_rotation(distorted),
        distorted.distortion_model,
        distorted.size,
        k_network,
        network_size,
    )
    if not maps.valid_mask.any():
        raise CalibrationError(
            "rectification with CameraInfo's K, D, R and P finds no pixel of the image: calibrate the camera again"
        )
    return maps


def is_rectified_topic(topic: str, setting: str) -> bool:
    """Decide whether a topic's images are rectified already.

    Args:
        topic: The resolved image topic; a trailing `/compressed` does not count.
        setting: "true", "false", or "auto": rectified when the topic's last name starts with `image_rect`, as
            image_proc's do beside a CameraInfo whose D is not zero.

    Raises:
        ValueError: Another setting.
    """
    if setting not in ("auto", "true", "false"):
        raise ValueError(f"input_rectified is {setting!r}: it must be 'auto', 'true' or 'false'")
    if setting != "auto":
        return setting == "true"
    return topic.removesuffix("/compressed").rsplit("/", 1)[-1].startswith("image_rect")


def camera_info_message(view: View, header: Any) -> CameraInfo:
    """Describe the network image: rectified, D zero, R identity, P = [K | 0], binning and region of interest cleared.

    Without geometry K, R and P stay zero, which is how CameraInfo says uncalibrated.
    """
    from sensor_msgs.msg import CameraInfo  # here, so that the geometry needs no ROS messages

    message = CameraInfo(header=header, distortion_model="plumb_bob")
    message.height, message.width = (int(side) for side in view.network_size)
    if view.k_network is not None:
        message.d = [0.0] * 5
        message.k = view.k_network.ravel()
        message.r = np.eye(3).ravel()
        message.p = np.hstack([view.k_network, np.zeros((3, 1))]).ravel()
    return message
