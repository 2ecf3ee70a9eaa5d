"""A small data set in the layout of NYU Depth V2's CSV, and encoder weights without a download."""

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="depth_training needs the train extra")


@pytest.fixture(scope="session")
def pairs_csv(tmp_path_factory) -> Path:
    """Twelve 640x480 pairs of a bright box before a dark wall; two frames to a room, rooms apart by index."""
    folder = tmp_path_factory.mktemp("pairs")
    random = np.random.default_rng(0)
    lines = ["image,depth,nyu_index"]
    for number in range(12):
        wall_m, box_m = random.uniform(3, 6), random.uniform(1, 2.5)
        top, left = random.integers(60, 240), random.integers(60, 360)
        image = np.full((480, 640, 3), 60, np.uint8) + random.integers(0, 20, (480, 640, 3), dtype=np.uint8)
        depth_mm = np.full((480, 640), wall_m * 1000, np.uint16)
        image[top : top + 180, left : left + 200] = (40, 90, 220)
        depth_mm[top : top + 180, left : left + 200] = box_m * 1000
        cv2.imwrite(str(folder / f"{number:02}_rgb.jpg"), image)
        cv2.imwrite(str(folder / f"{number:02}_depth.png"), depth_mm)
        lines.append(f"{number:02}_rgb.jpg,{number:02}_depth.png,{number // 2 * 10 + number % 2}")
    csv = folder / "pairs.csv"
    csv.write_text("\n".join(lines) + "\n")
    return csv


@pytest.fixture(scope="session")
def encoder_weights(tmp_path_factory) -> Path:
    """Random MobileNetV2 weights under torchvision's names."""
    import torch
    import torchvision
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mobilenet_v2.safetensors"
    save_file(torchvision.models.mobilenet_v2(weights=None).state_dict(), path)
    return path
