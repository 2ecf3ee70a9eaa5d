"""The virtual camera against closed forms: a slanted plane seen by two pinholes at one place."""

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

from hypothesis import assume, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from depth_training.config import DataConfig  # noqa: E402
from depth_training.data.dataset import (  # noqa: E402
    FullPairs,
    TrainingPairs,
    canonical_crop,
    canonical_factor,
    is_training_camera,
)
from depth_training.data.intrinsics import Intrinsics  # noqa: E402
from depth_training.data.pairs import Pair  # noqa: E402
from depth_training.data.virtual_camera import (  # noqa: E402
    IMAGENET_MEAN_RGB,
    VirtualCamera,
    choose_window,
    render_view,
)

SIZE = (480, 640)
K = np.array([[518.9, 0, 325.6], [0, 519.5, 253.7], [0, 0, 1.0]])
# Of the plane n . X = d, metres: it leans away to the right and downwards.
NORMAL, DISTANCE_M = np.array([0.35, -0.2, 1.0]), 3.0

places = st.tuples(st.floats(0, 1), st.floats(0, 1))
zooms = st.floats(0.75, 1.8)
rotations = st.tuples(*[st.floats(-6, 6)] * 3)


def plane_points(k: np.ndarray, rotation: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) points of the plane that a camera sees, in its own axes."""
    v, u = np.indices(size, np.float64)
    rays = np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones(size)], -1)
    return rays * (DISTANCE_M / (rays @ (rotation @ NORMAL)))[..., None]


def crop(zoom: float, place: tuple[float, float], rotation_deg=(0.0, 0.0, 0.0)) -> VirtualCamera:
    return VirtualCamera(choose_window(SIZE, (448, 608), zoom, place, 8), (224, 304), rotation_deg)


@settings(deadline=None, max_examples=40)
@given(zooms, places, rotations)
def test_a_slanted_plane_lies_where_closed_form_puts_it(zoom, place, rotation_deg):
    """Oracle: the plane cut with each virtual ray. The picture holds the plane's points themselves."""
    camera = crop(zoom, place, rotation_deg)
    real = plane_points(K, np.eye(3), SIZE)
    image, depth_m = render_view(real.astype(np.float32), real[..., 2].astype(np.float32), K, camera, 8)
    k, rotation = camera.matrix(K), camera.rotation
    expected = plane_points(k, rotation, camera.size)
    known = depth_m > 0
    assume(known.any())

    # One pixel of the real image moves the depth by at most this share; nearest is half of one off, each way.
    share_per_pixel = (abs(NORMAL[0]) / K[0, 0] + abs(NORMAL[1]) / K[1, 1]) / (DISTANCE_M / real[..., 2].max())
    share = np.abs(depth_m / expected[..., 2] - 1)[known]
    assert share.max() < 0.75 * share_per_pixel
    assert np.abs(np.median(depth_m[known] / expected[..., 2][known]) - 1) < 1e-3

    inner = cv2.erode(known.astype(np.uint8), np.ones((7, 7)), borderValue=0).astype(bool)
    seen = (image @ rotation.T)[inner]  # the points the pixel shows, in the virtual camera's axes
    for axis in (0, 1):
        pixel = seen[:, axis] / seen[:, 2] * k[axis, axis] + k[axis, 2]
        where = np.indices(camera.size)[1 - axis][inner]
        assert np.abs(pixel - where).max() < 0.1


@settings(deadline=None, max_examples=40)
@given(zooms, places, rotations)
def test_the_virtual_camera_keeps_the_rotation_and_the_middle(zoom, place, rotation_deg):
    camera = crop(zoom, place, rotation_deg)
    assert camera.rotation @ camera.rotation.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(camera.rotation) == pytest.approx(1)
    top, left, height, width = camera.window
    middle = camera.matrix(K) @ camera.rotation @ np.linalg.inv(K) @ [left + (width - 1) / 2, top + (height - 1) / 2, 1]
    assert middle[:2] / middle[2] == pytest.approx([(304 - 1) / 2, (224 - 1) / 2], abs=1e-6)
    assert camera.matrix(K)[0, 0] == pytest.approx(K[0, 0] * 304 / width)


def test_each_angle_turns_its_own_axis():
    quarter = [VirtualCamera((0, 0, 2, 2), (2, 2), angles).rotation for angles in ((90, 0, 0), (0, 90, 0), (0, 0, 90))]
    x, y, z = np.eye(3)
    assert quarter[0] @ x == pytest.approx(y)  # roll: x (right) to y (down), about z
    assert quarter[1] @ y == pytest.approx(z)
    assert quarter[2] @ z == pytest.approx(x)


