"""From one camera image to depth on one pinhole, without ROS: plan the view, predict, mark what is not valid."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from depth_estimation_ros.camera import Calibration, View, plan_view, rectified_focal_px
from depth_estimation_ros.inference.contract import ModelContract
from depth_estimation_ros.inference.network_size import choose_network_size
from depth_estimation_ros.inference.predictor import Predictor
from depth_estimation_ros.parameters import Parameters


@dataclass(frozen=True)
class Estimate:
    """Depth of one image and what it lies on.

    Attributes:
        depth_m: (h, w) float32 metres along the optical axis; NaN, +Inf and -Inf after REP 117.
        image_rgb: (h, w, 3) uint8, the pixels that the depth belongs to.
        view: How they came from the camera image; its k_network is their pinhole.
        focal_ratio: Factor applied for the camera's focal length, 1 where unknown or switched off.
        remarks: One sentence each: the depth is there, with a reservation.
    """

    depth_m: np.ndarray
    image_rgb: np.ndarray
    view: View
    focal_ratio: float
    remarks: tuple[str, ...]


class CameraPipeline:
    """One camera's way through one model. The view is planned anew only when something it depends on changes."""

    def __init__(self, predictor: Predictor):
        self._predictor = predictor
        self._view: View | None = None
        self._planned_for: Hashable = None

    def prepare(
        self, size: tuple[int, int], calibration: Calibration | None, input_rectified: bool, parameters: Parameters
    ) -> bool:
        """Plan the view of such images, and run the network once where it has never run at the size that it needs.

        Args:
            size: (H, W) pixels of the camera image.
            calibration: As for `estimate`.
            input_rectified: As for `estimate`.
            parameters: As for `estimate`.

        Returns:
            Whether the network had to run, which can take as long as many frames do.

        Raises:
            ValueError: No network size fits the image.
            InferenceError: The network does not run at this size.
        """
        before = self._view
        view = self._view_for(size, calibration, input_rectified, parameters)
        return view is not before and self._predictor.warm_up(*view.network_size)

    def estimate(
        self, image_rgb: np.ndarray, calibration: Calibration | None, input_rectified: bool, parameters: Parameters
    ) -> Estimate:
        """Estimate the depth of one image.

        Args:
            image_rgb: (H, W, 3) uint8, as the camera sends it.
            calibration: None where no CameraInfo has come.
            input_rectified: The image is rectified already.
            parameters: The values that hold for this frame.

        Raises:
            ValueError: No network size fits the image, or the focal ratio is absurd.
            InferenceError: The network failed on this image.
        """
        view = self._view_for((image_rgb.shape[0], image_rgb.shape[1]), calibration, input_rectified, parameters)
        ratio, why_no_ratio = focal_ratio(self._predictor.contract, view)
        if not parameters.focal_correction:
            ratio, why_no_ratio = 1.0, None
        network_rgb = view.apply(image_rgb)
        depth_m = self._predictor.predict(network_rgb, ratio).depth_m
        remarks = (*view.warnings, *filter(None, (view.why_no_cloud, why_no_ratio)))
        return Estimate(mark_invalid(depth_m, view.valid_mask, parameters), network_rgb, view, ratio, remarks)

    def _view_for(
        self, size: tuple[int, int], calibration: Calibration | None, input_rectified: bool, parameters: Parameters
    ) -> View:
        hfov_deg, max_pixels = parameters.assumed_hfov_deg, parameters.max_network_pixels
        wanted = (size, calibration, input_rectified, hfov_deg, max_pixels)
        if self._view is None or wanted != self._planned_for:
            contract = self._predictor.contract
            focal_px = rectified_focal_px(calibration, size, input_rectified, hfov_deg)
            network_size = choose_network_size(contract, *size, focal_px, max_pixels or None)
            self._view = plan_view(
                calibration, size, network_size, input_rectified, hfov_deg, contract.input.resize_filter
            )
            self._planned_for = wanted
        return self._view


def focal_ratio(contract: ModelContract, view: View) -> tuple[float, str | None]:
    """The camera's focal length in network pixels over the training camera's, which metric depth is proportional to.

    Returns:
        The ratio and None, or 1 and the sentence that says why it is unknown.
    """
    if view.focal_network_px is None:
        return 1.0, "the camera's focal length is unknown: metric scale is the training camera's"
    if contract.training_focal_px is None:
        return 1.0, "the model does not name its training focal length: metric scale is not corrected for this camera"
    return view.focal_network_px / contract.training_focal_px, None


def mark_invalid(depth_m: np.ndarray, valid_mask: np.ndarray | None, parameters: Parameters) -> np.ndarray:
    """Apply the user's scale, then REP 117: +Inf beyond max_range, -Inf nearer than min_range, NaN where unknown.

    Args:
        depth_m: (h, w) float32 metres, finite.
        valid_mask: (h, w) bool, False where the camera saw nothing; None if all is valid.
        parameters: scale, min_range and max_range.

    Returns:
        (h, w) float32, a new array.
    """
    scaled_m = depth_m * np.float32(parameters.scale)
    too_near, too_far = scaled_m < parameters.min_range, scaled_m > parameters.max_range
    scaled_m[too_near] = -np.inf
    scaled_m[too_far] = np.inf
    if valid_mask is not None:
        scaled_m[~valid_mask] = np.nan
    return scaled_m
