"""What every reader hands over, whatever the layout it reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from depth_training.data.intrinsics import Intrinsics


def nyu_scene(folder: str) -> str:
    """The room that a folder of NYU Depth V2 shows: ``kitchen_0028a`` and ``kitchen_0028b_out`` are ``kitchen_0028``.

    The letters number recordings of one room; a split that takes them for rooms has it on both sides.
    """
    return re.sub(r"(_\d{4})[a-z]?(_out)?$", r"\1", folder)


@dataclass(frozen=True, eq=False)
class Frame:
    """One image with its depth.

    Attributes:
        image_rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32 metres, 0 unknown.
        intrinsics: Of the camera at this size; None where unknown.
        encoded: The image's own file, as (suffix, bytes), where there is one that holds exactly these pixels.
    """

    image_rgb: np.ndarray
    depth_m: np.ndarray
    intrinsics: Intrinsics | None = None
    encoded: tuple[str, bytes] | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """A pair that is about to be read.

    Attributes:
        name: What messages call it.
        index: Place in the recording.
        scene: Room or recording; empty where unknown.
        read: Reads the frame; raises PairsError, with the reason, where this pair alone cannot be used.
    """

    name: str
    index: int
    scene: str
    read: Callable[[], Frame]


@dataclass(frozen=True, eq=False)
class Source:
    """Pairs in their order, read one at a time.

    Attributes:
        count: How many there are.
        samples: To be gone through once.
    """

    count: int
    samples: Iterator[Sample]