@settings(deadline=None, max_examples=30)
@given(zooms, places, rotations)
def test_what_lies_outside_is_unknown_and_what_lies_inside_is_known(zoom, place, rotation_deg):
    """Oracle: each virtual pixel's ray, projected into the real image."""
    camera = crop(zoom, place, rotation_deg)
    image = np.full((*SIZE, 3), 250, np.uint8)
    image[:8], image[-8:], image[:, :8], image[:, -8:] = 0, 0, 0, 0  # a border that must not be seen
    rendered, depth_m = render_view(image, np.full(SIZE, 2.0, np.float32), K, camera, 8)
    v, u = np.indices(camera.size, np.float64)
    pixels = np.stack([u, v, np.ones(camera.size)], -1) @ (K @ camera.rotation.T @ np.linalg.inv(camera.matrix(K))).T
    x, y = pixels[..., 0] / pixels[..., 2], pixels[..., 1] / pixels[..., 2]
    inwards = np.minimum(np.minimum(x - 7.5, 639 - 7.5 - x), np.minimum(y - 7.5, 479 - 7.5 - y))
    assert (depth_m[inwards > 0.6] > 0).all()
    assert (depth_m[inwards < -0.6] == 0).all()
    step = max(1.0, camera.window[2] / camera.size[0])
    assert (rendered[inwards > 1.5 * step] == 250).all()
    assert (rendered[inwards < -1.5 * step] == IMAGENET_MEAN_RGB).all()


def test_depth_is_never_invented():
    """Two planes and holes: every rendered depth is one of theirs, apart from the change of z."""
    random = np.random.default_rng(0)
    depth_m = random.choice(np.float32([0, 1, 4]), SIZE)
    image = np.zeros((*SIZE, 3), np.uint8)
    for angles in ((0, 0, 0), (4, 0, 0)):
        _, out = render_view(image, depth_m, K, crop(1.3, (0.4, 0.6), angles), 8)
        assert set(np.unique(np.round(out, 5))) <= {0, 1, 4}, angles


def test_shrinking_does_not_alias():
    """A checkerboard of single pixels is grey to a camera that sees four of them in one."""
    image = np.zeros((*SIZE, 3), np.uint8)
    image[::2, ::2] = image[1::2, 1::2] = 255
    depth_m = np.ones(SIZE, np.float32)
    for angles in ((0, 0, 0), (3, 1, -1)):
        rendered, known = render_view(image, depth_m, K, crop(1.0, (0.5, 0.5), angles), 8)
        inner = cv2.erode((known > 0).astype(np.uint8), np.ones((5, 5)), borderValue=0).astype(bool)
        assert np.abs(rendered[inner].astype(int) - 127).max() <= 16, angles


def test_an_image_that_grows_is_interpolated_as_on_a_robot():
    """Half-pixel centres, which OpenCV's own area mean gives up there: a slope stays where it is."""
    image = np.repeat(np.linspace(20, 220, 40, dtype=np.float32)[None, :, None], 30, 0).repeat(3, 2)
    depth_m = np.ones((30, 40), np.float32)
    camera = VirtualCamera((0, 0, 30, 40), (60, 80))
    rendered, _ = render_view(image, depth_m, Intrinsics(30, 30).matrix((30, 40)), camera, 0)
    centres = (np.arange(80) + 0.5) / 2 - 0.5
    expected = np.interp(centres, np.arange(40), image[0, :, 0])
    np.testing.assert_allclose(rendered[0, :, 0], expected, atol=0.01)


def crop_as_before(image_rgb, depth_m, config, zoom, place):
    """The crop that models up to 0.1 were trained with, written out as the oracle."""
    full_height, full_width = depth_m.shape
    height = min(round(config.height * full_height / config.native_height / zoom), full_height - 2 * config.border)
    width = min(round(config.width * full_width / config.native_width / zoom), full_width - 2 * config.border)
    top = config.border + round(place[0] * (full_height - 2 * config.border - height))
    left = config.border + round(place[1] * (full_width - 2 * config.border - width))
    window = np.s_[top : top + height, left : left + width]
    image = cv2.resize(image_rgb[window], (config.width, config.height), interpolation=cv2.INTER_AREA)
    depth = cv2.resize(depth_m[window], (config.width, config.height), interpolation=cv2.INTER_NEAREST_EXACT)
    return image, depth / zoom


