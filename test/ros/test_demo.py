"""The whole demo, end to end: three processes over DDS, and what becomes of it when one of them misbehaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import rclpy
from rclpy.node import Node
from std_msgs.msg import Header

from depth_estimation_ros.demo import camera_process, processes, run
from depth_estimation_ros.demo.frames import SourceFrame
from depth_estimation_ros.demo.processes import free_domain_id
from depth_estimation_ros.demo.recording import Recording
from depth_estimation_ros.demo.room import camera_path, cast_rays
from depth_estimation_ros.demo.room_layout import build_room
from depth_estimation_ros.inference import default_model_path

CONSTANT_M = 2.5
PATIENCE_S = 60.0


def demo_processes(output: Path) -> list[str]:
    """Command lines and environments on this machine that name the demo's folder."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and int(process.name) != os.getpid():
            try:
                text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            except OSError:
                continue
            if bytes(output) in text and b"pytest" not in text.split(b"\0")[0]:
                found.append(text[:200].decode(errors="replace"))
    return found


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Path]:
    """A folder for the demo; at the end no process of it may be left, nor its working folder."""
    folder = tmp_path / "demo_output"
    yield folder
    end_s = time.monotonic() + 5.0
    while (left := demo_processes(folder)) and time.monotonic() < end_s:
        time.sleep(0.05)
    assert not left
    assert not list(folder.glob(".recording-*"))


