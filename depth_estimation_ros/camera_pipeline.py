"""From one camera image to depth on one pinhole, without ROS: plan the view, predict, mark what is not valid."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from depth_estimation_ros.camera import Calibration, View, plan_view, rectified_focal_px
from depth_estimation_ros.camera_pose import CameraPose
from depth_estimation_ros.confidence import to_confidence
from depth_estimation_ros.floor_scale import FloorReading, FloorScale
from depth_estimation_ros.flying_pixels import flying_pixels
from depth_estimation_ros.inference.contract import ModelContract
from depth_estimation_ros.inference.network_size import choose_network_size
from depth_estimation_ros.inference.predictor import Prediction, Predictor
from depth_estimation_ros.inference.preprocessing import resize_image
from depth_estimation_ros.parameters import Parameters

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Estimate:
    """Depth of one image and what it lies on. What only some outputs need is worked out when it is first asked for.

    Attributes:
        depth_m: (h, w) float32 metres along the optical axis; NaN, +Inf and -Inf after REP 117.
        image_rgb: (h, w, 3) uint8, the pixels that the depth belongs to.
        view: How they came from the camera image; its k_network is their pinhole.
        focal_ratio: Factor applied for the camera's focal length, 1 where unknown or switched off.
        remarks: One sentence each: the depth is there, with a reservation.
        prediction: At network size, before the user's scale, and finite everywhere.
        camera_rgb: (H, W, 3) uint8, as the camera sent it.
        camera_view: How it becomes the rectified image of its own size; None where outputs are of network size.
        parameters: The values that hold for this frame.
        camera_pose: Where the camera stands, None where unknown or not asked for.
        floor: What the floor says of the scale, None without `floor_scale`.
    """

    depth_m: np.ndarray
    image_rgb: np.ndarray
    view: View
    focal_ratio: float
    remarks: tuple[str, ...]
    prediction: Prediction
    camera_rgb: np.ndarray
    camera_view: View | None
    parameters: Parameters
    camera_pose: CameraPose | None = None
    floor: FloorReading | None = None

    @property
    def output_view(self) -> View:
        """The view whose pinhole and size all images that go out have."""
        return self.view if self.camera_view is None else self.camera_view

    @cached_property
    def surfaces_m(self) -> np.ndarray:
        """`depth_m` with NaN where a pixel floats between two surfaces, (h, w) float32, for whatever makes points."""
        if not self.parameters.points_filter:
            return self.depth_m
        floats = flying_pixels(self.prediction.depth_m, self.parameters.points_filter_threshold)
        return np.where(floats, np.float32(np.nan), self.depth_m)

    @cached_property
    def suspected_m(self) -> np.ndarray:
        """`depth_m` before pixels of little confidence and near ones were left out, (h, w) float32 without -Inf."""
        if self.parameters.min_confidence == 0 and self.parameters.min_range == 0:
            return self.depth_m
        all_near = replace(self.parameters, min_range=0.0)
        return mark_invalid(self.prediction.depth_m, self.view.valid_mask, all_near)

    @cached_property
    def scanned_m(self) -> np.ndarray:
        """`surfaces_m` before near pixels were left out: floor before the camera is no obstacle, however near."""
        if self.parameters.min_range == 0:
            return self.surfaces_m
        return np.where(np.isnan(self.surfaces_m), np.float32(np.nan), self.suspected_m)

    @cached_property
    def output_depth_m(self) -> np.ndarray:
        """`depth_m` at output size, (H, W) float32."""
        if self.camera_view is None:
            return self.depth_m
        depth_m = resize_depth(self.prediction.depth_m, self.camera_view.network_size)
        confidence = self.output_confidence if self.parameters.min_confidence > 0 else None
        return mark_invalid(depth_m, self.camera_view.valid_mask, self.parameters, confidence)

    @cached_property
    def output_rgb(self) -> np.ndarray:
        """(H, W, 3) uint8, the pixels that `output_depth_m` belongs to."""
        return self.image_rgb if self.camera_view is None else self.camera_view.apply(self.camera_rgb)

    @cached_property
    def output_confidence(self) -> np.ndarray | None:
        """(H, W) float32 after `to_confidence`, 0 where the camera saw nothing; None where the model gives none."""
        if self.prediction.log_depth_sigma is None:
            return None
        view = self.output_view
        confidence = to_confidence(resize_image(self.prediction.log_depth_sigma, view.network_size, "area"))
        if view.valid_mask is not None:
            confidence[~view.valid_mask] = 0
        return confidence


class CameraPipeline:
    """One camera's way through one model. The view is planned anew only when something it depends on changes."""

    def __init__(self, predictor: Predictor):
        self._predictor = predictor
        self._view: View | None = None
        self._camera_view: View | None = None
        self._planned_for: Hashable = None
        self._floor_scale = FloorScale()

    def forget(self) -> None:
        """Start the floor's scale anew: the camera, or the time, is another."""
        self._floor_scale = FloorScale()

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
        self,
        image_rgb: np.ndarray,
        calibration: Calibration | None,
        input_rectified: bool,
        parameters: Parameters,
        camera_pose: CameraPose | None = None,
    ) -> Estimate:
        """Estimate the depth of one image.

        Args:
            image_rgb: (H, W, 3) uint8, as the camera sends it.
            calibration: None where no CameraInfo has come.
            input_rectified: The image is rectified already.
            parameters: The values that hold for this frame.
            camera_pose: Of the camera over the floor, None where unknown.

        Raises:
            ValueError: No network size fits the image, or the focal ratio is absurd.
            InferenceError: The network failed on this image.
        """
        view = self._view_for((image_rgb.shape[0], image_rgb.shape[1]), calibration, input_rectified, parameters)
        ratio, why_no_ratio = focal_ratio(self._predictor.contract, view)
        if not parameters.focal_correction:
            ratio, why_no_ratio = 1.0, None
        network_rgb = view.apply(image_rgb)
        prediction = self._predictor.predict(network_rgb, ratio)
        confidence, why_not_masked = None, None
        if parameters.min_confidence > 0:
            if prediction.log_depth_sigma is None:
                why_not_masked = "min_confidence is set, but the model gives no confidence: it masks nothing"
            else:
                confidence = to_confidence(prediction.log_depth_sigma)
        floor = self._read_floor(prediction.depth_m, view, camera_pose, parameters)
        if floor is not None:
            parameters = replace(parameters, scale=parameters.scale * floor.factor)
        return Estimate(
            depth_m=mark_invalid(prediction.depth_m, view.valid_mask, parameters, confidence),
            image_rgb=network_rgb,
            view=view,
            focal_ratio=ratio,
            remarks=(*view.warnings, *filter(None, (view.why_no_cloud, why_no_ratio, why_not_masked))),
            prediction=prediction,
            camera_rgb=image_rgb,
            camera_view=self._camera_view,
            parameters=parameters,
            camera_pose=camera_pose,
            floor=floor,
        )

    def _read_floor(
        self, depth_m: np.ndarray, view: View, camera_pose: CameraPose | None, parameters: Parameters
    ) -> FloorReading | None:
        if not parameters.floor_scale:
            self.forget()
            return None
        valid_m = depth_m if view.valid_mask is None else np.where(view.valid_mask, depth_m, np.nan)
        return self._floor_scale.update(valid_m, view.k_network, camera_pose, parameters.scale)

    def _view_for(
        self, size: tuple[int, int], calibration: Calibration | None, input_rectified: bool, parameters: Parameters
    ) -> View:
        hfov_deg, max_pixels = parameters.assumed_hfov_deg, parameters.max_network_pixels
        wanted = (size, calibration, input_rectified, hfov_deg, max_pixels, parameters.output_size)
        if self._view is None or wanted != self._planned_for:
            contract = self._predictor.contract
            resize_filter = contract.input.resize_filter
            focal_px = rectified_focal_px(calibration, size, input_rectified, hfov_deg)
            network_size = choose_network_size(contract, *size, focal_px, max_pixels or None)
            view = plan_view(calibration, size, network_size, input_rectified, hfov_deg, resize_filter)
            camera_view = None
            if parameters.output_size == "camera":
                camera_view = plan_view(calibration, size, size, input_rectified, hfov_deg, resize_filter)
            self._view, self._camera_view, self._planned_for = view, camera_view, wanted  # all or nothing
            _logger.debug(
                "%dx%d images go into the network at %dx%d%s; focal length %s network pixels",
                *(side for (h, w) in (size, network_size) for side in (w, h)),
                "" if view.maps is None else ", rectified",
                "unknown" if view.focal_network_px is None else f"{view.focal_network_px:.1f}",
            )
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


