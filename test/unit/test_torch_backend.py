"""torch.export programs on the CPU, held against the same arithmetic in numpy."""

from __future__ import annotations

import json
import logging
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from depth_estimation_ros.inference import (
    BackendError,
    InferenceError,
    ModelFileError,
    choose_network_size,
    load_predictor,
    read_contract,
)
from depth_estimation_ros.inference.pt2_program import foreign_part

torch = pytest.importorskip("torch")

IMAGE = np.random.default_rng(1).integers(1, 250, (33, 47, 3), np.uint8)


class Halving(torch.nn.Module):
    """Half the first channel by way of a smaller image, and a constant tensor that has to follow the device."""

    def __init__(self, answer: str):
        super().__init__()
        self.answer = answer
        self.shrink = torch.nn.Conv2d(3, 1, 3, stride=2, padding=1)
        self.weight = torch.nn.Parameter(torch.tensor([0.5], dtype=torch.float16))
        self.register_buffer("nothing", torch.zeros(1))

    def forward(self, image):
        small = self.shrink(image)
        same = torch.nn.functional.interpolate(small, size=image.shape[-2:], mode="bilinear")
        depth = image[:, :1] * self.weight.float() + same * self.nothing + torch.tensor(0.0)
        sigma = image[:, 1:2] * 0.01
        return {
            "dict": {"log_depth_sigma": sigma, "depth": depth},
            "tuple": (depth, sigma),
            "other": {"disparity": depth},
        }[self.answer]


def write_program(
    path: Path, answer: str = "dict", document: dict | None = None, size: tuple[str, str] | None = ("h", "w")
) -> Path:
    dynamic = None
    if size is not None:
        dims = [torch.export.Dim(name, min=8, max=512) for name in size]
        dynamic = ({2: dims[0], 3: dims[1]},)
    program = torch.export.export(Halving(answer), (torch.rand(1, 3, 24, 32),), dynamic_shapes=dynamic)
    torch.export.save(program, path, extra_files={"contract.json": json.dumps(document or contract_document())})
    return path


def contract_document(dtype: str = "float32") -> dict:
    return {
        "format_version": 1,
        "name": "halving",
        "encoder": "",
        "decoder": "",
        "licence": "",
        "git_revision": "",
        "training_data": "",
        "metrics": {},
        "training_fx": None,
        "training_fy": None,
        "input": {
            "name": "image",
            "layout": "NCHW",
            "colour_order": "BGR",
            "dtype": dtype,
            "range": [0, 255],
            "normalisation": "none",
            "mean": [0, 0, 0],
            "std": [1, 1, 1],
            "resize_filter": "area",
            "native_height": 24,
            "native_width": 32,
            "size_multiple": 1,
            "size_least": 8,
            "size_most": 512,
        },
        "output": {
            "name": "depth",
            "stride": 1,
            "quantity": "z_depth",
            "unit": "m",
            "least_depth_m": 0.1,
            "greatest_depth_m": 1000,
            "confidence_name": "log_depth_sigma",
            "confidence_meaning": "log_depth_sigma",
        },
    }


@pytest.mark.parametrize("answer", ["dict", "tuple"])
def test_a_program_runs_at_any_size(tmp_path, answer):
    predictor = load_predictor(write_program(tmp_path / "m.pt2", answer), device="cpu")
    assert (predictor.device, predictor.backend_name) == ("cpu", "torch")
    assert predictor.contract.input.fixed_size is None
    for image in (IMAGE, IMAGE[:20, :31], IMAGE[:8, :8]):
        prediction = predictor.predict(image, focal_ratio=2.0)
        np.testing.assert_array_equal(prediction.depth_m, image[:, :, 2].astype(np.float32))  # the first of BGR
        np.testing.assert_allclose(prediction.log_depth_sigma, image[:, :, 1] * 0.01, rtol=1e-6)


def test_a_size_outside_the_programs_range_is_one_sentence(tmp_path):
    predictor = load_predictor(write_program(tmp_path / "m.pt2"), device="cpu")
    with pytest.raises(InferenceError, match=r"\(1, 3, 4, 8\)") as caught:
        predictor.warm_up(4, 8)
    assert "\n" not in str(caught.value)


def test_a_program_of_one_size_says_so(tmp_path):
    predictor = load_predictor(write_program(tmp_path / "m.pt2", size=None), device="cpu")
    assert choose_network_size(predictor.contract, 480, 640, None, None) == (24, 32)
    predictor.warm_up(24, 32)


def test_an_onnx_name_stands_for_the_program_beside_it(tmp_path):
    write_program(tmp_path / "m.pt2")
    (tmp_path / "m.onnx").write_bytes(b"not looked at")
    assert load_predictor(tmp_path / "m.onnx", device="cpu", backend="torch").backend_name == "torch"


def test_outputs_that_the_program_lacks_are_refused(tmp_path):
    predictor = load_predictor(write_program(tmp_path / "m.pt2", "other"), device="cpu")
    with pytest.raises(ModelFileError, match="'depth' and the program gives 'disparity'"):
        predictor.warm_up(24, 32)


def test_another_dtype_is_refused(tmp_path):
    with pytest.raises(ModelFileError, match=r"dtype float16 and the program takes torch\.float32"):
        load_predictor(write_program(tmp_path / "m.pt2", document=contract_document("float16")), device="cpu")


