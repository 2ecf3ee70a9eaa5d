"""Several cameras in one node: topics of their own, one model, and none that holds up or starves another."""

from __future__ import annotations

import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from robot_harness import BEST_EFFORT, RELIABLE, Camera, depth_of, nanoseconds, points_of
from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2

NAMES = ("front", "left", "right")
LIST = "[front, left, right]"


def cameras_of(robot) -> dict[str, Camera]:
    return {name: Camera(robot, f"/{name}/image", f"/{name}/camera_info", frame_id=f"{name}_optical") for name in NAMES}


def send_until(robot, cameras, condition, what: str) -> None:
    """All of them live, each at its own pace."""
    next_s = dict.fromkeys(cameras, 0.0)

    def sent_and_true() -> bool:
        for number, (name, camera) in enumerate(cameras.items()):
            if time.monotonic() >= next_s[name]:
                next_s[name] = time.monotonic() + 0.03 * (number + 1)
                camera.send()
        return condition()

    robot.wait_until(sent_and_true, what)


def distance_to_plane_m(points: np.ndarray, plane: tuple[float, ...]) -> float:
    normal, distance = np.array(plane[:3]), plane[3]
    return float((np.abs(points.reshape(-1, 3) @ normal - distance) / np.linalg.norm(normal)).max())


def test_each_camera_has_its_own_topics_calibration_and_status_and_the_model_is_loaded_once(robot):
    outputs = {
        name: [
            robot.listen(Image, f"/{name}/depth/image_rect"),
            robot.listen(CameraInfo, f"/{name}/depth/camera_info"),
            robot.listen(PointCloud2, f"/{name}/depth/points"),
        ]
        for name in NAMES
    }
    node = robot.start(parameters={"cameras": LIST})
    cameras = cameras_of(robot)
    cameras["left"].k, cameras["left"].plane = (130.0, 130.0, 70.0, 50.0), (0.2, -0.3, 1.0, 3.0)
    cameras["right"].size, cameras["right"].k = (96, 128), (120.0, 120.0, 63.5, 47.5)

    def have_come() -> bool:
        """A cloud of each camera, which needs the calibration, and the rest of the same frame."""
        return all(
            all(listeners) and len({nanoseconds(listener[-1]) for listener in listeners}) == 1
            for listeners in (outputs[name] for name in NAMES)
        )

    send_until(robot, cameras, have_come, "all outputs of all cameras")
    for name, camera in cameras.items():
        _, infos, clouds = outputs[name]
        assert {msg.header.frame_id for listener in outputs[name] for msg in listener} == {f"{name}_optical"}
        assert infos[-1].k[2] == pytest.approx((camera.k[2] + 0.5) * infos[-1].width / camera.size[1] - 0.5)
        if name != "right":  # which is resized, so that its bytes no longer say the depth
            assert distance_to_plane_m(points_of(clouds[-1]), camera.plane) < 1e-3
    assert node.output.count("the double is loaded") == 1

    def is_well() -> bool:
        if not all(map(robot.status, ("", *NAMES))):
            return False
        counts = [int(robot.values_of(name)["published"]) for name in NAMES]
        return all(counts) and robot.status("").level == DiagnosticStatus.OK

    send_until(robot, cameras, is_well, "all is well, and counted")
    assert robot.values_of("")["model"] == "plane double"
    for name in NAMES:
        assert robot.values_of(name)["image topic"] == f"/{name}/image"
    unnamed = {"/image", "/camera_info", "/depth/image_rect", "/depth/camera_info", "/depth/points"}
    assert not unnamed & {topic for topic, _ in robot.node.get_topic_names_and_types()}


