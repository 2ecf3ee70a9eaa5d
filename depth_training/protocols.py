"""The named protocols under which depth is judged: what is seen, compared, clipped and averaged, as each was published.

``nyu-eigen``
    This project's. The whole image at 480x640, Eigen crop (rows 45:471, columns 41:601), truth in (0.001, 10) m,
    predictions clipped to it, per image and then averaged. No alignment, no flip averaging, single scale.
``bts``
    Lee et al., "From Big to Small" (2019), as its repository's ``eval_with_pngs.py`` and ``online_eval`` have it. The
    numbers of ``nyu-eigen``, but what is seen is black outside rows 7:474 and columns 7:632, and the truth is raw depth
    with holes (``prepare --raw-depth``): filled truth gives other figures.
``densedepth``
    Alhashim and Wonka, "High Quality Monocular Depth Estimation via Transfer Learning" (2018), its table for NYU Depth
    V2. Rows 20:460, columns 24:616, filled truth without bounds, predictions clipped to 0.1 to 10 m and then averaged
    with that of the mirrored image. No median or other scaling (its paper scales on KITTI only). Per image and then
    averaged: so the published .123 / .465 were made. Since August 2019 its ``evaluate`` pools all pixels (``--reduce
    pooled``) and divides abs_rel by the prediction: .127 / .549 for the same network (its issue 98). The latter is a
    slip of two arguments and not imitated.
``fastdepth``
    Wofk et al., "FastDepth" (2019), as its ``dataloaders/nyu.py`` and ``metrics.py`` have it. Image and truth are
    sampled (nearest pixel) to 250x333, cropped to 228x304 in the middle and sampled again to 224x224: 50,176 pixels of
    rows 22:458 and columns 27:611. A model is shown that crop and no more, at the camera's own aspect ratio. All
    known truth counts, predictions are not clipped (but kept in 0.001 to 1000 m, for their logarithm). Per image.
``whole-image``
    For pairs of one's own camera, of any size: no crop, else as ``nyu-eigen``.

A prediction that is unknown (NaN, 0) counts as the least depth that the protocol admits; it is not left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

REDUCTIONS = ("image", "pooled")

Span = tuple[int, int | None]
"""First and one past the last row or column; None for all that follow."""


class ProtocolError(ValueError):
    """A protocol that does not exist, or does not fit; the message says which do."""


@dataclass(frozen=True)
class Protocol:
    """Where and how prediction and truth are compared.

    Attributes:
        name: What tables call it.
        height: Size at which they are compared, pixels; None for the truth's own.
        width: Likewise.
        rows: First and one past the last row compared.
        columns: Likewise.
        least_depth_m: Truth at or below it is left out.
        greatest_depth_m: Truth at or above it is left out.
        clip_m: What predictions are clipped to; None for the bounds of the truth.
        flip_average: Average with the prediction for the mirrored image.
        sampled: The rows and the columns compared, one by one, where they are not all of ``rows`` and ``columns``.
        black_outside: Rows and columns outside which the image is black.
        sees_crop_only: A model is shown ``rows`` and ``columns`` alone.
        remark: What a reader of figures must know besides.
    """

    name: str
    height: int | None
    width: int | None
    rows: Span
    columns: Span
    least_depth_m: float
    greatest_depth_m: float
    clip_m: tuple[float, float] | None = None
    flip_average: bool = False
    sampled: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    black_outside: tuple[Span, Span] | None = None
    sees_crop_only: bool = False
    remark: str = ""

    @property
    def bounds_m(self) -> tuple[float, float]:
        """Least and greatest depth that a prediction can count as."""
        return self.clip_m or (self.least_depth_m, self.greatest_depth_m)

    @property
    def crop(self) -> tuple[slice, slice]:
        """``rows`` and ``columns`` as an index."""
        return slice(*self.rows), slice(*self.columns)

    def fits(self, height: int, width: int) -> bool:
        """Whether planes of this size can be compared as they are."""
        return self.height is None or (height, width) == (self.height, self.width)

    def compared(self, plane: Any) -> Any:
        """The pixels compared of a plane (…, H, W), array or tensor: (…, h, w)."""
        if self.sampled is None:
            return plane[(..., *self.crop)]
        rows, columns = (np.array(places) for places in self.sampled)
        return plane[..., rows[:, np.newaxis], columns]

    def known(self, truth_m: Any) -> Any:
        """Where the truth (any shape, metres) counts."""
        return (truth_m > self.least_depth_m) & (truth_m < self.greatest_depth_m)

    def describe(self, reduce: str = "image") -> str:
        """Say the protocol in one line, for reports and model files."""
        size = "native size" if self.height is None else f"{self.height}x{self.width}"
        if self.sampled is not None:
            size += f", nearest {len(self.sampled[0])}x{len(self.sampled[1])} pixels of"
        crop = "" if self.rows == (0, None) else f" rows {_span(self.rows)}, columns {_span(self.columns)},"
        crop = crop if self.sampled is not None or not crop else f",{crop}"
        truth = f"truth in ({self.least_depth_m}, {self.greatest_depth_m}) m"
        if self.greatest_depth_m == math.inf:
            truth = f"truth above {self.least_depth_m:g} m"
        clip = "to it" if self.clip_m is None else f"to {self.clip_m[0]:g} to {self.clip_m[1]:g} m"
        mean = "per image then mean" if reduce == "image" else "all pixels pooled"
        flip = "averaged with the mirrored image's" if self.flip_average else "no flip averaging"
        line = f"{self.name}: {size}{crop or ','} {truth}, predictions clipped {clip}, {mean}, no alignment, {flip}"
        return f"{line}, single scale{'; ' + self.remark if self.remark else ''}"


def _span(span: Span) -> str:
    return f"{span[0]}:{'' if span[1] is None else span[1]}"


def nearest(size: int, wanted: int) -> np.ndarray:
    """Which of ``size`` pixels PIL's nearest-pixel resize to ``wanted`` takes: (wanted,) int."""
    step = size / wanted
    # PIL adds steps up one by one, which decides where a place falls between two pixels.
    return np.floor(np.cumsum([step / 2] + [step] * (wanted - 1))).astype(int)


