"""Each check of the doctor on good facts and on bad ones: the level, and the words that name the fault."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from depth_estimation_ros.calibration import Calibration
from depth_estimation_ros.doctor import command
from depth_estimation_ros.doctor.camera_checks import (
    CalibrationFacts,
    ImageFacts,
    PublisherFacts,
    check_calibration,
    check_encoding,
    check_images,
    check_publishers,
)
from depth_estimation_ros.doctor.findings import Finding, exit_status, to_text
from depth_estimation_ros.doctor.machine_checks import ModelFacts, check_load, check_model, check_transport
from depth_estimation_ros.doctor.node_checks import (
    NodeFacts,
    OutputFacts,
    SubscriberFacts,
    check_flow,
    check_outputs,
    check_pace,
    check_presence,
    check_state,
)
from depth_estimation_ros.doctor.run import info_topic, parse, run_model, running_model, usable
from depth_estimation_ros.doctor.scan_checks import ScanFacts, check_scan
from depth_estimation_ros.doctor.transform_checks import Edge, TransformFacts, check_transforms, rotation_matrix
from depth_estimation_ros.inference.predictor import Predictor
from depth_estimation_ros.mounting import optical_quaternion

DRIVER = PublisherFacts("/driver", True, "sensor_msgs/msg/Image")
IMAGE = ImageFacts(
    topic="/camera/image_raw",
    expected_type="sensor_msgs/msg/Image",
    publishers=(DRIVER,),
    rate_hz=29.7,
    encoding="rgb8",
    size=(480, 640),
    message_bytes=921_600,
    frame_id="lens",
    stamp_age_s=0.02,
)
K = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
CALIBRATION = Calibration(640, 480, K, np.zeros(5), np.eye(3), np.hstack([K, np.zeros((3, 1))]))
INFO = CalibrationFacts("/camera/camera_info", (DRIVER,), CALIBRATION, "lens", (480, 640), "lens")
VALUES = {
    "state": "active",
    "received": "100",
    "dropped (newer frame came)": "10",
    "stamp to publish p50 (ms)": "40.0",
    "stamp to publish p99 (ms)": "60.0",
    "last error": "none",
}
NODE = NodeFacts("/depth_estimation", "OK", "20.0 frames per second", VALUES, {"received": "0"})


def one(findings: list[Finding]) -> Finding:
    [finding] = findings
    return finding


def is_well(findings: list[Finding]) -> bool:
    return one(findings).level == "OK"


def names(findings: list[Finding], level: str, *words: str) -> bool:
    finding = one(findings)
    return finding.level == level and all(word in f"{finding.sentence} {finding.remedy}" for word in words)


def test_a_fault_has_a_remedy_and_nothing_else_has():
    with pytest.raises(ValueError, match="remedy"):
        Finding("ERROR", "it is broken")
    with pytest.raises(ValueError, match="remedy"):
        Finding("OK", "it is well", "do nothing")


def test_the_report_counts_and_only_errors_count_for_the_exit_status():
    findings = [Finding("OK", "a"), Finding("WARN", "b", "do c"), Finding("ERROR", "d", "do e")]
    assert to_text(findings).splitlines()[:3] == ["OK     a", "WARN   b", "       -> do c"]
    assert to_text(findings).endswith("errors: 1, warnings: 1, well: 1")
    assert [exit_status(findings[:count]) for count in (0, 1, 2, 3)] == [0, 0, 0, 1]


def test_publishers():
    assert is_well(check_publishers(IMAGE))
    nobody = replace(IMAGE, publishers=())
    assert names(check_publishers(nobody), "ERROR", "nobody publishes /camera/image_raw", "remap `image`")
    compressed = replace(IMAGE, publishers=(replace(DRIVER, message_type="sensor_msgs/msg/CompressedImage"),))
    renamed = "set image_transport to compressed and remap `image/compressed`: -r image/compressed:=/camera/image_raw"
    assert names(check_publishers(compressed), "ERROR", "CompressedImage", renamed)
    usual = replace(compressed, topic="/camera/image_raw/compressed")
    assert names(check_publishers(usual), "ERROR", "set image_transport to compressed, or remap `image` to the other")
    theora = replace(IMAGE, publishers=(replace(DRIVER, message_type="theora_image_transport/msg/Packet"),))
    assert names(check_publishers(theora), "ERROR", "theora_image_transport/msg/Packet", "republish")
    two = replace(IMAGE, publishers=(DRIVER, replace(DRIVER, node="/other")))
    assert names(check_publishers(two), "WARN", "2 publishers: /driver, /other")


def test_images():
    assert is_well(check_images(IMAGE, is_fastdds=True))
    silent = replace(IMAGE, encoding=None)
    assert names(check_images(silent, True), "ERROR", "no image came")
    lost = replace(silent, publishers=(replace(DRIVER, reliable=False),))
    assert names(check_images(lost, True), "ERROR", "no image came", "0.5 MB", "transport_profile", "driver's log")
    for other in (check_images(lost, False), check_images(silent, True)):
        assert "transport_profile" not in one(other).remedy
    assert check_images(replace(silent, publishers=()), True) == []  # that nobody publishes is said once
    assert names(check_images(replace(IMAGE, rate_hz=0.5), True), "WARN", "0.5 images per second")
    assert names(check_images(replace(IMAGE, rate_hz=None), True), "WARN", "one image")
    assert names(check_images(replace(IMAGE, stamp_age_s=-7.0), True), "WARN", "7.0 s ahead of", "chrony")
    assert names(check_images(replace(IMAGE, stamp_age_s=7.0), True), "WARN", "7.0 s behind")
    assert is_well(check_images(replace(IMAGE, stamp_age_s=None), True))


@pytest.mark.parametrize(
    ("message_bytes", "is_fastdds", "level"),
    [(921_600, True, "WARN"), (921_600, False, "OK"), (300_000, True, "OK")],
)
def test_large_best_effort_images_are_a_matter_of_the_middleware(message_bytes, is_fastdds, level):
    best_effort = replace(IMAGE, publishers=(replace(DRIVER, reliable=False),), message_bytes=message_bytes)
    finding = one(check_images(best_effort, is_fastdds))
    assert finding.level == level
    assert ("transport_profile --message-mb 0.9" in (finding.remedy or "")) == (level == "WARN")
    assert "best effort" in finding.sentence


def test_encoding():
    assert is_well(check_encoding(IMAGE))
    assert check_encoding(replace(IMAGE, encoding=None)) == []
    depth = replace(IMAGE, encoding="32FC1", size=None, decode_error="unknown")
    assert names(check_encoding(depth), "ERROR", "'32FC1'", "bgr8")
    short = replace(IMAGE, size=None, decode_error="data is truncated")
    assert names(check_encoding(short), "ERROR", "data is truncated")
    jpeg = replace(IMAGE, expected_type="sensor_msgs/msg/CompressedImage", encoding="jpeg")
    assert is_well(check_encoding(jpeg))


def test_calibration():
    assert is_well(check_calibration(INFO))
    nothing = replace(INFO, calibration=None)
    assert names(check_calibration(nothing), "ERROR", "nothing came on /camera/camera_info", "no cloud")
    assert names(check_calibration(replace(nothing, publishers=())), "ERROR", "nobody publishes")
    zero = replace(INFO, calibration=replace(CALIBRATION, k=np.zeros((3, 3))))
    assert names(check_calibration(zero), "ERROR", "K[0] is 0", "assumed_hfov_deg")
    assert names(check_calibration(replace(zero, assumed_hfov_deg=60.0)), "WARN", "60 degrees", "calibrate")
    other_frame = replace(INFO, frame_id="another")
    assert names(check_calibration(other_frame), "WARN", "'another'", "'lens'")
    two = replace(INFO, publishers=(*INFO.publishers, replace(INFO.publishers[0], node="/depth_estimation")))
    assert names(check_calibration(two), "WARN", "2 publishers: /depth_estimation, ")
    assert is_well(check_calibration(replace(INFO, image_size=None, image_frame_id=None)))


def test_calibration_of_another_size():
    smaller = replace(INFO, image_size=(240, 320))
    assert names(check_calibration(smaller), "WARN", "320x240", "640x480")
    cropped = replace(INFO, image_size=(360, 640))
    assert names(check_calibration(cropped), "ERROR", "another aspect")


def test_distortion_matters_only_where_it_is_undone():
    strange = replace(INFO, calibration=replace(CALIBRATION, distortion_model="wavy", d=np.ones(3)))
    assert names(check_calibration(strange), "ERROR", "'wavy'")
    assert is_well(check_calibration(replace(strange, input_rectified=True)))


def edges(**parents: str) -> dict[str, Edge]:
    return {child: Edge(parent, (0.0, 0.0, 0.0, 1.0)) for child, parent in parents.items()}


MOUNTED = {**edges(mast="base_link", base_link="odom"), "lens": Edge("mast", optical_quaternion(0.3))}


def test_transforms():
    facts = TransformFacts(MOUNTED, "lens", "base_link")
    assert is_well(check_transforms(facts))
    assert is_well(check_transforms(replace(facts, base_frame="odom")))
    assert is_well(check_transforms(replace(facts, base_frame="lens")))
    assert check_transforms(replace(facts, camera_frame=None)) == []
    assert names(check_transforms(replace(facts, camera_frame="")), "ERROR", "no frame_id", "optical_frame")
    assert names(check_transforms(replace(facts, edges=None)), "WARN", "tf2_msgs")
    assert names(check_transforms(replace(facts, edges={})), "WARN", "there is no tf", "camera_height")
    unknown = replace(facts, camera_frame="eye")
    assert names(check_transforms(unknown), "ERROR", "tf does not know 'eye'", "base_link, lens, mast, odom")
    apart = replace(facts, edges=edges(lens="mast", base_link="odom"))
    assert names(check_transforms(apart), "ERROR", "separate trees")


def test_a_body_frame_is_told_from_an_optical_one():
    body = TransformFacts(edges(lens="base_link"), "lens", "base_link")
    assert names(check_transforms(body), "WARN", "'lens' hardly is an optical frame", "REP 103")
    # The same where the base itself lies on its side in the tree's root.
    side = {"base_link": Edge("map", (0.5, 0.5, 0.5, 0.5)), "lens": Edge("base_link", (0.0, 0.0, 0.0, 1.0))}
    assert names(check_transforms(replace(body, edges=side)), "WARN", "hardly is an optical frame")
    side["lens"] = Edge("base_link", optical_quaternion(0.0))
    assert is_well(check_transforms(replace(body, edges=side)))


def test_a_loop_in_tf_ends():
    loop = TransformFacts(edges(lens="mast", mast="lens"), "lens", "base_link")
    assert names(check_transforms(loop), "ERROR", "tf does not know 'base_link'")


def test_rotation_of_a_quarter_turn():
    half = np.sqrt(0.5)
    np.testing.assert_allclose(rotation_matrix((0, 0, half, half)) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(rotation_matrix((0, 0, 3, 3)) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_array_equal(rotation_matrix((0, 0, 0, 0)), np.eye(3))


def test_presence():
    assert [finding.level for finding in check_presence(["/a", "/b"])] == ["OK", "OK"]
    assert names(check_presence([]), "ERROR", "no depth node", "ROS_DOMAIN_ID")


def node(level: str = "OK", message: str = "", **values: str) -> NodeFacts:
    return replace(NODE, level=level, message=message, values={**VALUES, **values})


def test_state():
    assert is_well(check_state(NODE))
    assert names(check_state(node("ERROR", "configure failed: no model")), "ERROR", "configure failed: no model")
    assert names(check_state(node(state="inactive")), "ERROR", "is inactive", "ros2 lifecycle set", "activate")
    assert names(check_state(node(state="unconfigured")), "ERROR", "configure")
    assert names(check_state(node("WARN", "no image for 5 s")), "WARN", "no image for 5 s")


def test_flow():
    assert names(check_flow(NODE, True, 50, 5.0), "OK", "10.0 depth images per second")
    stuck = node(**{"last error": "data is truncated"})
    assert names(check_flow(stuck, True, 0, 5.0), "ERROR", "no depth came out", "data is truncated")
    assert check_flow(NODE, False, 0, 5.0) == []
    assert check_flow(node(state="inactive"), True, 0, 5.0) == []


def test_pace():
    assert names(check_pace(NODE), "OK", "40.0 ms", "60.0 ms", "10 of 100 dropped")
    assert names(check_pace(node(**{"stamp to publish p99 (ms)": "900.0"})), "WARN", "900 ms old")
    assert names(check_pace(node(**{"dropped (newer frame came)": "80"})), "WARN", "80 of 100")
    assert check_pace(node(**{"stamp to publish p99 (ms)": "unknown"})) == []
    stale = {"stamp to publish p99 (ms)": "90000.0", "image age on arrival (s)": "89.950"}
    assert check_pace(node(**stale)) == []  # the camera's stamps are at fault, and that is said of them
    # What was dropped before the doctor came does not count.
    before = replace(NODE, values={**VALUES, "dropped (newer frame came)": "80"}, earlier={**VALUES, "received": "0"})
    assert is_well(check_pace(replace(before, earlier={"received": "0", "dropped (newer frame came)": "75"})))


def test_outputs():
    heard = OutputFacts("/depth/points", (SubscriberFacts("/costmap"),))
    assert names(check_outputs([heard]), "OK", "/depth/points by /costmap")
    assert names(check_outputs([OutputFacts("/depth/points", ())]), "OK", "nobody else subscribes")
    assert check_outputs([]) == []
    deaf = OutputFacts("/depth/points", (SubscriberFacts("/rviz", "durability differs"), SubscriberFacts("/costmap")))
    assert names(check_outputs([heard, deaf]), "ERROR", "/rviz", "durability differs", "volatile")


SCAN = ScanFacts(
    topic="/scan",
    subscribers=("/costmap",),
    mounting="camera_height and camera_pitch",
    scan_count=50,
    known_share=0.9,
    frame_id="lens_scan",
    camera_frame="lens",
    edges={**MOUNTED, **edges(lens_scan="base_link")},
)


def test_scan():
    assert names(check_scan(SCAN), "OK", "/scan", "'lens_scan'", "90%")
    assert is_well(check_scan(replace(SCAN, edges={})))
    assert is_well(check_scan(replace(SCAN, subscribers=(), mounting="scan.frame")))
    assert check_scan(replace(SCAN, scan_count=None)) == []  # that no image came is said of the camera
    lidar = replace(SCAN, other_publishers=("/lidar",))
    assert names(check_scan(lidar), "WARN", "/lidar publishes /scan", "-r scan:=")
    assert names(check_scan(replace(SCAN, scan_count=0)), "ERROR", "no scan comes on /scan", "camera_height")
    assert names(check_scan(replace(SCAN, known_share=0.02)), "WARN", "98% of the beams", "scan.min_height")


def test_a_scan_that_nobody_wants_is_no_fault():
    unplaced = replace(SCAN, mounting="", scan_count=0)
    assert names(check_scan(unplaced), "ERROR", "/costmap listens to /scan", "scan.frame")
    assert check_scan(replace(unplaced, subscribers=())) == []
    assert check_scan(replace(SCAN, subscribers=(), edges=MOUNTED)) == []
    assert check_scan(replace(unplaced, other_publishers=("/lidar",))) == []  # they listen to the lidar


def test_the_frame_of_a_scan_must_be_placed():
    lost = replace(SCAN, edges=MOUNTED)
    assert names(check_scan(lost), "ERROR", "'lens_scan'", "static_transform_publisher", "--child-frame-id lens_scan")
    assert is_well(check_scan(replace(SCAN, edges=None)))


def test_transport(tmp_path):
    assert names(check_transport("rmw_cyclonedds_cpp", {}), "OK", "rmw_cyclonedds_cpp")
    assert is_well(check_transport("rmw_fastrtps_cpp", {}, tmp_path))  # a disk has more than enough
    full = check_transport("rmw_fastrtps_cpp", {}, tmp_path / "absent")
    assert names(full, "WARN", "cannot be used", "/dev/shm")
    profile = tmp_path / "own.xml"
    chosen = {"FASTDDS_DEFAULT_PROFILES_FILE": str(profile)}
    assert names(check_transport("rmw_fastrtps_cpp", chosen), "ERROR", "own.xml, which is no file")
    profile.touch()
    assert names(check_transport("rmw_fastrtps_cpp", chosen), "OK", "your own transport", "own.xml")
    built_in = {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"}
    assert names(check_transport("rmw_fastrtps_cpp", built_in), "OK", "FASTDDS_BUILTIN_TRANSPORTS is LARGE_DATA")


def test_a_small_shared_memory_is_named_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=3 * 2**20))
    assert names(check_transport("rmw_fastrtps_cpp", {}, tmp_path), "WARN", "3 MB free", "--shm-size")


def test_model():
    well = ModelFacts("default", None, "depth", "cpu", "onnxruntime", 17.0)
    assert names(check_model(well), "OK", "depth runs on cpu by onnxruntime: 17 ms")
    absent = replace(well, model="models/mine.onnx", error="it does not exist")
    assert names(check_model(absent), "ERROR", "'models/mine.onnx'", "it does not exist")
    running = running_model({"model": "mine", "device": "cuda:0", "backend": "torch"})
    assert names(check_model(absent, running), "WARN", "the node runs model mine on cuda:0 by torch", "does not exist")
    assert running_model({"image topic": "/image"}) == ""
    idle_gpu = replace(well, has_nvidia_gpu=True)
    assert names(check_model(idle_gpu), "WARN", "NVIDIA GPU", "onnxruntime-gpu")
    assert is_well(check_model(replace(idle_gpu, asked_device="cpu")))
    assert is_well(check_model(replace(idle_gpu, device="cuda")))


def test_a_model_is_really_run(tmp_path, monkeypatch):
    sizes = []
    predict = Predictor.predict
    monkeypatch.setattr(
        Predictor, "predict", lambda self, image_rgb: sizes.append(image_rgb.shape) or predict(self, image_rgb)
    )
    facts = run_model("default", "cpu", "auto", 1)
    assert sizes == [(240, 320, 3)] * 2  # the second one is timed
    assert (facts.error, facts.device, facts.backend) == (None, "cpu", "onnxruntime")
    assert facts.run_ms > 0
    empty = tmp_path / "empty.onnx"
    empty.touch()
    assert "is empty" in (run_model(str(empty), "cpu", "auto", 1).error or "")


def test_what_the_doctor_itself_lacks_is_a_finding(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "depth_estimation_ros.doctor.run", None)
    monkeypatch.delattr("depth_estimation_ros.doctor.run")
    assert command.main([]) == 1
    report = capsys.readouterr().out
    assert report.startswith("ERROR  the package cannot be imported whole")
    assert "rosdep install" in report


def test_load():
    assert is_well(check_load(1.0, 2))
    assert names(check_load(8.0, 4), "WARN", "8.0 on 4 cores", "max_rate")


@pytest.mark.parametrize(
    ("values", "topic"),
    [
        ({"image topic": "/a/image"}, "/a/camera_info"),
        ({"image topic": "/a/image/compressed"}, "/a/camera_info"),
        ({"image topic": "/a/image", "subscribed to /a/image": "x", "subscribed to /b/info": "x"}, "/b/info"),
    ],
)
def test_the_calibration_is_looked_for_where_the_node_looks(values, topic):
    assert info_topic(values) == topic


def test_a_parameter_that_breaks_its_rule_does_not_break_the_doctor():
    given = {"assumed_hfov_deg": "wide", "input_rectified": True, "model": "mine", "use_sim_time": True}
    assert usable(given) == {"input_rectified": "true", "model": "mine", "use_sim_time": True}


def test_the_command_line():
    assert vars(parse([])) == {"base": "base_link", "image": "", "seconds": 5.0}
    assert parse(["--base", "map"]).base == "map"


def test_transforms_are_read_from_the_message():
    collector = pytest.importorskip("depth_estimation_ros.doctor.collector", reason="needs ROS 2, or the ros extra")
    turn = SimpleNamespace(x=0.1, y=0.2, z=0.3, w=0.4)
    transform = SimpleNamespace(
        header=SimpleNamespace(frame_id="/base_link"),
        child_frame_id="lens",
        transform=SimpleNamespace(rotation=turn),
    )
    assert collector.edges_of(SimpleNamespace(transforms=[transform])) == {
        "lens": Edge("base_link", (0.1, 0.2, 0.3, 0.4))
    }
