"""Parameters over the real services, and a clock that jumps back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters, SetParametersAtomically
from robot_harness import Camera, depth_of, nanoseconds, points_of
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, PointCloud2

FIELDS = {
    bool: ("bool_value", ParameterType.PARAMETER_BOOL),
    int: ("integer_value", ParameterType.PARAMETER_INTEGER),
    float: ("double_value", ParameterType.PARAMETER_DOUBLE),
    str: ("string_value", ParameterType.PARAMETER_STRING),
}


def as_messages(values: dict) -> list[Parameter]:
    messages = []
    for name, value in values.items():
        field, kind = FIELDS[type(value)]
        messages.append(Parameter(name=name, value=ParameterValue(type=kind, **{field: value})))
    return messages


def set_together(robot, **values):
    request = SetParametersAtomically.Request(parameters=as_messages(values))
    return robot.call(SetParametersAtomically, "/depth_estimation/set_parameters_atomically", request).result


def get(robot, *names) -> list[ParameterValue]:
    request = GetParameters.Request(names=list(names))
    return robot.call(GetParameters, "/depth_estimation/get_parameters", request).values


def test_live_changes_show_in_the_next_frame_and_refused_ones_leave_the_old(robot):
    depths = robot.listen(Image, "/depth/image_rect")
    robot.start(parameters={"max_range": 5})
    camera = Camera(robot)
    camera.connect(depths)
    assert get(robot, "max_range")[0].double_value == 5.0

    assert set_together(robot, scale=2.0, max_range=6, depth_encoding="16UC1").successful
    camera.send_until(lambda: depths[-1:] and depths[-1].encoding == "16UC1", "the new encoding")
    depth_mm = 2 * np.rint(camera.depth_m() * 1000)
    np.testing.assert_allclose(depth_of(depths[-1]), np.where(depth_mm <= 6000, depth_mm, 0), atol=1)

    refused = [
        ({"min_range": 7.0}, "min_range is 7 and max_range 6"),
        ({"scale": 0.0}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"scale": float("inf")}, "scale"),
        ({"scale": "big"}, "scale is 'big'"),
        ({"depth_encoding": "8UC1"}, "'32FC1' or '16UC1'"),
        ({"autostart": False}, "read-only"),
        ({"model": 3}, "model is 3: it must be text"),
    ]
    for values, words in refused:
        result = set_together(robot, **values)
        assert not result.successful
        assert words in result.reason
        assert "\n" not in result.reason
    scale, min_range, encoding = get(robot, "scale", "min_range", "depth_encoding")
    if hasattr(robot.node, "add_pre_set_parameters_callback"):  # without it the whole number is kept, and taken as well
        [max_range] = get(robot, "max_range")
        assert (max_range.type, max_range.double_value) == (ParameterType.PARAMETER_DOUBLE, 6.0)
    assert (scale.double_value, min_range.double_value, encoding.string_value) == (2.0, 0.0, "16UC1")
    depths.clear()
    camera.send()
    robot.wait_until(lambda: depths, "frames go on")
    np.testing.assert_allclose(depth_of(depths[-1]), np.where(depth_mm <= 6000, depth_mm, 0), atol=1)


def test_min_confidence_masks_depth_and_cloud_from_the_next_frame_on(robot):
    depths, confidences = robot.listen(Image, "/depth/image_rect"), robot.listen(Image, "/depth/confidence")
    clouds = robot.listen(PointCloud2, "/depth/points")
    listeners = (depths, confidences, clouds)
    robot.start(sigma=[0.1] * 80 + [0.5] * 80)  # per column
    camera = Camera(robot)
    camera.connect(*listeners)
    within_a_quarter = [math.erf(math.log(1.25) / sigma / math.sqrt(2)) for sigma in (0.1, 0.5)]
    for threshold, is_masked in ((0.0, False), (0.5, True), (0.2, False)):
        assert set_together(robot, min_confidence=threshold).successful
        assert not set_together(robot, min_confidence=1.5).successful
        stamp_ns = camera.send()
        robot.wait_until(lambda ns=stamp_ns: all(one and nanoseconds(one[-1]) == ns for one in listeners), "that frame")
        expected_m = camera.depth_m()
        if is_masked:
            expected_m[:, 80:] = np.nan
        np.testing.assert_allclose(depth_of(depths[-1]), expected_m, atol=6e-4)
        is_known = np.isfinite(points_of(clouds[-1])).all(axis=-1)
        np.testing.assert_array_equal(is_known, np.isfinite(expected_m)[1::2, 1::2])
        np.testing.assert_allclose(depth_of(confidences[-1])[:, [0, -1]], [within_a_quarter] * 120, atol=1e-5)


def test_what_is_refused_with_another_parameter_is_not_applied(robot):
    depths = robot.listen(Image, "/depth/image_rect")
    if not hasattr(robot.node, "add_post_set_parameters_callback"):
        pytest.skip("Humble applies what another callback refuses later")
    robot.start(refuses=["points.stride", 3])
    camera = Camera(robot)
    camera.connect(depths)
    result = set_together(robot, scale=2.0, **{"points.stride": 3})
    assert not result.successful
    assert get(robot, "scale")[0].double_value == 1.0
    camera.send()
    robot.wait_until(lambda: depths, "frames go on")
    np.testing.assert_allclose(depth_of(depths[-1]), camera.depth_m(), atol=6e-4)


def test_every_parameter_is_described(robot):
    robot.start()
    robot.wait_for_state("active")
    names = ["max_range", "points.stride", "model", "depth_encoding", "autostart"]
    request = DescribeParameters.Request(names=names)
    answer = robot.call(DescribeParameters, "/depth_estimation/describe_parameters", request)
    max_range, stride, model, encoding, autostart = answer.descriptors
    assert all(descriptor.description for descriptor in answer.descriptors)
    assert max_range.floating_point_range[0].to_value == 1000.0
    assert (stride.integer_range[0].from_value, stride.type) == (1, ParameterType.PARAMETER_INTEGER)
    assert "next configure" in model.description
    assert "16UC1" in encoding.additional_constraints
    assert autostart.read_only


@pytest.mark.parametrize("value", [-1.0, "x"])
def test_a_value_that_is_wrong_from_the_start_can_be_corrected(robot, value):
    robot.start(parameters={"scale": value, "autostart": False})
    robot.wait_for_state("unconfigured")
    request = SetParameters.Request(parameters=as_messages({"scale": 3.0}))
    assert robot.call(SetParameters, "/depth_estimation/set_parameters", request).results[0].successful


def test_simulated_time_that_jumps_back(robot):
    depths = robot.listen(Image, "/depth/image_rect")
    robot.start(parameters={"use_sim_time": True})
    clock = robot.node.create_publisher(Clock, "/clock", 10)
    camera = Camera(robot)
    for start_s in (5000, 1000):  # a bag that starts over
        now_ns = [start_s * 10**9]

        def stamp(now_ns=now_ns) -> Time:
            now_ns[0] += 10**8
            clock.publish(Clock(clock=Time(sec=now_ns[0] // 10**9, nanosec=now_ns[0] % 10**9)))
            sent_ns = now_ns[0] - 3 * 10**7
            return Time(sec=sent_ns // 10**9, nanosec=sent_ns % 10**9)

        camera.stamp = stamp
        depths.clear()
        camera.send_until(
            lambda start_s=start_s: depths and start_s <= nanoseconds(depths[-1]) / 1e9 < start_s + 1000,
            "depth with the simulation's stamps",
        )
    p99_ms = "stamp to publish p99 (ms)"
    camera.send_until(lambda: robot.value(p99_ms) not in (None, "unknown"), "latency by the simulated clock")
    assert 0 <= float(robot.values[p99_ms]) < 5e6
