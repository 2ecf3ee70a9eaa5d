"""Only what somebody subscribes to is built, and all of it is built before any of it goes out."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from depth_estimation_ros import outputs
from depth_estimation_ros.outputs import Output, OutputPublishers


class Publisher:
    def __init__(self, topic: str):
        self.topic = topic
        self.topic_name = f"/robot/{topic}"
        self.subscribers = 0
        self.sent: list = []
        self.publish = self.sent.append

    def get_subscription_count(self) -> int:
        return self.subscribers


class NodeDouble:
    def __init__(self):
        self.published: dict[str, Publisher] = {}
        self.of_another_camera: list[Publisher] = []
        self.others = 0
        self.warnings: list[str] = []

    def get_logger(self):
        return SimpleNamespace(warning=self.warnings.append)

    def resolve_topic_name(self, topic: str) -> str:
        return f"/robot/{topic}"

    @property
    def publishers(self) -> list[Publisher]:
        return [*self.published.values(), *self.of_another_camera]

    def count_publishers(self, topic: str) -> int:
        return sum(publisher.topic_name == topic for publisher in self.publishers) + self.others

    def create_lifecycle_publisher(self, message_type, topic, qos, qos_overriding_options):
        if topic == "refused":
            raise ValueError("the user's QoS override makes no sense")
        return self.published.setdefault(topic, Publisher(topic))

    def destroy_lifecycle_publisher(self, publisher):
        del self.published[publisher.topic]


@pytest.fixture
def built(monkeypatch):
    """What was built, by topic; "b" can never be built from this estimate."""
    built: list[str] = []

    def build(topic):
        def from_estimate(estimate, header, parameters):
            built.append(topic)
            return None if topic == "b" else f"message for {topic}"

        return from_estimate

    monkeypatch.setattr(outputs, "OUTPUTS", tuple(Output(topic, object, build(topic)) for topic in "abc"))
    monkeypatch.setattr(outputs, "qos_overrides", lambda *given: None)
    return built


def test_nothing_is_built_without_subscribers(built):
    publishers = OutputPublishers(NodeDouble())
    assert not publishers.are_watched
    assert publishers.publish(None, None, None) is False
    assert built == []


def test_only_what_is_watched_is_built_and_sent(built):
    node = NodeDouble()
    publishers = OutputPublishers(node)
    node.published["c"].subscribers = 2
    assert publishers.are_watched
    assert publishers.publish(None, None, None) is True
    assert built == ["c"]
    assert {topic: publisher.sent for topic, publisher in node.published.items()} == {
        "a": [],
        "b": [],
        "c": ["message for c"],
    }


def test_an_output_that_cannot_be_built_does_not_hold_up_the_others(built):
    node = NodeDouble()
    publishers = OutputPublishers(node)
    node.published["b"].subscribers = 1
    assert publishers.publish(None, None, None) is False
    node.published["a"].subscribers = 1
    assert publishers.publish(None, None, None) is True
    assert node.published["a"].sent == ["message for a"]
    assert node.published["b"].sent == []


def test_a_topic_that_others_publish_is_left_to_them(built, monkeypatch):
    shared, own = outputs.OUTPUTS[0], outputs.OUTPUTS[2]
    monkeypatch.setattr(outputs, "OUTPUTS", (replace(shared, yields=True), own))
    node = NodeDouble()
    publishers = OutputPublishers(node)
    node.published["a"].subscribers = 1
    assert publishers.are_watched
    assert publishers.facts == {}
    node.others = 1  # a laser scanner has come
    assert not publishers.are_watched
    assert not publishers.is_watched("a")
    assert publishers.publish(None, None, None) is False
    assert "/robot/a" in publishers.facts["a"]
    node.published["c"].subscribers = 1
    assert publishers.publish(None, None, None) is True
    assert built == ["c"]
    node.others = 0
    assert publishers.is_watched("a")
    node.of_another_camera = [Publisher("a")]  # remapped to the same topic
    assert publishers.is_watched("a")
    assert publishers.facts == {}


def test_an_output_that_is_an_input_is_not_advertised(built):
    node = NodeDouble()
    publishers = OutputPublishers(node, inputs={"/robot/b", "/elsewhere/a"})
    assert set(node.published) == {"a", "c"}
    assert "/robot/b" in publishers.facts["b"]
    assert not publishers.is_watched("b")
    assert node.warnings == ["b is " + publishers.facts["b"]]


def test_a_topic_with_another_publisher_is_named_once_somebody_listens(built):
    node = NodeDouble()
    publishers = OutputPublishers(node)
    node.others = 1
    assert publishers.mixed_remarks() == []
    node.published["a"].subscribers = 1
    [remark] = publishers.mixed_remarks()
    assert "/robot/a" in remark
    node.others = 0
    assert publishers.mixed_remarks() == []


def test_the_scan_alone_yields():
    assert [output.topic for output in outputs.OUTPUTS if output.yields] == ["scan"]


def test_one_refused_topic_takes_the_others_back(built, monkeypatch):
    monkeypatch.setattr(outputs, "OUTPUTS", (*outputs.OUTPUTS, Output("refused", object, lambda *given: None)))
    node = NodeDouble()
    with pytest.raises(ValueError, match="makes no sense"):
        OutputPublishers(node)
    assert node.published == {}