@settings(deadline=None, max_examples=25)
@given(st.floats(1.0, 1.8), places)
def test_without_rotation_the_crop_is_the_one_it_always_was(zoom, place):
    config = DataConfig()
    k = Intrinsics(config.fx, config.fy).matrix(SIZE)
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (*SIZE, 3), np.uint8)
    depth = random.uniform(1, 9, SIZE).astype(np.float32)
    window = choose_window(SIZE, canonical_crop(k, config, (224, 304)), zoom, place, config.border)
    camera = VirtualCamera(window, (224, 304))
    actual_image, actual_m = render_view(image, depth, k, camera, config.border)
    expected_image, expected_m = crop_as_before(image, depth, config, zoom, place)
    assert np.array_equal(actual_image, expected_image)
    # The zoom of the crop in whole pixels, where it once was the zoom asked for.
    assert actual_m * canonical_factor(camera.matrix(k), config) == pytest.approx(expected_m, rel=2e-3)
    if zoom == 1:
        assert np.array_equal(actual_m * np.float32(canonical_factor(camera.matrix(k), config)), expected_m)


def write_scene(folder, name: str, camera: Intrinsics, size: tuple[int, int]) -> Pair:
    """A smooth pattern on the slanted plane, drawn in closed form as this camera sees it."""
    points = plane_points(camera.matrix(size), np.eye(3), size)
    waves = [np.sin(points[..., 0] * 4), np.cos(points[..., 1] * 5), np.sin((points[..., 0] + points[..., 1]) * 3)]
    image = np.stack([127 + 100 * wave for wave in waves], -1)
    cv2.imwrite(str(folder / f"{name}.png"), np.rint(image[..., ::-1]).astype(np.uint8))
    cv2.imwrite(str(folder / f"{name}_depth.png"), np.rint(points[..., 2] * 1000).astype(np.uint16))
    return Pair(folder / f"{name}.png", folder / f"{name}_depth.png", 0, camera)


TRAINING = Intrinsics(518.8579, 519.4696), (480, 640)
MIDDLE = {"border": 0, "flip": 0, "channel_swap": 0}


def centred(dataset: TrainingPairs) -> TrainingPairs:
    """The training crop in the middle of the image, where both cameras look."""
    config = dataset.config
    size = (config.height, config.width)
    dataset.draw_camera = lambda k, image_size, border, aspect: VirtualCamera(
        choose_window(image_size, canonical_crop(k, config, size), 1.0, (0.5, 0.5)), size
    )
    return dataset


@pytest.mark.parametrize(
    "other",
    [(Intrinsics(700.0, 698.0), (720, 1280)), (Intrinsics(400.0, 600.0), (600, 640))],
    ids=["wide robot camera", "pixels that are not square"],
)
@pytest.mark.parametrize("loader", [lambda *a: centred(TrainingPairs(*a)), FullPairs], ids=["training", "validation"])
def test_the_same_scene_seen_by_two_cameras_gives_the_same_target(tmp_path, loader, other):
    """Both are brought to one virtual camera: pixels and depth agree without either knowing of the other."""
    pairs = [write_scene(tmp_path, str(number), *camera) for number, camera in enumerate((TRAINING, other))]
    dataset = loader(pairs, DataConfig(**MIDDLE))
    (image, depth_m), (other_image, other_depth_m) = dataset[0], dataset[1]
    assert image.shape == other_image.shape
    assert torch.abs(other_depth_m / depth_m - 1).max() < 4e-3
    # Crops lie on whole pixels, so the two may be a quarter of a network pixel apart.
    assert torch.abs(other_image.float() - image.float()).mean() < 1.5


@pytest.mark.parametrize(
    ("dataset", "shown_px"), [(lambda *a: centred(TrainingPairs(*a)), 304), (FullPairs, 320)], ids=["crop", "whole"]
)
def test_a_longer_lens_that_cannot_show_as_much_tells_its_wall_nearer(tmp_path, dataset, shown_px):
    """A wall at 3 m that fills 640 pixels of f 830 looks as one at 3 m * f_training / f_shown."""
    cv2.imwrite(str(tmp_path / "w.png"), np.full((480, 640, 3), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "d.png"), np.full((480, 640), 3000, np.uint16))
    pair = Pair(tmp_path / "w.png", tmp_path / "d.png", 0, Intrinsics(830.0, 831.0))
    _, depth_m = dataset([pair], DataConfig(**MIDDLE))[0]
    f_training, f_shown = 518.8579 * 320 / 640, 830 * shown_px / 640
    assert depth_m.unique().numpy() == pytest.approx(3 * f_training / f_shown, rel=1e-3)