def test_a_remapped_image_moves_its_camera_info_and_no_other_cameras(robot):
    clouds = {name: robot.listen(PointCloud2, f"/{name}/depth/points", BEST_EFFORT) for name in NAMES}
    robot.start(
        parameters={
            "cameras": LIST,
            "qos_overrides./left/depth/points.publisher.reliability": "best_effort",
            "qos_overrides./right/image.subscription.reliability": "best_effort",
        },
        remaps={"front/image": "/driver/colour/image_raw", "right/camera_info": "/calibration"},
    )
    cameras = cameras_of(robot)
    cameras["front"] = Camera(robot, "/driver/colour/image_raw", "/driver/colour/camera_info")
    cameras["right"] = Camera(robot, "/right/image", "/calibration")
    send_until(robot, cameras, lambda: all(clouds.values()), "a cloud, which needs the calibration, of each")

    def reliabilities(infos) -> list:
        return [info.qos_profile.reliability for info in infos]

    node = robot.node
    offered = {name: reliabilities(node.get_publishers_info_by_topic(f"/{name}/depth/points")) for name in NAMES}
    assert offered == {"front": [RELIABLE], "left": [BEST_EFFORT], "right": [RELIABLE]}
    assert reliabilities(node.get_subscriptions_info_by_topic("/left/image")) == [RELIABLE]
    assert reliabilities(node.get_subscriptions_info_by_topic("/right/image")) == [BEST_EFFORT]


def test_a_dead_camera_and_one_without_calibration_hold_up_no_other(robot):
    depths = {name: robot.listen(Image, f"/{name}/depth/image_rect") for name in NAMES}
    robot.start(parameters={"cameras": LIST})
    cameras = cameras_of(robot)
    right = cameras["right"]
    right.send = lambda: right.images.publish(right.image())
    del cameras["left"]

    def warned() -> bool:
        status = robot.status("")
        return (
            status is not None
            and status.level == DiagnosticStatus.WARN
            and "left: no image on /left/image" in status.message
            and "right: no CameraInfo has arrived" in status.message
            and "front" not in status.message
        )

    send_until(robot, cameras, warned, "the node names both")
    send_until(robot, cameras, lambda: depths["front"] and depths["right"], "depth of the living")
    assert depths["left"] == []
    assert robot.values_of("right")["CameraInfo"] == "none has come"
    robot.node.destroy_publisher(right.infos)
    send_until(robot, cameras, lambda: "remap right/camera_info" in robot.status("right").message, "what to remap")

    def front_is_well() -> bool:
        own = robot.values_of("front")["CameraInfo"] == "the image's own stamp"
        return own and robot.status("front").level == DiagnosticStatus.OK

    send_until(robot, cameras, front_is_well, "nothing is said of the one that is whole")
    robot.wait_until(lambda: robot.status("").level == DiagnosticStatus.ERROR, "an error once none of them lives")
    assert all(f"{name}: no image" in robot.status("").message for name in NAMES)


def test_cameras_faster_than_the_network_share_it_evenly_and_each_frame_is_counted(robot):
    depths = {name: robot.listen(Image, f"/{name}/depth/image_rect") for name in NAMES}
    robot.start(parameters={"cameras": LIST}, infer_s=0.15)
    cameras = cameras_of(robot)  # 33, 17 and 11 frames per second, where the network has time for 7 in all
    send_until(robot, cameras, lambda: all(depths.values()), "depth of each")
    for listener in depths.values():
        listener.clear()
    send_until(robot, cameras, lambda: sum(map(len, depths.values())) >= 24, "24 more frames")
    counts = {name: len(listener) for name, listener in depths.items()}
    assert max(counts.values()) - min(counts.values()) <= 3, counts

    def is_settled() -> bool:
        values = [robot.values_of(name) for name in NAMES]
        kinds = ("published", "dropped (newer frame came)", "unwatched (no subscriber)", "rejected")
        return all(int(one["received"]) == sum(int(one[kind]) for kind in kinds) for one in values)

    robot.statuses.clear()
    robot.wait_until(lambda: all(map(robot.status, NAMES)) and is_settled(), "all frames are accounted for")
    for name, listener in depths.items():
        stamps_ns = [nanoseconds(msg) for msg in listener]
        assert stamps_ns == sorted(set(stamps_ns))
        assert int(robot.values_of(name)["dropped (newer frame came)"]) > 0