@pytest.fixture
def constant_model(tmp_path: Path) -> Path:
    """A network that says 2.5 m everywhere, with a contract as training writes it."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    contract = {
        "format_version": 1,
        **dict.fromkeys(("name", "encoder", "decoder", "licence", "git_revision", "training_data"), "constant"),
        "metrics": {},
        "training_fx": None,
        "training_fy": None,
        "input": {
            **{"name": "image", "layout": "NCHW", "colour_order": "RGB", "dtype": "float32", "range": [0, 1]},
            **{"normalisation": "none", "mean": [0, 0, 0], "std": [1, 1, 1], "resize_filter": "area"},
            **{"native_height": 240, "native_width": 320, "size_multiple": 16, "size_least": 32, "size_most": 1024},
        },
        "output": {
            **{"name": "depth", "stride": 1, "quantity": "z_depth", "unit": "m"},
            **{"least_depth_m": 0.1, "greatest_depth_m": 10.0},
        },
    }
    tensors = {"first": [0], "one": [1], "axis": [1]}
    constants = [helper.make_tensor(name, TensorProto.INT64, [1], value) for name, value in tensors.items()]
    constants += [helper.make_tensor(name, TensorProto.FLOAT, [], [v]) for name, v in (("nil", 0.0), ("z", CONSTANT_M))]
    graph = helper.make_graph(
        [
            helper.make_node("Slice", ["image", "first", "one", "axis"], ["red"]),
            helper.make_node("Mul", ["red", "nil"], ["nothing"]),
            helper.make_node("Add", ["nothing", "z"], ["depth"]),
        ],
        "constant",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, [1, 1, "h", "w"])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"depth_estimation_ros.contract": json.dumps(contract)})
    path = tmp_path / "constant model's.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def few_images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(8):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((120, 160, 3), 20 * number, np.uint8))
    return folder


def read_ply(path: Path) -> np.ndarray:
    header, body = path.read_bytes().split(b"end_header\n", 1)
    assert b"binary_little_endian" in header
    return np.array([vertex[:3] for vertex in struct.iter_unpack("<fffBBB", body)])


def test_the_room_goes_through_the_whole_chain(output: Path, constant_model: Path, capfd) -> None:
    arguments = ["--frames", "8", "--rate", "4", "--output", str(output), "--model", str(constant_model)]
    assert run.main([*arguments, "--device", "cpu"]) == 0, capfd.readouterr()
    summary = json.loads((output / "summary.json").read_text())
    assert summary["frames_sent"] == 8
    assert 1 <= summary["received_by_node"] <= 8  # of two that come at once the node takes the newer
    assert summary["rejected_by_node"] == 0
    # Best effort: on a busy machine some of them are lost on the way, and the demo says so.
    assert 1 <= summary["depth_images"] <= 8
    assert 1 <= summary["clouds"] <= 8
    assert summary["depth_range_m"] == pytest.approx([CONSTANT_M] * 3)
    assert 0.0 < summary["arrival_latency_ms"][0] <= summary["arrival_latency_ms"][1]
    assert 0.0 < summary["publish_latency_ms"][0] <= summary["publish_latency_ms"][1]

    # What a constant is wrong by in this room, from the ray caster alone.
    if summary["depth_images"] == 8:
        k = np.array([[518.8579 / 2, 0, 162.5412], [0, 519.4696 / 2, 126.6181], [0, 0, 1]])
        truth = np.stack([cast_rays(build_room(), camera_path(i / 7), k, 240, 320).depth_m for i in range(8)])
        expected = np.median(np.abs(CONSTANT_M - truth) / truth)
        assert summary["median_relative_error"] == pytest.approx(expected, rel=0.01)

    points = read_ply(output / "points.ply")
    assert points[:, 2] == pytest.approx(CONSTANT_M)
    across = np.ptp(points[:, 0]) / CONSTANT_M
    assert across == pytest.approx(640 / 518.8579, rel=0.02)
    pictures = sorted(output.glob("*.png"))
    assert [picture.name for picture in pictures][-1] == "points.png"
    assert len(pictures) == 1 + min(3, summary["depth_images"])
    assert all(cv2.imread(str(picture)).std() > 20 for picture in pictures)
    said = capfd.readouterr().out
    assert "never seen this synthetic room" in said
    assert "/diagnostics" in said


@pytest.mark.skipif(not default_model_path().exists(), reason="the bundled model is not in this checkout")
def test_the_bundled_model_knows_metres_in_a_room_it_has_never_seen(output: Path, capfd) -> None:
    assert run.main(["--frames", "4", "--rate", "2", "--output", str(output)]) == 0, capfd.readouterr()
    summary = json.loads((output / "summary.json").read_text())
    assert summary["median_relative_error"] < 0.5


def test_images_without_calibration_get_a_stated_assumption(
    output: Path, constant_model: Path, few_images: Path, capfd
) -> None:
    arguments = ["--source", str(few_images), "--rate", "4", "--output", str(output), "--model", str(constant_model)]
    assert run.main(arguments) == 0, capfd.readouterr()
    said = capfd.readouterr().out
    assert "assumes 60 degrees" in " ".join(said.split())
    summary = json.loads((output / "summary.json").read_text())
    assert summary["frames_sent"] == 8
    assert summary["median_relative_error"] is None
    points = read_ply(output / "points.ply")
    # 60 degrees from edge to edge; the outermost points are a little inside.
    assert np.ptp(points[:, 0]) / CONSTANT_M == pytest.approx(2 * np.tan(np.radians(30)), rel=0.02)


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        ("zeros", "depth is never a false zero"),
        ("stamp", "depth/image_rect has the stamp of a sent image"),
        ("unorganized", "cloud is organized"),
    ],
)
def test_a_broken_rule_ends_the_demo_with_its_name(
    fault: str, rule: str, output: Path, few_images: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    output.mkdir()
    (output / "points.ply").write_text("of an earlier run")
    status, error = run_with_fault(fault, output, few_images, monkeypatch, capfd)
    assert status == 1
    assert rule in error
    assert not (output / "points.ply").exists()


def test_the_misbehaving_node_passes_when_it_behaves(
    output: Path, few_images: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    status, error = run_with_fault("none", output, few_images, monkeypatch, capfd)
    assert (status, error) == (0, "")


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("dies", "The node ended with status 7 before the demo was over"),
        ("dies_later", "The node ended with status 8 before the demo was over"),
        ("deaf", "The node did not listen to the camera for 20 s"),
        ("silent", "The node's topics did not appear for 20 s"),
        ("mute", "depth/image_rect arrives"),
    ],
)
def test_a_node_that_fails_is_named_and_its_log_shown(
    fault: str, sentence: str, output: Path, few_images: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    patience = () if fault.startswith("dies") else ("--timeout", "20")  # in which all processes have to start, too
    status, error = run_with_fault(fault, output, few_images, monkeypatch, capfd, *patience)
    assert status == 1
    assert sentence in error
    assert f"this node has the fault {fault}" in error


def run_with_fault(fault: str, output: Path, source: Path, monkeypatch, capfd, *more: str) -> tuple[int, str]:
    monkeypatch.setenv("DEMO_FAULT", fault)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    monkeypatch.setattr("depth_estimation_ros.inference.model_file.resolve_model", lambda model: Path(model))
    arguments = ["--source", str(source), "--rate", "10", "--hfov-deg", "60", "--output", str(output), *more]
    status = run.main(arguments, node_module="faulty_node")
    return status, capfd.readouterr().err


@pytest.mark.parametrize(
    ("moment", "signum"),
    [
        (".recording-*", signal.SIGINT),
        ("logs/node.log", signal.SIGTERM),
        ("logs/camera.log", signal.SIGINT),
        (".recording-*/arrived.jsonl", signal.SIGINT),
    ],
)
def test_a_signal_ends_everything_at_any_moment(
    moment: str, signum: signal.Signals, output: Path, constant_model: Path, few_images: Path
) -> None:
    source = "room" if moment == ".recording-*" else str(few_images)
    options = {"--source": source, "--rate": "0.5", "--output": str(output), "--model": str(constant_model)}
    process = subprocess.Popen(
        [sys.executable, "-m", "depth_estimation_ros.demo.run", *(part for pair in options.items() for part in pair)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end_s = time.monotonic() + PATIENCE_S
    while not list(output.glob(moment)) and process.poll() is None and time.monotonic() < end_s:
        time.sleep(0.002)
    process.send_signal(signum)
    if moment.endswith("arrived.jsonl"):  # and again, while it tidies up
        time.sleep(0.05)
        process.send_signal(signum)
    out, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + signum, (out, error)
    assert "Traceback" not in out + error
    assert error.strip() == f"Stopped by {signum.name}."


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs util-linux's setpriv")
def test_even_a_killed_demo_leaves_no_process(output: Path, constant_model: Path, few_images: Path) -> None:
    options = {"--source": str(few_images), "--rate": "0.5", "--output": str(output), "--model": str(constant_model)}
    process = subprocess.Popen(
        [sys.executable, "-m", "depth_estimation_ros.demo.run", *(part for pair in options.items() for part in pair)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end_s = time.monotonic() + PATIENCE_S
    while not list(output.glob(".recording-*/arrived.jsonl")) and time.monotonic() < end_s:
        assert process.poll() is None
        time.sleep(0.02)
    assert len(demo_processes(output)) >= 4
    process.kill()
    process.wait()
    for folder in output.glob(".recording-*"):  # which nobody was left to remove
        while demo_processes(output) and time.monotonic() < end_s:
            time.sleep(0.05)
        shutil.rmtree(folder)


def test_the_cameras_beat_is_steady_and_never_hurries_to_catch_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, beats_s = 100.0, []

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    monkeypatch.setattr(camera_process, "time", SimpleNamespace(monotonic=lambda: now_s, sleep=sleep))
    pace = camera_process.Pace(rate_hz=10.0)
    for work_s in (0.03, 0.09, 0.0, 0.55, 0.02, 0.0):
        pace.wait()
        beats_s.append(now_s)
        now_s += work_s
    assert np.diff(beats_s) == pytest.approx([0.1, 0.1, 0.1, 0.55, 0.1])


def test_camera_info_says_what_is_known_and_no_more() -> None:
    header = Header(frame_id="camera")
    unknown = camera_process.camera_info(None, 48, 64, header)
    assert (unknown.height, unknown.width, unknown.header) == (48, 64, header)
    assert not any((*unknown.k, *unknown.p, *unknown.d))
    known = camera_process.camera_info(np.array([[50.0, 0, 31], [0, 51.0, 23], [0, 0, 1]]), 48, 64, header)
    assert list(known.k) == [50, 0, 31, 0, 51, 23, 0, 0, 1]
    assert list(known.p) == [50, 0, 31, 0, 0, 51, 23, 0, 0, 0, 1, 0]
    assert not any(known.d)


def test_no_image_goes_out_before_the_node_has_acknowledged_a_calibration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    answers = iter([False, False, True, True])  # a busy node: the first image waits for it
    monkeypatch.setattr(camera_process, "rclpy", SimpleNamespace(ok=lambda: True))
    monkeypatch.setattr(camera_process, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda seconds: None))

    class Topic:
        def __init__(self, name: str) -> None:
            self.name = name

        def publish(self, message) -> None:
            done.append(self.name)

        def wait_for_all_acked(self, timeout) -> bool:
            done.append(f"{self.name} heard?")
            return next(answers)

    now = SimpleNamespace(nanoseconds=1, to_msg=lambda: Header().stamp)
    camera = object.__new__(camera_process.Camera)
    camera._recording = recording = Recording(tmp_path)
    camera._images, camera._infos = Topic("image"), Topic("info")
    camera.heard = lambda: True
    camera.get_clock = lambda: SimpleNamespace(now=lambda: now)
    for index in range(2):
        recording.write_frame(index, SourceFrame(str(index), np.zeros((4, 6, 3), np.uint8)))
    camera_process.publish(camera, recording, {"webcam": None, "frame_count": 2, "rate_hz": 5.0})
    assert done == ["info", *["info heard?"] * 3, *["info", "image"] * 2, "image heard?"]
    assert recording.marked("camera_done")


def test_a_node_that_never_acknowledges_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0

    def wait(timeout) -> bool:
        nonlocal now_s
        now_s += timeout.nanoseconds / 1e9
        return False

    monkeypatch.setattr(camera_process, "time", SimpleNamespace(monotonic=lambda: now_s))
    for ok, waited_s in ((True, camera_process.ACKNOWLEDGED_S), (False, 0.0)):
        now_s = 0.0
        monkeypatch.setattr(camera_process, "rclpy", SimpleNamespace(ok=lambda ok=ok: ok))
        camera_process.wait_until_acknowledged(SimpleNamespace(wait_for_all_acked=wait))
        assert now_s == pytest.approx(waited_s, abs=2 * camera_process.POLL_S)


def test_a_webcams_images_are_kept_as_they_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = [SourceFrame(f"live {level}", np.full((4, 6, 3), level, np.uint8)) for level in range(9)]
    monkeypatch.setattr(camera_process, "webcam_frames", lambda device, given: iter(taken))
    recording = Recording(tmp_path)
    plan = {"webcam": 0, "frame_count": 3, "given": {"hfov_deg": None, "fx": None, "fy": None}}
    sent = list(camera_process.live_or_kept_frames(recording, plan))
    assert [frame.name for frame in sent] == ["live 0", "live 1", "live 2"]
    assert [recording.frame(index).image_rgb.max() for index in range(3)] == [0, 1, 2]
    assert [frame.name for frame in camera_process.live_or_kept_frames(recording, {**plan, "webcam": None})] == [
        frame.name for frame in sent
    ]


def test_a_domain_in_use_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.random, "shuffle", lambda domains: None)
    first = free_domain_id()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as participant:
        participant.bind(("", 7410 + 250 * first))
        assert free_domain_id() > first
    context = rclpy.Context()
    context.init(domain_id=first)
    node = Node("neighbour", context=context)
    try:
        assert free_domain_id() > first
    finally:
        node.destroy_node()
        context.shutdown()


def test_a_child_that_ignores_polite_signals_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stubborn.py").write_text(
        "import signal, subprocess, sys, time\n"
        "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])\n"
        "print('up', flush=True)\n"
        "time.sleep(99)\n"
    )
    monkeypatch.setattr(
        processes,
        "PATIENCE_S",
        ((signal.SIGINT, 0.3), (signal.SIGTERM, 0.3), (signal.SIGKILL, 9.0)),
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    child = processes.Child("stubborn", "stubborn", [], tmp_path / "log", environment)
    while child.log_tail() != "up":
        assert child.status() is None
        time.sleep(0.02)
    processes.stop([child])
    assert child.status() == -signal.SIGKILL
    assert not child.signal_group(0)
