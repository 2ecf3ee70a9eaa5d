"""How fast pairs become training batches, stage by stage, and against a loader on PIL and torchvision."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from depth_training.config import DataConfig
from depth_training.data.augmentation import ColourJitter, build_augmentation
from depth_training.data.dataset import TrainingPairs, canonical_factor, canonical_view, source_matrix
from depth_training.data.pair_cache import cache_files
from depth_training.data.pairs import MILLIMETRES_PER_METRE, Pair, read_bgr, read_mm


class PillowPairs(Dataset):
    """What most public depth loaders do: PIL reads, crops and resizes, torchvision augments.

    Draws the same random numbers as ``TrainingPairs``. Where the crop shrinks by a whole factor the tensors are the
    same bit by bit, with jitter within the levels of the hue; PIL's box filter weighs the pixels of other factors
    differently, at the same cost.
    """

    def __init__(self, pairs: Sequence[Pair], config: DataConfig):
        if config.rotation_deg or config.tilt_deg or config.zoom_least < 1 or config.border_shown:
            raise ValueError(
                "PIL cannot rotate the camera, look outside or show the border at times: set rotation_deg, tilt_deg "
                "and border_shown to 0, zoom_least to 1"
            )
        self.ours = TrainingPairs(pairs, config)
        steps = self.ours.augmentation.transforms
        self.augmentation = v2.Compose([_as_torchvision_has_it(step) for step in steps])

    def __len__(self) -> int:
        return len(self.ours)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor]:
        """Read, crop and augment one pair."""
        pair, config = self.ours.pairs[item], self.ours.config
        image: Image.Image = Image.open(pair.image).convert("RGB")
        depth: Image.Image = Image.open(pair.depth)
        k = source_matrix(pair, config, (image.height, image.width))
        camera = self.ours.draw_camera(k, (image.height, image.width), config.border)
        top, left, height, width = camera.window
        box, size = (left, top, left + width, top + height), (config.width, config.height)
        factor = width // size[0]
        if (width, height) == (factor * size[0], factor * size[1]):
            image = image.reduce(factor, box)
        else:
            image = image.resize(size, Image.Resampling.BOX, box)
        depth = depth.crop(box).resize(size, Image.Resampling.NEAREST)
        depth_m = torch.from_numpy(np.asarray(depth, np.float32) / np.float32(MILLIMETRES_PER_METRE))[None]
        depth_m *= canonical_factor(camera.matrix(k), config)
        pixels, depth_m = self.augmentation(tv_tensors.Image(F.pil_to_tensor(image)), tv_tensors.Mask(depth_m))
        return pixels.as_subclass(Tensor).contiguous(), self.ours.dequantise(depth_m.as_subclass(Tensor))


def _as_torchvision_has_it(step: v2.Transform) -> v2.Transform:
    if isinstance(step, ColourJitter):
        return v2.ColorJitter(step.brightness, step.contrast, step.saturation, step.hue)
    return step


def forget(pairs: Iterable[Pair], cache: str = "") -> None:
    """Ask the system to drop the pairs' files from its memory, so that the next read comes from the disk.

    Args:
        pairs: Whose files.
        cache: Folder of their decoded ones, to be dropped as well; empty for none.
    """
    for path in itertools.chain.from_iterable(
        (pair.image, pair.depth, *(cache_files(pair, Path(cache)) if cache else ())) for pair in pairs
    ):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def stage_rates(pairs: Sequence[Pair], config: DataConfig, batch_size: int) -> dict[str, float]:
    """Images per second of processor time of each stage, on one thread: other programs do not count.

    Returns:
        Stage name to images per second, in the order of the stages, and ``all`` of them one after the other.
    """
    dataset, augmentation = TrainingPairs(pairs, config), build_augmentation(config)
    seconds = dict.fromkeys(("read image", "read depth", "crop", "augment", "collate"), 0.0)

    def timed(stage: str, work: Callable, *arguments):
        start = time.thread_time()
        result = work(*arguments)
        seconds[stage] += time.thread_time() - start
        return result

    def crop(image_bgr: np.ndarray, depth_mm: np.ndarray, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        k = source_matrix(pair, config, depth_mm.shape)
        camera = dataset.draw_camera(k, depth_mm.shape, config.border)
        return canonical_view(image_bgr, depth_mm, k, camera, config, config.border)

    def augment(image_rgb: np.ndarray, depth_m: np.ndarray) -> tuple[Tensor, Tensor]:
        image = tv_tensors.Image(torch.from_numpy(image_rgb).permute(2, 0, 1))
        image, depth = augmentation(image, tv_tensors.Mask(torch.from_numpy(depth_m)[None]))
        return image.as_subclass(Tensor).contiguous(), dataset.dequantise(depth.as_subclass(Tensor))

    batch: list[tuple[Tensor, Tensor]] = []
    for pair in pairs:
        image_bgr = timed("read image", read_bgr, pair.image)
        depth_mm = timed("read depth", read_mm, pair.depth)
        batch.append(timed("augment", augment, *timed("crop", crop, image_bgr, depth_mm, pair)))
        if len(batch) == batch_size or pair is pairs[-1]:
            timed("collate", default_collate, batch)
            batch = []
    return {**{name: len(pairs) / spent for name, spent in seconds.items()}, "all": len(pairs) / sum(seconds.values())}


def loader_rate(dataset: Dataset, count: int, batch_size: int, workers: int) -> float:
    """Images per second of a whole loader, its workers' start not counted."""
    loader = DataLoader(dataset, batch_size, num_workers=workers, worker_init_fn=_one_thread)
    batches = iter(loader)
    warm = workers * loader.prefetch_factor if loader.prefetch_factor else 0
    if count <= (warm + 1) * batch_size:
        raise ValueError(
            f"{count} images are too few to time {workers} workers with batches of {batch_size}: give more pairs, "
            "fewer --workers or a smaller --batch-size"
        )
    # Batches made while the workers start would count for nothing spent.
    for _ in range(warm + 1):
        next(batches)
    start = time.perf_counter()
    left = sum(len(image) for image, _ in batches)
    return left / (time.perf_counter() - start)


def _one_thread(worker: int) -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def greatest_difference(pairs: Sequence[Pair], config: DataConfig, seed: int = 0) -> tuple[int, float]:
    """Greatest difference between the two loaders' tensors: image levels, and depth as a share of it."""
    image_levels, depth_share = 0, 0.0
    for item in range(len(pairs)):
        results = []
        for dataset in (TrainingPairs(pairs, config), PillowPairs(pairs, config)):
            torch.manual_seed(seed + item)
            results.append(dataset[item])
        (image, depth_m), (other_image, other_m) = results
        image_levels = max(image_levels, int((image.int() - other_image.int()).abs().max()))
        depth_share = max(depth_share, float(((depth_m - other_m).abs() / other_m.clamp(min=1e-3)).max()))
    return image_levels, depth_share
