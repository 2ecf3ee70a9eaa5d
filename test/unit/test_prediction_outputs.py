"""What `predict` reads, which camera it takes, and what it writes: read back by other means."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="depth_training needs the train extra")

from PIL import Image

from depth_estimation_ros.depth_colour import depth_to_rgb
from depth_estimation_ros.millimetres import depth_to_millimetres
from depth_training.data.intrinsics import Intrinsics
from depth_training.prediction.cameras import given_cameras
from depth_training.prediction.inputs import InputError, list_inputs, read_photo, read_video
from depth_training.prediction.outputs import (
    colour_picture,
    legend,
    parse_kinds,
    write_outputs,
)

SIZE = (48, 64)
POINT = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)])


@pytest.fixture
def image_rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.fixture
def depth_m() -> np.ndarray:
    return np.random.default_rng(1).uniform(0.5, 9, SIZE).astype(np.float32)


def test_all_files_hold_what_they_say(tmp_path, image_rgb, depth_m):
    k = np.array([[50.0, 0, 31], [0, 52, 22], [0, 0, 1]])
    written = write_outputs(("colour", "png", "npy", "ply"), tmp_path / "a", image_rgb, depth_m, k, 10.0)
    assert [path.name for path in written] == ["a_colour.png", "a_depth.png", "a_depth.npy", "a_points.ply"]
    with Image.open(written[1]) as png:
        stored = np.asarray(png)
        assert png.mode == "I;16"
    assert np.abs(stored - 1000 * depth_m).max() <= 0.5 + 1e-3
    np.testing.assert_array_equal(np.load(written[2]), depth_m)
    header, _, body = written[3].read_bytes().partition(b"end_header\n")
    assert b"format binary_little_endian 1.0" in header
    points = np.frombuffer(body, POINT)
    assert len(points) == depth_m.size
    assert np.array_equal(points["rgb"], image_rgb.reshape(-1, 3))
    projected = points["xyz"] @ k.T
    rows, columns = np.indices(SIZE).reshape(2, -1)
    np.testing.assert_allclose(projected[:, :2] / projected[:, 2:], np.stack([columns, rows], axis=1), atol=1e-3)
    np.testing.assert_allclose(points["xyz"][:, 2], depth_m.ravel())
    with Image.open(written[0]) as picture:
        coloured = np.asarray(picture)
    assert np.array_equal(coloured[:, :64], depth_to_rgb(depth_m, 0.0, 10.0))


def test_a_stride_thins_the_cloud_and_keeps_colours_with_their_points(tmp_path, image_rgb, depth_m):
    [path] = write_outputs(("ply",), tmp_path / "a", image_rgb, depth_m, np.diag([50.0, 50, 1]), 10.0, stride=3)
    points = np.frombuffer(
        path.read_bytes().partition(b"end_header\n")[2], np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)])
    )
    np.testing.assert_array_equal(points["xyz"][:, 2], depth_m[1::3, 1::3].ravel())
    np.testing.assert_array_equal(points["rgb"], image_rgb[1::3, 1::3].reshape(-1, 3))


def test_there_is_no_cloud_without_a_camera(tmp_path, image_rgb, depth_m):
    assert write_outputs(("ply",), tmp_path / "a", image_rgb, depth_m, None, 10.0) == []


def test_millimetres_never_wrap():
    depth_m = np.array([0.0, -1, np.nan, np.inf, 65.535, 65.536, 70, 0.0004, 1.2346], np.float32)
    assert depth_to_millimetres(depth_m).tolist() == [0, 0, 0, 0, 65535, 0, 0, 0, 1235]


@pytest.mark.parametrize(("height", "greatest_m"), [(48, 10.0), (480, 10.0), (1080, 80.0), (240, 0.7), (33, 3.0)])
def test_the_legends_colours_are_those_of_its_metres(height, greatest_m):
    """0 m at the bottom, the greatest at the top; and something is written beside it."""
    picture = legend(height, greatest_m)
    assert picture.shape[0] == height
    ends = depth_to_rgb(np.array([[greatest_m], [0.0]], np.float32), 0.0, greatest_m)
    assert np.array_equal(picture[0, 0], ends[0, 0])
    assert np.array_equal(picture[-1, 0], ends[1, 0])
    middle = depth_to_rgb(np.array([[greatest_m / 2]], np.float32), 0.0, greatest_m)[0, 0].astype(int)
    assert np.abs(picture[height // 2, 0].astype(int) - middle).max() < 40
    bar = max(8, height // 24)
    assert (picture[:, bar + 5 :] < 128).any()


def test_a_picture_beside_its_image(image_rgb, depth_m):
    picture = colour_picture(depth_m, 10.0, image_rgb)
    assert np.array_equal(picture[:, :64], image_rgb)
    assert np.array_equal(picture[:, 64:128], depth_to_rgb(depth_m, 0.0, 10.0))


@pytest.mark.parametrize("text", ["", "jpg", "png,exr"])
def test_unknown_kinds_are_refused_with_those_there_are(text):
    with pytest.raises(InputError, match="colour,png,npy,ply"):
        parse_kinds(text)


def test_kinds_are_read():
    assert parse_kinds("ply, colour,ply") == ("ply", "colour")


def test_an_assumed_field_of_view_is_that_of_the_pinhole():
    camera = given_cameras(None, None, None, None, hfov_deg=90.0).of_image("a.jpg", (480, 640))
    k = camera.matrix((480, 640))
    half_width = 640 / 2 / k[0, 0]
    assert math.degrees(2 * math.atan(half_width)) == pytest.approx(90)
    assert k[0, 2] == 319.5


def test_the_camera_is_taken_from_the_csv_before_the_options(tmp_path):
    csv = tmp_path / "pairs.csv"
    csv.write_text("image,depth,fx,fy,cx,cy\nimages/a.jpg,x.png,600,610,300,200\nimages/b.jpg,x.png,,,,\n")
    cameras = given_cameras(500, None, None, None, csv)
    assert cameras.of_image("a.jpg", SIZE) == Intrinsics(600, 610, 300, 200)
    assert cameras.of_image("b.jpg", SIZE) == Intrinsics(500, 500)
    assert given_cameras(None, None, None, None, csv).of_image("b.jpg", SIZE) is None
    assert [cameras.are_of_sensor_rows(name) for name in ("a.jpg", "b.jpg", "c.jpg")] == [True, True, False]


def test_two_cameras_of_one_image_name_are_refused(tmp_path):
    csv = tmp_path / "pairs.csv"
    csv.write_text("image,depth,fx,fy,cx,cy\na/1.jpg,x.png,400,400,,\nb/1.jpg,x.png,900,900,,\n")
    with pytest.raises(InputError, match=r"two images called 1\.jpg different focal lengths"):
        given_cameras(None, None, None, None, csv)
    csv.write_text("image,depth,fx,fy,cx,cy\na/1.jpg,x.png,400,400,,\nb/1.jpg,x.png,400,400,,\n")
    assert given_cameras(None, None, None, None, csv).of_image("1.jpg", SIZE).fx == 400


def test_a_principal_point_is_of_the_sensors_rows_and_a_focal_length_of_either():
    assert given_cameras(500, 510, 320, None).are_of_sensor_rows("a.jpg")
    assert not given_cameras(500, None, None, None).are_of_sensor_rows("a.jpg")
    assert not given_cameras(None, None, None, None, hfov_deg=60).are_of_sensor_rows("a.jpg")


def test_cameras_that_there_are_not_are_refused(tmp_path):
    for options in ((None, 5, None, None), (None, None, 3, None), (0, None, None, None), (-5, 5, None, None)):
        with pytest.raises(InputError, match=r"--f[xy]"):
            given_cameras(*options)
    with pytest.raises(InputError, match="between 0 and 180"):
        given_cameras(None, None, None, None, hfov_deg=190)
    (tmp_path / "a.csv").write_text("image,depth\na,b\n")
    with pytest.raises(InputError, match="lacks the column fx"):
        given_cameras(None, None, None, None, tmp_path / "a.csv")


def write_image(path: Path) -> Path:
    cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    return path


def test_a_folder_gives_its_images_and_not_their_true_depth(tmp_path):
    for name in ("b_rgb.png", "a_rgb.png", "b_depth.png"):
        write_image(tmp_path / name)
    (tmp_path / "notes.txt").touch()
    assert [given.path.name for given in list_inputs([tmp_path])] == ["a_rgb.png", "b_rgb.png"]


def test_inputs_that_cannot_be_are_refused(tmp_path):
    image = write_image(tmp_path / "a.png")
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").touch()
    for paths, reason in [
        ([tmp_path / "none.jpg"], "does not exist"),
        ([tmp_path / "sub"], "holds no image"),
        ([tmp_path / "a.txt"], "'.txt'"),
    ]:
        with pytest.raises(InputError, match=reason):
            list_inputs(paths)
    with pytest.raises(InputError, match="same files"):
        list_inputs([image, write_image(tmp_path / "sub" / "a.png")])
    assert len(list_inputs([image, image])) == 1


def test_a_photo_held_upright_is_read_photo(tmp_path):
    """Orientation 6: the camera was turned to the right, so the stored picture lies on its left side."""
    picture = Image.new("RGB", (40, 20), (255, 0, 0))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert read_photo(tmp_path / "a.jpg").shape == (40, 20, 3)
    assert read_photo(tmp_path / "a.jpg", is_turned=False).shape == (20, 40, 3)


def test_what_is_no_image_or_video_says_so(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="cannot be decoded"):
        read_photo(tmp_path / "a.png")
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match="no frame"):
        list(read_video(tmp_path / "a.mp4"))
