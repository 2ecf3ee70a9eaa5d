"""Reading pairs, splitting them without leaks, and the paper's augmentations."""

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from depth_training.config import DataConfig  # noqa: E402
from depth_training.data.augmentation import ColourJitter, MeanGrayscale, shift_hue  # noqa: E402
from depth_training.data.dataset import FullPairs, TrainingPairs  # noqa: E402
from depth_training.data.intrinsics import Intrinsics  # noqa: E402
from depth_training.data.pairs import Pair, PairsError, read_depth, read_pair, read_pairs  # noqa: E402
from depth_training.data.splits import (  # noqa: E402
    consecutive_blocks,
    refuse_overlap,
    split_pairs,
    training_and_validation_pairs,
)


def pairs_at(indices) -> list[Pair]:
    return [Pair(Path(f"{index}.jpg"), Path(f"{index}.png"), index) for index in indices]


@given(st.lists(st.integers(0, 400), unique=True, min_size=4, max_size=120), st.integers(0, 5))
def test_no_run_of_consecutive_indices_is_on_both_sides(indices, seed):
    try:
        training, validation = split_pairs(pairs_at(indices), "blocks", 0.3, seed)
    except PairsError:
        assert len(consecutive_blocks(pairs_at(indices))) == 1 or len(indices) < 8
        return
    sides = [{pair.index for pair in side} for side in (training, validation)]
    assert sides[0] | sides[1] == set(indices)
    assert not any({index - 1, index, index + 1} & sides[1] for index in sides[0])


def test_the_same_seed_splits_alike_and_another_does_not():
    pairs = pairs_at(range(0, 300, 2))
    assert split_pairs(pairs, "blocks", 0.2, 1) == split_pairs(pairs, "blocks", 0.2, 1)
    assert split_pairs(pairs, "blocks", 0.2, 1) != split_pairs(pairs, "blocks", 0.2, 2)


def test_frames_split_has_the_asked_share():
    training, validation = split_pairs(pairs_at(range(100)), "frames", 0.2, 0)
    assert (len(training), len(validation)) == (80, 20)


def test_pairs_are_held_apart_by_a_file_of_their_own_or_by_a_share(tmp_path):
    for name, rows in (("a.csv", 10), ("b.csv", 3)):
        lines = [f"{name}{row}.jpg,{name}{row}.png" for row in range(rows)]
        (tmp_path / name).write_text("image,depth\n" + "\n".join(lines) + "\n")
    config = DataConfig(pairs=str(tmp_path / "a.csv"), split="frames", validation_share=0.2)
    assert [len(side) for side in training_and_validation_pairs(config, 0)] == [8, 2]
    config.validation_pairs = str(tmp_path / "b.csv")
    training, validation = training_and_validation_pairs(config, 0)
    assert training == read_pairs(tmp_path / "a.csv")
    assert validation == read_pairs(tmp_path / "b.csv")


def test_to_judge_by_what_is_trained_on_is_refused(tmp_path):
    first, second = pairs_at([1, 2]), pairs_at([2, 3])
    refuse_overlap(first, pairs_at([3, 4]))
    with pytest.raises(PairsError, match="1 of 2 images to judge by are trained on"):
        refuse_overlap(first, second)


def test_an_unknown_split_or_an_empty_side_is_refused():
    with pytest.raises(PairsError, match="blocks or frames"):
        split_pairs(pairs_at(range(9)), "rooms", 0.2, 0)
    with pytest.raises(PairsError, match="0 for training"):
        split_pairs(pairs_at(range(9)), "blocks", 0.2, 0)


def test_a_scene_is_never_on_both_sides_however_its_indices_lie():
    pairs = [Pair(f"{i}.jpg", f"{i}.png", i, scene=f"room_{i % 6}") for i in range(60)]
    training, validation = split_pairs(pairs, "blocks", 0.3, 0)
    assert len(training) + len(validation) == 60
    assert not {pair.scene for pair in training} & {pair.scene for pair in validation}


@pytest.fixture
def pair(tmp_path) -> Pair:
    image_rgb = np.zeros((480, 640, 3), np.uint8)
    image_rgb[..., 0] = 200
    cv2.imwrite(str(tmp_path / "a.png"), cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(tmp_path / "d.png"), np.full((480, 640), 2345, np.uint16))
    return Pair(tmp_path / "a.png", tmp_path / "d.png", 0)


def test_images_are_rgb_and_depth_is_metres(pair):
    image_rgb, depth_m = read_pair(pair)
    assert image_rgb[0, 0].tolist() == [200, 0, 0]
    assert depth_m.dtype == np.float32
    assert np.unique(depth_m) == pytest.approx(2.345)


def test_wrong_files_are_refused_with_the_reason(pair, tmp_path):
    cv2.imwrite(str(tmp_path / "small.png"), np.full((240, 320), 2345, np.uint16))
    cv2.imwrite(str(tmp_path / "eight.png"), np.full((480, 640), 100, np.uint8))
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(PairsError, match="register"):
        read_pair(Pair(pair.image, tmp_path / "small.png", 0))
    with pytest.raises(PairsError, match=r"uint8.*16-bit"):
        read_depth(tmp_path / "eight.png")
    with pytest.raises(PairsError, match="cannot be read"):
        read_depth(tmp_path / "text.png")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("image,truth\na,b\n", "lacks the column depth"), ("image,depth\n", "no pairs"), ("", "not a CSV table")],
)
def test_a_wrong_csv_is_refused_with_the_reason(tmp_path, text, reason):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(PairsError, match=reason):
        read_pairs(tmp_path / "pairs.csv")