@pytest.mark.parametrize("aspect", [16 / 9, 1.0, 3 / 4, None])
def test_a_view_of_another_shape_has_as_many_pixels_and_tells_its_wall_as_its_lens_does(tmp_path, aspect):
    """The largest part of the image that has the shape, so that a wall at 3 m looks as one at 3 m * f / f_shown."""
    cv2.imwrite(str(tmp_path / "w.png"), np.full((480, 640, 3), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "d.png"), np.full((480, 640), 3000, np.uint16))
    pair = Pair(tmp_path / "w.png", tmp_path / "d.png", 0)
    image, depth_m = TrainingPairs([pair], DataConfig(**MIDDLE, height=240, width=320)).view(0, aspect)
    height, width = image.shape[1:]
    assert depth_m.shape[1:] == image.shape[1:]
    assert height % 2 == width % 2 == 0
    assert height * width == pytest.approx(240 * 320, rel=0.01)
    assert width / height == pytest.approx(aspect or 4 / 3, rel=0.01)
    seen_width = min(640, 480 * (aspect or 4 / 3))
    assert depth_m.unique().numpy() == pytest.approx(3 * (320 / 640) / (width / seen_width), rel=0.01)


@pytest.mark.parametrize("size", [(720, 1280), (640, 480), (500, 500)], ids=["16:9", "upright", "square"])
@pytest.mark.parametrize("loader", [lambda *a: centred(TrainingPairs(*a)), FullPairs], ids=["training", "validation"])
def test_what_is_round_stays_round_where_an_image_of_another_shape_says_no_focal_length(tmp_path, loader, size):
    height, width = size
    disc = cv2.circle(np.zeros((*size, 3), np.uint8), (width // 2, height // 2), 150, (255, 255, 255), -1)
    cv2.imwrite(str(tmp_path / "w.png"), disc)
    cv2.imwrite(str(tmp_path / "d.png"), np.full(size, 3000, np.uint16))
    pair = Pair(tmp_path / "w.png", tmp_path / "d.png", 0)
    config = DataConfig(**MIDDLE)
    image, _ = loader([pair], config)[0]
    shown = image[0].numpy() > 127
    assert np.ptp(np.flatnonzero(shown.any(0))) == pytest.approx(np.ptp(np.flatnonzero(shown.any(1))), abs=2)
    assert not is_training_camera(pair, config)


def test_without_intrinsics_a_pair_is_the_training_camera_s(tmp_path):
    pair = write_scene(tmp_path, "a", *TRAINING)
    unnamed = Pair(pair.image, pair.depth, 0)
    for dataset in (
        centred(TrainingPairs([pair, unnamed], DataConfig(**MIDDLE))),
        FullPairs([pair, unnamed], DataConfig()),
    ):
        for named, assumed in zip(dataset[0], dataset[1], strict=True):
            assert torch.equal(named, assumed)


def test_rotations_and_zooms_below_one_are_drawn_and_leave_the_unknown_unknown(tmp_path):
    pair = write_scene(tmp_path, "a", *TRAINING)
    config = DataConfig(zoom=1, zoom_least=0.75, zoom_greatest=0.8, rotation_deg=4, tilt_deg=3, flip=0)
    torch.manual_seed(0)
    unknown = []
    for _ in range(5):
        image, depth_m = TrainingPairs([pair], config)[0]
        assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 224, 304))
        assert (depth_m.dtype, tuple(depth_m.shape)) == (torch.float32, (1, 224, 304))
        unknown.append(float((depth_m == 0).float().mean()))
    assert min(unknown) > 0.2
    assert max(unknown) < 0.6


def test_a_view_may_show_the_border_and_never_learns_its_depth(tmp_path):
    """The whole image as validation sees it, border and all, where the border is shown; the border's depth is 0."""
    pair = write_scene(tmp_path, "a", *TRAINING)
    config = DataConfig(border=8, border_shown=1.0, height=240, width=320, flip=0, channel_swap=0)
    image, depth_m = TrainingPairs([pair], config)[0]
    whole_image, whole_m = FullPairs([pair], config)[0]
    assert torch.equal(image, whole_image)
    inner = (slice(None), slice(4, -4), slice(4, -4))  # 8 pixels of the full image
    known = torch.zeros_like(depth_m, dtype=torch.bool)
    known[inner] = True
    assert torch.equal(depth_m > 0, known)
    nearest = torch.nn.functional.interpolate(whole_m[None], size=(240, 320), mode="nearest-exact")[0]
    torch.testing.assert_close(depth_m[inner], nearest[inner])


def test_no_random_number_is_drawn_for_a_border_that_is_never_shown(tmp_path):
    pair = write_scene(tmp_path, "a", *TRAINING)
    torch.manual_seed(0)
    TrainingPairs([pair], DataConfig()).draw_border()
    assert torch.rand(()).item() == torch.rand((), generator=torch.Generator().manual_seed(0)).item()