def test_the_contract_is_read_without_the_program(tmp_path, monkeypatch):
    path = write_program(tmp_path / "m.pt2")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert read_contract(path).name == "halving"
    with pytest.raises(BackendError, match=r"pip install '\.\[cuda\]'"):
        load_predictor(path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens where there is no CUDA")
def test_the_choice_of_device(tmp_path, caplog):
    path = write_program(tmp_path / "m.pt2")
    with pytest.raises(BackendError, match=r"'cuda:1' is not to be had from torch .* 0 CUDA devices"):
        load_predictor(path, device="cuda:1")
    with caplog.at_level(logging.INFO, logger="depth_estimation_ros"):
        assert load_predictor(path, device="auto").device == "cpu"
    assert [r.getMessage() for r in caplog.records] == ["torch finds no CUDA device: model halving runs on the CPU"]


def test_the_number_of_threads_reaches_torch(tmp_path):
    before = torch.get_num_threads()
    try:
        load_predictor(write_program(tmp_path / "m.pt2"), device="cpu", num_threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_truncated_program_is_refused(tmp_path):
    path = write_program(tmp_path / "m.pt2")
    whole = path.read_bytes()
    for length in (10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelFileError):
            load_predictor(path)


class Bomb:
    """Makes a folder on being unpickled."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return (os.mkdir, (str(self.folder),))


def copy_archive(source: Path, target: Path, replaced: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.namelist():
            root, name = member.split("/", 1)
            assert root == source.stem
            new.writestr(f"{target.stem}/{name}", replaced.get(name, old.read(member)))
    return target


def test_a_program_of_another_torch_is_one_sentence_with_the_reason(tmp_path, capfd):
    sound = write_program(tmp_path / "sound.pt2")
    with zipfile.ZipFile(sound) as archive:
        program = json.loads(archive.read("sound/models/model.json"))
    program["schema_version"]["major"] = 99
    newer = copy_archive(sound, tmp_path / "newer.pt2", {"models/model.json": json.dumps(program).encode()})
    with pytest.raises(ModelFileError, match=r"major=99.*export the network again") as caught:
        load_predictor(newer, device="cpu")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def mined_program(tmp_path: Path, mine) -> Path:
    """A program of free sizes in whose JSON ``mine`` has changed something."""
    sound = write_program(tmp_path / "sound.pt2")
    assert load_predictor(sound, device="cpu")
    with zipfile.ZipFile(sound) as archive:
        program = json.loads(archive.read("sound/models/model.json"))
    mine(program)
    return copy_archive(sound, tmp_path / "mined.pt2", {"models/model.json": json.dumps(program).encode()})


def expressions(tree) -> list[dict]:
    found = [tree] if isinstance(tree, dict) and "expr_str" in tree else []
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return found + [each for child in children for each in expressions(child)]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').mkdir({folder!r})",
        "Integer(2) + open({folder!r}, 'w').write('x')",
        "sympify(\"__import__('os').mkdir({folder!r})\")",
        "[c for c in ().__class__.__base__.__subclasses__()]",
        "(lambda: Integer(2))()",
        "Integer(2",
    ],
)
def test_text_that_is_no_arithmetic_is_never_evaluated(tmp_path, text):
    """torch.export.load evaluates the text of a size as Python."""

    def mine(program) -> None:
        expressions(program)[0]["expr_str"] = text.format(folder=str(tmp_path / "alarm"))

    with pytest.raises(ModelFileError, match="torch would run it on loading") as caught:
        load_predictor(mined_program(tmp_path, mine), device="cpu")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "alarm").exists()


@pytest.mark.parametrize(
    "target", ["torch.hub.load", "_operator.attrgetter", "torch.ops.aten.add.__init__", "builtins.eval", "#ext:name"]
)
def test_a_function_that_is_no_operator_is_never_looked_up(tmp_path, target):
    def mine(program) -> None:
        program["graph_module"]["graph"]["nodes"][0]["target"] = target

    with pytest.raises(ModelFileError, match=f"holds '{target}'"):
        load_predictor(mined_program(tmp_path, mine), device="cpu")


@pytest.mark.parametrize(
    "guard",
    [
        "L['image'].size()[2] >= 64",
        "4 <= L['image'].shape[3] and s1 != 0",
        "torch.sym_max(1, L['image'].size()[3] // 4) < math.floor(L['image'].size()[2] / 4)",
    ],
)
def test_guards_of_sizes_are_plain(guard):
    assert foreign_part({"guards_code": [guard]}) is None
    for worse in ("exit()", "torch.hub.load(L)", "math.__loader__", "torch.load('x')", "L.__class__"):
        assert foreign_part({"guards_code": [guard, f"{guard} or {worse}"]}) is not None


@pytest.mark.parametrize("place", ["data/sample_inputs/model.pt", "data/weights/weight_0"])
def test_nothing_in_a_program_is_ever_unpickled(tmp_path, place, capfd):
    """torch.export.load would unpickle both: example inputs it cannot read plainly, and weights declared as pickles."""
    sound = write_program(tmp_path / "sound.pt2")
    assert load_predictor(copy_archive(sound, tmp_path / "copy.pt2", {}), device="cpu")
    torch.save((Bomb(tmp_path / "alarm"),), tmp_path / "bomb.pt")
    replaced = {place: (tmp_path / "bomb.pt").read_bytes()}
    if "weights" in place:
        name = "data/weights/model_weights_config.json"
        with zipfile.ZipFile(sound) as archive:
            config = json.loads(archive.read(f"sound/{name}"))
        (payload,) = (p for p in config["config"].values() if p["path_name"] == "weight_0")
        payload["use_pickle"] = True
        replaced[name] = json.dumps(config).encode()
    with pytest.raises(ModelFileError, match="cannot be loaded") as caught:
        load_predictor(copy_archive(sound, tmp_path / "mined.pt2", replaced), device="cpu")
    assert "\n" not in str(caught.value)
    assert "Traceback" not in capfd.readouterr().err
    assert not (tmp_path / "alarm").exists()
    torch.load(tmp_path / "bomb.pt", weights_only=False)  # so the bomb was a real one
    assert (tmp_path / "alarm").exists()
