"""How depth holds for cameras other than the training camera, imitated by cropping and shrinking its images.

A longer lens (zoom above 1) is a centre crop of the image: the same pixels with a narrower view. A wider one (below 1)
cannot be cropped out; it is imitated by what it would do to the network, which then sees the image at that fraction of
its native size. Either way the native network, given the whole image at native size, is asked about the same pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from depth_estimation_ros.calibration import Calibration
from depth_estimation_ros.camera_pipeline import CameraPipeline
from depth_estimation_ros.inference.predictor import Predictor
from depth_estimation_ros.inference.preprocessing import resize_image
from depth_estimation_ros.parameters import Parameters
from depth_training.data.pairs import Pair, read_pair
from depth_training.evaluation import Camera, focal_ratio
from depth_training.protocols import NYU_EIGEN, Protocol

#: What is asked of each camera: so much more abs_rel than the native network on the same pixels, at these zooms.
TARGETS = ((1.10, 0.8, 1.3), (1.20, 0.7, 1.6))
ASPECTS = {"4:3": 4 / 3, "16:9": 16 / 9, "square": 1.0, "portrait 3:4": 3 / 4}
WAYS = ("native", "corrected", "formula", "uncorrected")


@dataclass(frozen=True)
class ImitatedCamera:
    """A camera that looks at the middle of the training camera's image.

    Attributes:
        zoom: Its focal length over the training camera's, at equal image width.
        aspect: A key of :data:`ASPECTS`.
    """

    zoom: float = 1.0
    aspect: str = "4:3"

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.zoom:g}x {self.aspect}"

    def window(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns that it sees of a (height, width) image: the largest window of its aspect, over its zoom."""
        aspect, zoom = ASPECTS[self.aspect], max(self.zoom, 1.0)
        seen_width = min(width, height * aspect)
        sides = (round(seen_width / aspect / zoom), round(seen_width / zoom))
        starts = ((height - sides[0]) // 2, (width - sides[1]) // 2)
        rows, columns = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
        return rows, columns

    def most_pixels(self, window: tuple[slice, slice], image_size: tuple[int, int], native_pixels: int) -> int:
        """Network pixels that it is granted: 0 for the node's own choice, fewer where all things must look smaller."""
        if self.zoom >= 1:
            return 0
        share = np.prod([s.stop - s.start for s in window]) / np.prod(image_size)
        return round(native_pixels * share * self.zoom**2)


CAMERAS = (
    *(ImitatedCamera(zoom) for zoom in (0.7, 0.8, 1.0, 1.15, 1.3, 1.6)),
    *(ImitatedCamera(1.0, aspect) for aspect in ASPECTS if aspect != "4:3"),
    *(ImitatedCamera(1.3, aspect) for aspect in ASPECTS if aspect != "4:3"),
)


def pinhole(height: int, width: int, camera: Camera) -> Calibration:
    """Calibration of an undistorted image (height, width) whose optical axis meets its centre."""
    k = np.array([[camera.fx, 0, (width - 1) / 2], [0, camera.fy, (height - 1) / 2], [0, 0, 1]], np.float64)
    return Calibration(width, height, k, np.zeros(5), np.eye(3), np.zeros((3, 4)))


def depth_as_a_robot_sees_it(
    pipeline: CameraPipeline, image_rgb: np.ndarray, calibration: Calibration | None, most_pixels: int = 0
) -> tuple[np.ndarray, tuple[int, int]]:
    """Run the node's own path, from camera image to depth, without its range filter.

    Args:
        pipeline: One per camera.
        image_rgb: (H, W, 3) uint8.
        calibration: None for a camera that nobody calibrated: native number of pixels and no focal correction.
        most_pixels: The node's max_network_pixels.

    Returns:
        (H, W) float32 metres, and the network's size (h, w).
    """
    parameters = Parameters(max_range=1000.0, max_network_pixels=most_pixels)
    estimate = pipeline.estimate(image_rgb, calibration, False, parameters)
    size = (image_rgb.shape[0], image_rgb.shape[1])
    return resize_image(estimate.depth_m, size, "linear"), estimate.view.network_size


def compare(predicted_m: np.ndarray, truth_m: np.ndarray, known: np.ndarray) -> tuple[float, float]:
    """abs_rel and log bias, mean ln(predicted / true), over the known pixels; (H, W) metres and bool."""
    predicted, truth = predicted_m[known].astype(np.float64), truth_m[known].astype(np.float64)
    return float(np.mean(np.abs(predicted - truth) / truth)), float(np.mean(np.log(predicted / truth)))


class CameraTrial:
    """One imitated camera before one model, in four ways.

    ``native``: the whole image at native size, cut to what the camera sees. ``corrected``: what the node makes of the
    camera's images and calibration. ``uncorrected``: the same without a calibration. ``formula``: that times the focal
    ratio, which is the correction without the choice of the network's size.
    """

    def __init__(self, predictor: Predictor, imitated: ImitatedCamera, camera: Camera):
        training_px, focal_px = predictor.contract.training_focal_px, camera.focal_px
        if training_px is None or focal_px is None:
            raise ValueError("a focal length is unknown: give a model whose contract has training_fx and training_fy")
        self.imitated, self.camera = imitated, camera
        self._training_px, self._focal_px = training_px, focal_px
        self._native_pixels = predictor.contract.input.native_height * predictor.contract.input.native_width
        self._pipelines = {way: CameraPipeline(predictor) for way in ("corrected", "uncorrected")}

    def depth_maps(self, image_rgb: np.ndarray, native_m: np.ndarray) -> tuple[dict[str, np.ndarray], float]:
        """Depth of what the camera sees, by each of :data:`WAYS`.

        Args:
            image_rgb: (H, W, 3) uint8, the training camera's whole image.
            native_m: (H, W) metres, what the native network makes of it.

        Returns:
            Way to (h, w) metres, and the focal ratio that ``uncorrected`` lacks.
        """
        image_size = (image_rgb.shape[0], image_rgb.shape[1])
        window = self.imitated.window(*image_size)
        seen_rgb = np.ascontiguousarray(image_rgb[window])
        size = (seen_rgb.shape[0], seen_rgb.shape[1])
        most = self.imitated.most_pixels(window, image_size, self._native_pixels)
        calibration = pinhole(*size, self.camera)
        corrected_m, _ = depth_as_a_robot_sees_it(self._pipelines["corrected"], seen_rgb, calibration, most)
        plain_m, network_size = depth_as_a_robot_sees_it(self._pipelines["uncorrected"], seen_rgb, None, most)
        ratio = focal_ratio(self._focal_px, size, network_size, self._training_px)
        maps = (native_m[window], corrected_m, plain_m * np.float32(ratio), plain_m)
        return dict(zip(WAYS, maps, strict=True)), ratio


def measure(
    predictor: Predictor,
    cameras: Sequence[ImitatedCamera],
    pairs: Iterable[Pair],
    camera: Camera,
    protocol: Protocol = NYU_EIGEN,
) -> Iterator[dict[str, float | str]]:
    """Yield one row per pair and camera: abs_rel and log bias by each way, over the protocol's pixels that it sees.

    Args:
        predictor: With a training focal length in its contract.
        cameras: What to imitate.
        pairs: Of the training camera, at the protocol's size.
        camera: The training camera at that size.
        protocol: Crop, clip and mask.

    Raises:
        ValueError: A focal length is unknown, or a pair of another size.
    """
    native = CameraPipeline(predictor)
    trials = [CameraTrial(predictor, imitated, camera) for imitated in cameras]
    for pair in pairs:
        image_rgb, truth_m = read_pair(pair)
        height, width = truth_m.shape
        if (height, width) != (protocol.height, protocol.width):
            raise ValueError(
                f"{pair.depth} is {truth_m.shape} and must be {protocol.height, protocol.width}: resize it"
            )
        native_m, _ = depth_as_a_robot_sees_it(native, image_rgb, pinhole(height, width, camera))
        known = np.zeros_like(truth_m, bool)
        crop = (slice(*protocol.rows), slice(*protocol.columns))
        known[crop] = (truth_m[crop] > protocol.least_depth_m) & (truth_m[crop] < protocol.greatest_depth_m)
        for trial in trials:
            window = trial.imitated.window(height, width)
            if not known[window].any():
                continue
            maps_m, ratio = trial.depth_maps(image_rgb, native_m)
            row: dict[str, float | str] = {"image": pair.image.name, "camera": trial.imitated.name, "ratio": ratio}
            for way, depth_m in maps_m.items():
                clipped_m = np.clip(depth_m, protocol.least_depth_m, protocol.greatest_depth_m)
                row[f"abs_rel_{way}"], row[f"bias_{way}"] = compare(clipped_m, truth_m[window], known[window])
            yield row


def summarise_cameras(rows: pd.DataFrame, cameras: Sequence[ImitatedCamera]) -> list[dict]:
    """Mean over images for each camera, its abs_rel over the native network's, and whether that meets the target.

    Returns:
        One object per camera: ``camera``, ``zoom``, ``images``, ``ratio``, ``abs_rel_*`` and ``bias_*`` by way,
        ``over_native_*`` for the three ways that are not native, ``expected_bias`` (of ``uncorrected``, from the native
        network's bias and the ratio alone), ``target`` (null where none is set) and ``meets_target``.
    """
    results = []
    for imitated in cameras:
        seen = rows[rows["camera"] == imitated.name].drop(columns=["image", "camera"])
        result: dict = {"camera": imitated.name, "zoom": imitated.zoom, "images": len(seen)}
        result |= {str(name): float(value) for name, value in seen.mean().items()}
        for way in WAYS[1:]:
            result[f"over_native_{way}"] = result[f"abs_rel_{way}"] / result["abs_rel_native"]
        result["expected_bias"] = result["bias_native"] - math.log(result["ratio"])
        result["target"] = target(imitated.zoom)
        result["meets_target"] = (
            None if result["target"] is None else result["over_native_corrected"] <= result["target"]
        )
        results.append(result)
    return results


def target(zoom: float) -> float | None:
    """Greatest abs_rel over the native network's that is asked for at a zoom; None beyond all targets."""
    return next((most for most, low, high in TARGETS if low <= zoom <= high), None)