def test_a_camera_may_have_a_scale_and_a_mounting_of_its_own_and_both_change_live(robot):
    depths = {name: robot.listen(Image, f"/{name}/depth/image_rect") for name in NAMES}
    scans = {name: robot.listen(LaserScan, f"/{name}/scan") for name in NAMES}
    own = {"left.scale": 2, "right.optical_frame": "eye", "front.camera_height": 0.5, "left.camera_height": 0.7}
    robot.start(parameters={"cameras": LIST, "scale": 1.5, **own})
    cameras = cameras_of(robot)

    def ratio(name: str) -> float:
        return float(np.median(depth_of(depths[name][-1]) / cameras[name].depth_m()))

    def have_come() -> bool:
        return all(depths.values()) and bool(scans["front"] and scans["left"])

    send_until(robot, cameras, have_come, "depth of each, and the scans of those that stand somewhere")
    assert [ratio(name) for name in NAMES] == pytest.approx([1.5, 2.0, 1.5], rel=1e-3)
    assert {name: msgs[-1].header.frame_id for name, msgs in depths.items()} == {
        "front": "front_optical",
        "left": "left_optical",
        "right": "eye",
    }
    assert scans["right"] == []
    reason = "right: the camera's place over the floor is unknown"
    # Depth may be here before the diagnostics that were written after it.
    robot.wait_until(lambda: reason in robot.status("").message, "the reason why one gives no scan")

    def set_number(name: str, value: float):
        number = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value)
        request = SetParameters.Request(parameters=[Parameter(name=name, value=number)])
        return robot.call(SetParameters, "/depth_estimation/set_parameters", request).results[0]

    assert set_number("front.scale", 0.8).successful
    assert "left.scale" in set_number("left.scale", 0.0).reason
    assert set_number("scale", 1.2).successful
    for listener in depths.values():
        listener.clear()
    expected = pytest.approx([0.8, 2.0, 1.2], rel=1e-3)
    send_until(
        robot, cameras, lambda: all(depths.values()) and [ratio(name) for name in NAMES] == expected, "the new scales"
    )
    request = DescribeParameters.Request(names=["front.scale", "right.camera_pitch"])
    scale, pitch = robot.call(DescribeParameters, "/depth_estimation/describe_parameters", request).descriptors
    assert "in place of scale" in scale.description
    assert (scale.floating_point_range[0].to_value, pitch.floating_point_range[0].to_value) == (100.0, 90.0)

    if not hasattr(robot.node, "add_post_set_parameters_callback"):
        return  # Humble: what is deleted is declared again on the next configure
    deleted = SetParameters.Request(parameters=[Parameter(name="left.scale")])  # as `ros2 param delete` does
    assert robot.call(SetParameters, "/depth_estimation/set_parameters", deleted).results[0].successful
    send_until(robot, cameras, lambda: ratio("left") == pytest.approx(1.2, rel=1e-3), "the scale that holds for all")
    assert set_number("left.scale", 0.9).successful


