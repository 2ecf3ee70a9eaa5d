"""Which camera took an image: by option, by a CSV file, or by an assumed field of view."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from depth_estimation_ros.rectification import focal_of_view
from depth_training.data.intrinsics import Intrinsics
from depth_training.data.pairs import read_intrinsics, read_table
from depth_training.prediction.inputs import InputError


@dataclass(frozen=True)
class GivenCameras:
    """What is known of the cameras, the most exact first.

    Attributes:
        by_name: Intrinsics by the image's file name; None where the CSV file lists it without a focal length.
        common: Of all other images.
        hfov_deg: Horizontal field of view of what is left; None where nobody says it.
    """

    by_name: Mapping[str, Intrinsics | None] = field(default_factory=dict)
    common: Intrinsics | None = None
    hfov_deg: float | None = None

    def of_image(self, name: str, image_size: tuple[int, int]) -> Intrinsics | None:
        """The camera of an image of (H, W) pixels; None where nothing is known."""
        known = self.by_name.get(name) or self.common
        if known is not None or self.hfov_deg is None:
            return known
        focal_px = focal_of_view(image_size[1], self.hfov_deg)
        return Intrinsics(focal_px, focal_px)

    def are_of_sensor_rows(self, name: str) -> bool:
        """Whether what is given of an image holds for it as it is stored, not turned upright as its EXIF says.

        So it is for the pairs of a CSV file, whose depth is not turned either, and for a principal point.
        """
        return name in self.by_name or (self.common is not None and (self.common.cx, self.common.cy) != (None, None))


def given_cameras(
    fx: float | None,
    fy: float | None,
    cx: float | None,
    cy: float | None,
    csv: Path | None = None,
    hfov_deg: float | None = None,
) -> GivenCameras:
    """Read the options.

    Args:
        fx: Focal length in pixels at the images' size.
        fy: Likewise, vertical; ``fx`` by default.
        cx: Principal point; the middle by default.
        cy: Likewise.
        csv: With the columns ``image, fx`` and, where known, ``fy, cx, cy``, such as `prepare` writes.
        hfov_deg: Of cameras that are not known otherwise.

    Raises:
        InputError: Values that no camera has, a part without ``fx``, or a CSV file without it.
        PairsError: A CSV file that cannot be used.
    """
    if fx is None and any(value is not None for value in (fy, cx, cy)):
        raise InputError("--fy, --cx and --cy say nothing without --fx: give it too")
    fy = fx if fy is None else fy
    if fx is not None and fy is not None and not (0 < fx < math.inf and 0 < fy < math.inf):
        raise InputError(f"--fx {fx:g} --fy {fy:g}: focal lengths are pixels above zero")
    if hfov_deg is not None and not 0 < hfov_deg < 180:
        raise InputError(f"--hfov {hfov_deg:g}: a horizontal field of view lies between 0 and 180 degrees")
    by_name: dict[str, Intrinsics | None] = {}
    if csv is not None:
        table = read_table(csv, ("image",))
        if "fx" not in table.columns:
            raise InputError(f"{csv} lacks the column fx: name focal lengths in pixels in it, or give --fx")
        cameras = zip(table["image"], read_intrinsics(table, csv), strict=True)
        for image, camera in cameras:
            name = Path(image).name
            if by_name.setdefault(name, camera) != camera:
                raise InputError(
                    f"{csv} gives two images called {name} different focal lengths, and images are told by their "
                    "names: give each folder's images a file of their own"
                )
    common = None if fx is None or fy is None else Intrinsics(fx, fy, cx, cy)
    return GivenCameras(by_name, common, hfov_deg)
