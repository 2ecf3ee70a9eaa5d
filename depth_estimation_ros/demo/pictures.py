"""The demo's pictures."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from depth_estimation_ros.demo.summary import relative_error, truth_at

ERROR_SCALE = 0.5  # the colour bar's end: half the true distance
VIEW_WIDTH_PX, VIEW_HEIGHT_PX = 960, 720
NEAREST_SHOWN_M = 0.3


def _scale_m(*depths_m: np.ndarray | None) -> tuple[float, float]:
    """Return the ends of a common metre scale: what lies between the first and the last hundredth of all values."""
    known = np.concatenate([d[np.isfinite(d)] for d in depths_m if d is not None])
    least, greatest = np.quantile(known, [0.01, 0.99]) if known.size else (0.0, 10.0)
    return float(least), max(float(greatest), float(least) + 0.1)


def _panel(figure: Figure, axes: Axes, values: np.ndarray, title: str, unit: str, limits: tuple, colours: str) -> None:
    colour_map = mpl.colormaps[colours].with_extremes(bad="0.6")
    shown = axes.imshow(np.ma.masked_invalid(values), cmap=colour_map, vmin=limits[0], vmax=limits[1])
    axes.set_title(title, fontsize=10)
    figure.colorbar(shown, ax=axes, fraction=0.036, pad=0.02, label=unit, extend="both")


def save_depth_picture(
    path: Path, image_rgb: np.ndarray, depth_m: np.ndarray, truth_m: np.ndarray | None, title: str
) -> None:
    """Save the input beside its depth in colour with a metre scale, and beside truth and error where it is known.

    Args:
        path: The file to write, .png.
        image_rgb: (H, W, 3) uint8.
        depth_m: (h, w) float32 metres, not finite where unknown (grey).
        truth_m: (H, W) float32 metres, NaN for unknown, or None.
        title: Stands over the whole.
    """
    rows = 1 if truth_m is None else 2
    figure = Figure(figsize=(11.0, 4.2 * rows), dpi=110, layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False)
    truth = None if truth_m is None else truth_at(truth_m, depth_m.shape)
    limits = _scale_m(depth_m, truth)
    axes[0, 0].imshow(image_rgb)
    axes[0, 0].set_title("camera image", fontsize=10)
    _panel(figure, axes[0, 1], depth_m, f"depth, {depth_m.shape[1]}x{depth_m.shape[0]}", "m", limits, "turbo")
    if truth is not None and truth_m is not None:
        error = relative_error(depth_m, truth_m)
        _panel(figure, axes[1, 0], truth, "true depth, same scale", "m", limits, "turbo")
        heading = f"relative error, median {100.0 * np.nanmedian(error):.1f} %" if np.isfinite(error).any() else "error"
        _panel(figure, axes[1, 1], 100.0 * error, heading, "%", (0.0, 100.0 * ERROR_SCALE), "magma")
    for one in axes.flat:
        one.set_axis_off()
    figure.suptitle(title, fontsize=11)
    figure.savefig(path)


def view_points(points_m: np.ndarray, back_m: float, turn_rad: float, pitch_rad: float) -> np.ndarray:
    """Return points (N, 3) as a camera sees them that has gone round the cloud's middle, and back by `back_m`.

    Args:
        points_m: (N, 3) finite points in the optical frame (x right, y down, z forward).
        back_m: How much farther from the middle the new camera stands.
        turn_rad: By how much it has gone to the right round the vertical through the middle.
        pitch_rad: By how much it has risen and looks down.
    """
    pivot = np.median(points_m, axis=0)
    ct, st, cp, sp = np.cos(turn_rad), np.sin(turn_rad), np.cos(pitch_rad), np.sin(pitch_rad)
    turn = np.array([[ct, 0.0, st], [0.0, 1.0, 0.0], [-st, 0.0, ct]])
    pitch = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    return (points_m - pivot) @ (pitch @ turn).T + np.array([0.0, 0.0, pivot[2] + back_m])


def save_cloud_picture(path: Path, points_m: np.ndarray, rgb: np.ndarray, title: str) -> None:
    """Save the coloured cloud as seen from a viewpoint beside and above the camera, in perspective.

    Args:
        path: The file to write, .png.
        points_m: (H, W, 3) float32 in the optical frame, NaN for no point.
        rgb: (H, W, 3) uint8.
        title: Stands over it.
    """
    known = np.isfinite(points_m).all(axis=-1)
    points, colours = points_m[known].astype(np.float64), rgb[known]
    # A point stands for its pixel: as wide as the pixel's cone is where the point was seen.
    cone = np.nanmedian(np.abs(np.diff(points_m[..., 0] / points_m[..., 2], axis=1)))
    width_m = 1.5 * cone * points[:, 2]
    seen = view_points(points, back_m=1.0, turn_rad=np.radians(24), pitch_rad=np.radians(18))
    far_first = np.argsort(-seen[:, 2])
    far_first = far_first[seen[far_first, 2] > NEAREST_SHOWN_M]
    seen, colours, width_m = seen[far_first], colours[far_first], width_m[far_first]
    focal_px = 0.85 * VIEW_WIDTH_PX
    u, v = focal_px * seen[:, 0] / seen[:, 2], focal_px * seen[:, 1] / seen[:, 2]
    figure = Figure(figsize=(VIEW_WIDTH_PX / 100, VIEW_HEIGHT_PX / 100), dpi=100, facecolor="0.12")
    axes = figure.add_axes((0.0, 0.0, 1.0, 0.94))
    axes.set(xlim=(-VIEW_WIDTH_PX / 2, VIEW_WIDTH_PX / 2), ylim=(VIEW_HEIGHT_PX / 2, -VIEW_HEIGHT_PX / 2))
    axes.set_axis_off()
    edge_pt = focal_px * width_m / seen[:, 2] * 72 / 100
    axes.scatter(u, v, s=edge_pt**2, c=colours / 255.0, marker="s", linewidths=0)
    figure.suptitle(f"{title}, the point cloud from beside and above", color="0.9", fontsize=11)
    figure.savefig(path, facecolor=figure.get_facecolor())