def test_csv_paths_are_relative_to_the_csv(tmp_path):
    (tmp_path / "pairs.csv").write_text("image,depth,nyu_index\nx/a.jpg,x/a.png,17\n")
    assert read_pairs(tmp_path / "pairs.csv") == [Pair(tmp_path / "x/a.jpg", tmp_path / "x/a.png", 17)]


def test_csv_names_scenes_and_cameras_where_they_are_known(tmp_path):
    rows = "image,depth,index,scene,fx,fy,cx,cy\na.jpg,a.png,4,hall,500,510,320.5,\nb.jpg,b.png,9,,,,,\n"
    (tmp_path / "pairs.csv").write_text(rows + "c.jpg,c.png,11,hall,600,,,\n")
    first, second, third = read_pairs(tmp_path / "pairs.csv")
    assert (first.index, first.scene, first.intrinsics) == (4, "hall", Intrinsics(500, 510, 320.5, None))
    assert (second.index, second.scene, second.intrinsics) == (9, "", None)
    assert third.intrinsics == Intrinsics(600, 600)
    assert first.intrinsics.matrix((480, 640)).tolist() == [[500, 0, 320.5], [0, 510, 239.5], [0, 0, 1]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("image,depth,fx\na.jpg,a.png,wide\n", "fx 'wide' in row 1"),
        ("image,depth,fx\na.jpg,a.png,-500\n", "fx -500"),
        ("image,depth,index\na.jpg,a.png,1\nb.jpg,b.png,\n", "leaves index empty"),
        ("image,depth\na.jpg,a.png\nb.jpg,\n", "no depth in row 2"),
    ],
)
def test_a_wrong_value_in_a_csv_is_named_with_its_row(tmp_path, text, reason):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(PairsError, match=reason):
        read_pairs(tmp_path / "pairs.csv")


def test_image_and_depth_flip_together(tmp_path):
    ramp = np.tile(np.arange(640, dtype=np.uint16), (480, 1))
    cv2.imwrite(str(tmp_path / "a.png"), cv2.merge([(ramp * 255 // 639).astype(np.uint8)] * 3))
    cv2.imwrite(str(tmp_path / "d.png"), 1000 + ramp * 5)
    pair = Pair(tmp_path / "a.png", tmp_path / "d.png", 0)
    for flip in (0.0, 1.0):
        image, depth_m = TrainingPairs([pair], DataConfig(flip=flip, channel_swap=0))[0]
        grows = [bool((values[..., -1] > values[..., 0]).all()) for values in (image.float(), depth_m)]
        assert grows == [flip == 0.0] * 2


def test_grayscale_is_the_mean_of_the_channels_and_spares_the_depth():
    from torchvision import tv_tensors

    image = tv_tensors.Image(torch.tensor([30, 60, 120], dtype=torch.uint8).view(3, 1, 1).expand(3, 2, 2))
    depth = tv_tensors.Mask(torch.full((1, 2, 2), 1.5))
    gray, same = MeanGrayscale()(image, depth)
    assert gray.unique().tolist() == [70]
    assert torch.equal(same, depth)


@pytest.mark.parametrize("turns", [-0.5, -0.07, 0.0, 0.025, 0.4])
def test_the_hue_is_torchvision_s_within_one_level(turns):
    from torchvision.transforms.v2 import functional as F

    image = torch.randint(0, 256, (3, 60, 80), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    image[:, :4] = torch.tensor([0, 128, 255, 7], dtype=torch.uint8)[:, None]  # greys have no hue
    expected, actual = F.adjust_hue(image, turns).int(), shift_hue(image, turns).int()
    assert (expected - actual).abs().max() <= 1
    assert (expected == actual).float().mean() > 0.99


def test_colour_jitter_draws_and_does_what_torchvision_s_does():
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    torch.manual_seed(0)
    image = tv_tensors.Image(torch.randint(0, 256, (3, 32, 40), dtype=torch.uint8))
    depth = tv_tensors.Mask(torch.rand(1, 32, 40))
    for seed in range(8):
        results = []
        for kind in (v2.ColorJitter, ColourJitter):
            torch.manual_seed(seed)
            results.append(kind(0.3, 0.3, 0.3, 0.05)(image, depth))
        (expected, _), (actual, same) = results
        difference = (expected.int() - actual.int()).abs()
        # One level of the hue, which brightness, contrast and saturation after it widen by up to 1.3 each.
        assert difference.max() <= 1.3**3 + 1
        assert difference.float().mean() < 0.5
        assert isinstance(actual, tv_tensors.Image)
        assert torch.equal(same, depth)


def test_validation_images_are_whole_and_native(pair):
    image, depth_m = FullPairs([pair], DataConfig())[0]
    assert tuple(image.shape) == (3, 240, 320)
    assert tuple(depth_m.shape) == (1, 480, 640)