def resize_depth(depth_m: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resample depth with half-pixel centres, through its inverse, which is what is linear on a plane.

    Args:
        depth_m: (h, w) float32 metres, finite and above 0: nothing may be marked yet, or the marks would spread.
        size: (H, W) pixels.

    Returns:
        (H, W) float32; `depth_m` itself where it has that size.
    """
    if depth_m.shape == size:
        return depth_m
    return 1 / resize_image(1 / depth_m, size, "area")


def mark_invalid(
    depth_m: np.ndarray, valid_mask: np.ndarray | None, parameters: Parameters, confidence: np.ndarray | None = None
) -> np.ndarray:
    """Apply the user's scale, then REP 117: +Inf beyond max_range, -Inf nearer than min_range, NaN where unknown.

    Args:
        depth_m: (h, w) float32 metres, finite.
        valid_mask: (h, w) bool, False where the camera saw nothing; None if all is valid.
        parameters: scale, min_range, max_range and min_confidence.
        confidence: (h, w) float32, 0 to 1; below min_confidence depth is unknown. None where all is trusted.

    Returns:
        (h, w) float32, a new array.
    """
    scaled_m = depth_m * np.float32(parameters.scale)
    too_near, too_far = scaled_m < parameters.min_range, scaled_m > parameters.max_range
    scaled_m[too_near] = -np.inf
    scaled_m[too_far] = np.inf
    if valid_mask is not None:
        scaled_m[~valid_mask] = np.nan
    if confidence is not None:
        scaled_m[confidence < parameters.min_confidence] = np.nan
    return scaled_m