def _fastdepth_places(size: int, resized: int, cropped: int, sampled: int) -> tuple[int, ...]:
    first = round((resized - cropped) / 2)
    kept = nearest(size, resized)[first : first + cropped]
    return tuple(kept[nearest(cropped, sampled)].tolist())


_FASTDEPTH = _fastdepth_places(480, 250, 228, 224), _fastdepth_places(640, 333, 304, 224)

NYU_EIGEN = Protocol("nyu-eigen", 480, 640, (45, 471), (41, 601), 1e-3, 10.0)
PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        NYU_EIGEN,
        Protocol(
            "bts",
            480,
            640,
            (45, 471),
            (41, 601),
            1e-3,
            10.0,
            black_outside=((7, 474), (7, 632)),
            remark="image black outside rows 7:474, columns 7:632; published on raw depth with holes",
        ),
        Protocol(
            "densedepth",
            480,
            640,
            (20, 460),
            (24, 616),
            0.0,
            math.inf,
            clip_m=(0.1, 10.0),
            flip_average=True,
            remark="published on filled depth, per image",
        ),
        Protocol(
            "fastdepth",
            480,
            640,
            (_FASTDEPTH[0][0], _FASTDEPTH[0][-1] + 1),
            (_FASTDEPTH[1][0], _FASTDEPTH[1][-1] + 1),
            0.0,
            math.inf,
            clip_m=(1e-3, 1e3),
            sampled=_FASTDEPTH,
            sees_crop_only=True,
            remark="a model sees that crop alone",
        ),
        Protocol("whole-image", None, None, (0, None), (0, None), 1e-3, 10.0),
    )
}


def validation_protocol(height: int, width: int, is_training_camera: bool = True) -> Protocol:
    """Choose what training validates by: ``nyu-eigen`` at its own size, else ``whole-image``, which has no crop.

    Args:
        height: Of the images of the training camera, pixels.
        width: Likewise.
        is_training_camera: Whether it took the images. Others are seen in its place, and no figure of theirs is one of
            ``nyu-eigen``.
    """
    if not is_training_camera:
        remark = "the middle of images of another camera, in metres of the training camera's terms"
        return replace(PROTOCOLS["whole-image"], remark=remark)
    return NYU_EIGEN if NYU_EIGEN.fits(height, width) else PROTOCOLS["whole-image"]


def named_protocol(name: str) -> Protocol:
    """Find a protocol.

    Raises:
        ProtocolError: There is none of that name.
    """
    if name not in PROTOCOLS:
        raise ProtocolError(f"unknown protocol {name!r}: choose {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
