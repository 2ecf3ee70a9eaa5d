"""Training goes on from a checkpoint that has more blocks, or a lesser greatest depth, and from no other network."""

import dataclasses

import pytest

torch = pytest.importorskip("torch", reason="depth_training needs the train extra")

from depth_training.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from depth_training.config import ConfigError, load_config, save_config  # noqa: E402
from depth_training.data.dataset import training_focal  # noqa: E402
from depth_training.initialisation import find_checkpoint, load_weights, resolve_config, training_camera  # noqa: E402
from depth_training.network.depth_network import DepthNetwork  # noqa: E402


def settings(init, *overrides):
    return resolve_config(None, ["data.pairs=pairs.csv", *overrides], str(init))


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A checkpoint of 25 m and without block 5.1, from one of 20 m or less that may have it."""
    trained, contract = load_checkpoint(find_checkpoint("default"))
    left_out = sorted({*trained.config.left_out_blocks, "5.1"})
    config = settings("default", f"network.left_out_blocks=[{','.join(left_out)}]", "network.greatest_depth_m=25")
    network = DepthNetwork(config.network)
    load_weights(network, "default")
    return save_checkpoint(network, contract, tmp_path_factory.mktemp("short") / "model.safetensors")


def test_weights_are_the_checkpoints_but_for_what_is_left_out(short):
    trained, _ = load_checkpoint(find_checkpoint("default"))
    network, _ = load_checkpoint(short)
    assert network.config.greatest_depth_m == 25
    ours, theirs = network.state_dict(), trained.state_dict()
    absent = {name for name in theirs if name.startswith("encoder.features.5.1.")}
    assert ours.keys() == theirs.keys() - absent
    changed = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    assert changed == {"head.conv.weight", "head.conv.bias"}


def test_a_runs_own_settings_as_a_preset_do_not_start_it_from_where_that_run_did(short, tmp_path):
    save_config(settings("default"), tmp_path / "config.yaml")
    left_out = ",".join(load_checkpoint(short)[0].config.left_out_blocks)
    again = [f"network.left_out_blocks=[{left_out}]", "network.greatest_depth_m=25"]
    assert resolve_config(tmp_path / "config.yaml", again, str(short)).init == str(short)


@pytest.mark.parametrize(
    ("override", "key"),
    [("network.left_out_blocks=[]", "network.left_out_blocks"), ("network.greatest_depth_m=10", "greatest_depth_m=10")],
)
def test_what_a_checkpoint_does_not_have_cannot_come_back(short, override, key):
    with pytest.raises(ConfigError, match=rf"{key}.* contradicts the checkpoint"):
        settings(short, override)


def test_a_native_size_that_would_stretch_images_is_refused():
    wide = ["data.pairs=pairs.csv", "data.native_height=180", "data.height=168"]
    with pytest.raises(ConfigError, match=r"180x320 and data.camera_height and camera_width 480x640: .*stretched"):
        load_config(None, wide)
    config = load_config(
        None, [*wide, "data.camera_height=720", "data.camera_width=1280", "data.fx=900", "data.fy=900"]
    )
    assert training_focal(config.data) == (225, 225)


def test_the_training_camera_of_a_wide_network_has_its_shape(tmp_path):
    network, contract = load_checkpoint(find_checkpoint("default"))
    sides = dataclasses.replace(contract.input, native_height=180, native_width=320)
    contract = dataclasses.replace(contract, input=sides, training_fx=300.0, training_fy=300.0)
    assert training_focal(training_camera(contract)) == pytest.approx((300, 300))
    wide = save_checkpoint(network, contract, tmp_path / "model.safetensors")
    data = settings(wide).data
    assert (data.native_height / data.native_width) == pytest.approx(data.camera_height / data.camera_width)