def test_the_list_changes_on_the_next_configure(robot):
    node = robot.start(parameters={"autostart": False, "cameras": "[front, left]"})

    def change_state(transition: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return robot.call(ChangeState, "/depth_estimation/change_state", request).success

    def set_list(*names: str):
        value = ParameterValue(type=ParameterType.PARAMETER_STRING_ARRAY, string_array_value=list(names))
        request = SetParameters.Request(parameters=[Parameter(name="cameras", value=value)])
        return robot.call(SetParameters, "/depth_estimation/set_parameters", request).results[0]

    def advertised() -> set[str]:
        names = ("", "/front", "/left", "/right")
        return {name for name in names if robot.node.count_publishers(f"{name}/depth/points")}

    assert change_state(Transition.TRANSITION_CONFIGURE)
    robot.wait_until(lambda: advertised() == {"/front", "/left"}, "the outputs of both")
    assert "cameras is ['a b']" in set_list("a b").reason
    assert set_list("right", "front").successful
    robot.wait_until(lambda: "cameras takes effect on the next configure" in node.output, "it says when")
    assert advertised() == {"/front", "/left"}
    assert change_state(Transition.TRANSITION_CLEANUP)
    assert change_state(Transition.TRANSITION_CONFIGURE)
    robot.wait_until(lambda: advertised() == {"/front", "/right"}, "the outputs of the new list")
    assert change_state(Transition.TRANSITION_CLEANUP)
    assert set_list().successful
    assert change_state(Transition.TRANSITION_CONFIGURE)
    robot.wait_until(lambda: advertised() == {""}, "one camera without a namespace")


def test_what_a_dump_of_the_parameters_says_of_unset_ones_is_unset_again(robot):
    """rcl reads its null as a text, and `ros2 param load` sends None as one."""
    unset = {"front.scale": "'null'", "front.optical_frame": "null", "front.scan.frame": "None", "left.scale": 0.9}
    robot.start(parameters={"cameras": "[front, left]", "scale": 1.2, **unset})
    robot.wait_for_state("active")

    def values(*names: str) -> list:
        request = GetParameters.Request(names=list(names))
        return robot.call(GetParameters, "/depth_estimation/get_parameters", request).values

    def types(*names: str) -> list[int]:
        return [value.type for value in values(*names)]

    not_set, names = ParameterType.PARAMETER_NOT_SET, ("front.scale", "front.optical_frame", "front.scan.frame")
    assert types(*names) == [not_set] * 3
    assert values("left.scale")[0].double_value == 0.9
    if not hasattr(robot.node, "add_pre_set_parameters_callback"):
        return
    text = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value="None")
    request = SetParameters.Request(parameters=[Parameter(name=name, value=text) for name in (*names, "left.scale")])
    results = robot.call(SetParameters, "/depth_estimation/set_parameters", request).results
    assert [result.successful for result in results] == [True] * 4, results
    assert types(*names, "left.scale") == [not_set] * 4


def test_a_wrong_value_of_a_camera_that_comes_later_is_named_and_can_be_corrected(robot):
    node = robot.start(parameters={"autostart": False, "front.scale": 500.0})

    def configure() -> bool:
        request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
        return robot.call(ChangeState, "/depth_estimation/change_state", request).success

    def set_value(name: str, **value) -> bool:
        request = SetParameters.Request(parameters=[Parameter(name=name, value=ParameterValue(**value))])
        return robot.call(SetParameters, "/depth_estimation/set_parameters", request).results[0].successful

    assert set_value("cameras", type=ParameterType.PARAMETER_STRING_ARRAY, string_array_value=["front"])
    assert not configure()
    assert "configure failed: front.scale is 500" in node.output
    assert set_value("front.scale", type=ParameterType.PARAMETER_DOUBLE, double_value=1.0)
    assert configure()


def test_two_cameras_may_share_a_scan_topic(robot):
    scans = robot.listen(LaserScan, "/scan")
    robot.start(
        parameters={"cameras": "[front, left]", "camera_height": 0.5},
        remaps={"front/scan": "/scan", "left/scan": "/scan"},
    )
    cameras = {name: camera for name, camera in cameras_of(robot).items() if name != "right"}
    send_until(
        robot,
        cameras,
        lambda: len({msg.header.frame_id for msg in scans}) == 2,
        "a scan of each, in frames of their own",
    )


def test_an_empty_list_in_a_file_is_one_camera(robot, tmp_path):
    file = tmp_path / "depth.yaml"
    file.write_text("/**:\n  ros__parameters:\n    cameras: []\n")
    clouds = robot.listen(PointCloud2, "/depth/points")
    robot.start(extra=("--params-file", str(file)))
    Camera(robot).connect(clouds)
