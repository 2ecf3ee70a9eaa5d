"""Each rule by its edges, the neighbouring types, and what changes live."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depth_estimation_ros.parameter_rule import ParameterError
from depth_estimation_ros.parameters import RULES, Parameters, own_rules, refusal

DEFAULTS = {name: rule.default for name, rule in RULES.items()}


def test_every_field_has_one_rule_and_its_default_keeps_it():
    assert len(RULES) == len(fields(Parameters))
    assert Parameters.from_values(DEFAULTS) == Parameters()
    assert all(rule.description.endswith(".") for rule in RULES.values())


def test_values_go_to_their_fields():
    parameters = Parameters.from_values({"points.stride": 4, "scale": 1.5, "input_rectified": "true"})
    assert (parameters.points_stride, parameters.scale, parameters.input_rectified) == (4, 1.5, "true")


def test_an_integer_passes_for_a_float():
    max_range = Parameters.from_values({"max_range": 5}).max_range
    assert max_range == 5.0
    assert type(max_range) is float


def test_a_yaml_switch_passes_for_the_text_it_reads_like():
    assert Parameters.from_values({"input_rectified": True}).input_rectified == "true"
    assert Parameters.from_values({"input_rectified": False}).input_rectified == "false"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_range", "5"),
        ("max_range", True),
        ("max_range", None),
        ("max_range", [5.0]),
        ("points.stride", 2.0),
        ("points.stride", True),
        ("points.color", 1),
        ("points.color", "true"),
        ("model", 5),
        ("depth_encoding", True),
        ("depth_encoding", "32fc1"),
        ("image_transport", "theora"),
        ("autostart", "yes"),
    ],
)
def test_another_type_or_text_is_refused_with_name_and_value(name, value):
    with pytest.raises(ParameterError) as refused:
        Parameters.from_values({name: value})
    assert str(refused.value).startswith(f"{name} is {value!r}: it must be ")


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.least is not None])
def test_both_ends_of_a_range_are_inside_and_what_is_next_to_them_is_not(name):
    rule = RULES[name]
    is_float = type(rule.default) is float
    for end, outward in ((rule.least, -1), (rule.greatest, 1)):
        beyond = math.nextafter(end, outward * math.inf) if is_float else int(end) + outward
        assert rule.check(type(rule.default)(end)) == end
        with pytest.raises(ParameterError, match=r"must be a (whole )?number from"):
            rule.check(beyond)
    if is_float:
        for value in (math.nan, math.inf, -math.inf):
            with pytest.raises(ParameterError):
                rule.check(value)


def test_all_that_is_wrong_is_named_at_once():
    with pytest.raises(ParameterError) as refused:
        Parameters.from_values({"scale": -1.0, "points.stride": 0, "max_range": 3.0})
    assert "scale is -1.0" in str(refused.value)
    assert "points.stride is 0" in str(refused.value)
    assert "max_range" not in str(refused.value)


@given(st.floats(0.01, 999), st.floats(0.01, 999))
def test_the_ranges_must_be_in_order(min_range, max_range):
    values = {"min_range": min_range, "max_range": max_range}
    if min_range < max_range:
        assert Parameters.from_values(values).max_range == max_range
    else:
        with pytest.raises(ParameterError, match="min_range must be the lower one"):
            Parameters.from_values(values)


@given(st.floats(-10, 100), st.floats(-10, 100))
def test_the_heights_of_the_scan_must_be_in_order(min_height, max_height):
    values = {"scan.min_height": min_height, "scan.max_height": max_height}
    if min_height < max_height:
        assert Parameters.from_values(values).scan_max_height == max_height
    else:
        with pytest.raises(ParameterError, match=r"scan\.min_height must be the lower one"):
            Parameters.from_values(values)
    current = {**DEFAULTS, "scan.min_height": 1.0}
    assert "scan.min_height is 1 and" in (refusal({"scan.max_height": 0.5}, current) or "")


def test_a_change_is_judged_beside_the_values_it_meets():
    current = {**DEFAULTS, "min_range": 2.0}
    assert refusal({"max_range": 3}, current) is None
    assert "min_range is 2 and max_range 1" in (refusal({"max_range": 1.0}, current) or "")
    assert refusal({"min_range": 0.5, "max_range": 1.0}, current) is None


def test_one_wrong_value_does_not_stand_in_the_way_of_another():
    current = {**DEFAULTS, "scale": "big", "min_range": 20.0}
    assert refusal({"points.stride": 4}, current) is None
    assert refusal({"scale": 2.0}, current) is None
    assert refusal({"max_range": 30.0}, current) is None


def test_only_live_parameters_change_live():
    newer = Parameters(model="other", device="cpu", scale=2.0, points_stride=5, max_rate=3.0)
    live = Parameters().with_live(newer)
    assert (live.scale, live.points_stride, live.max_rate) == (2.0, 5, 3.0)
    assert (live.model, live.device) == ("default", "auto")


@pytest.mark.parametrize("empty", [[], (), None])
def test_an_empty_list_of_cameras_is_taken_in_every_form_that_ros_gives_it(empty):
    assert Parameters.from_values({"cameras": empty}).cameras == ()


def test_names_of_cameras_are_taken_in_order():
    assert Parameters.from_values({"cameras": ["right", "_2", "Front_1"]}).cameras == ("right", "_2", "Front_1")


@pytest.mark.parametrize(
    "value",
    [["front", "front"], ["a b"], ["a/b"], ["1st"], [""], ["~"], ["fr\u00f6nt"], ["front\n"], [1], "front", 3, b"x"],
)
def test_names_that_no_topic_can_have_are_refused(value):
    with pytest.raises(ParameterError, match=r"^cameras is .*: it must be a list of different names"):
        Parameters.from_values({"cameras": value})


def test_several_cameras_cannot_share_one_optical_frame():
    two = {**DEFAULTS, "cameras": ("front", "left")}
    assert "there are 2 cameras" in (refusal({"optical_frame": "eye"}, two) or "")
    assert "there are 2 cameras" in (
        refusal({"cameras": ["front", "left"]}, {**DEFAULTS, "optical_frame": "eye"}) or ""
    )
    assert refusal({"optical_frame": "eye"}, {**DEFAULTS, "cameras": ("front",)}) is None
    assert refusal({"optical_frame": ""}, two) is None


def test_a_camera_may_have_values_of_its_own_and_shares_the_rest():
    values = {**DEFAULTS, "cameras": ["front", "left"], "scale": 1.5, "front.scale": 2, "front.scan.frame": "base"}
    values |= {"left.scale": None, "left.optical_frame": "eye"}
    front, left, both = (Parameters.from_values(values, camera) for camera in ("front", "left", ""))
    assert (front.scale, left.scale, both.scale) == (2.0, 1.5, 1.5)
    assert (front.scan_frame, left.scan_frame) == ("base", "")
    assert (front.optical_frame, left.optical_frame) == ("", "eye")
    assert replace(front, scale=1.5, scan_frame="") == replace(left, optical_frame="") == both


def test_a_cameras_own_value_keeps_the_same_rule_under_its_own_name():
    current = {**DEFAULTS, "cameras": ["front"]}
    assert refusal({"front.scale": 3}, current) is None
    assert refusal({"front.scale": None}, current) is None
    # Where `ros2 param delete cameras` undeclares it, a camera is one.
    without = {name: value for name, value in current.items() if name != "cameras"}
    assert refusal({"optical_frame": "eye"}, without) is None
    assert (refusal({"front.scale": 0.0}, current) or "").startswith("front.scale is 0.0: it must be a number from")
    assert "left.camera_height is 'high'" in (
        refusal({"front.scale": 3.0, "left.camera_height": "high"}, current) or ""
    )


def test_own_rules_are_those_of_the_parameters_they_go_before_and_collide_with_none():
    names = ("front", "scan", "points")
    rules = own_rules(names)
    assert {name.partition(".")[0] for name in rules} == set(names)
    assert not set(rules) & set(RULES)
    for name, rule in rules.items():
        plain = RULES[name.partition(".")[2]]
        assert plain.per_camera
        assert (rule.default, rule.applies, rule.least, rule.greatest) == (
            plain.default,
            plain.applies,
            plain.least,
            plain.greatest,
        )
    assert {"front.scale", "front.camera_height", "front.camera_pitch", "front.scan.frame"} <= set(rules)
    assert "front.model" not in rules
