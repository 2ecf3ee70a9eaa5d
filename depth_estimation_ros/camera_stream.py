"""One camera's frames through the node: subscriptions, the newest-frame worker, and the outputs."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from depth_estimation_ros.calibration import Calibration
from depth_estimation_ros.camera import is_rectified_topic
from depth_estimation_ros.camera_info_buffer import KEPT, CameraInfoBuffer, to_nanoseconds
from depth_estimation_ros.camera_mounting import CameraMounting
from depth_estimation_ros.camera_pipeline import CameraPipeline, Estimate
from depth_estimation_ros.camera_remarks import (
    blank_remark,
    estimate_facts,
    header_remarks,
    missing_info_remark,
    whose_info,
)
from depth_estimation_ros.frame_worker import FrameWorker, Rest
from depth_estimation_ros.health import Health
from depth_estimation_ros.images import ImageError, decode_compressed, decode_image
from depth_estimation_ros.inference.errors import InferenceError, first_line
from depth_estimation_ros.inference.predictor import Predictor
from depth_estimation_ros.outputs import OutputPublishers
from depth_estimation_ros.parameters import Parameters
from depth_estimation_ros.qos import AdaptiveSubscription
from depth_estimation_ros.rate_limit import RateLimit
from depth_estimation_ros.stamp_watch import StampWatch
from depth_estimation_ros.topics import camera_info_topic, image_topic, in_namespace, input_topics
from depth_estimation_ros.turns import Turns

LOG_PERIOD_S = 5.0

JUMP_GRACE_S = 2.0
"""For so long after a jump of the clock an image may be ahead of it without a fault of anybody's."""

CLOCK_STEP_S = 0.2
"""Simulated time stands still between two messages on /clock, which come ten times a second or more often: an image may
be ahead of it by as much, in its stamp and in no other way."""


class CameraStream:
    """What exists from configure to cleanup for one camera; it listens and works between `start` and `stop` only.

    Attributes:
        parameters: Taken anew for each frame; replace it as a whole.
        image_topic: As resolved.
    """

    def __init__(
        self,
        node: LifecycleNode,
        predictor: Predictor,
        parameters: Parameters,
        health: Health,
        turns: Turns,
        camera: str = "",
        inputs: Collection[str] = (),
    ):
        """Advertise the outputs.

        Args:
            node: What the topics belong to.
            predictor: May be that of other streams, too.
            parameters: Of the node.
            health: Of this camera.
            turns: Shared by all streams of the predictor: one after the other, the newest frame of each.
            camera: Namespace of all topics, "" for none.
            inputs: Names, as resolved, of what the node listens to for all of its cameras.
        """
        self.parameters = parameters
        self.image_topic, self._info_topic = input_topics(node, parameters.image_transport, camera)
        self._camera = camera
        self._node = node
        self._health = health
        self._turns = turns
        self._pipeline = CameraPipeline(predictor)
        self._outputs = OutputPublishers(node, camera, inputs)
        self._mounting = CameraMounting(node, parameters.scan_frame)
        self._infos = CameraInfoBuffer()
        self._worker = FrameWorker(self._process, self._reject, self._turn)
        self._rate_limit = RateLimit()
        self._stamps = StampWatch()
        self._subscriptions: list[AdaptiveSubscription] = []
        self._frame_facts: dict[str, str] | None = None  # of the last one; not the frame, which is megabytes
        self._prepared_for: list[Calibration | None] = []  # at most one
        self._jumped_s = -math.inf

    def start(self) -> None:
        """Subscribe and work. Whatever was known of the camera before is forgotten."""
        self._infos = CameraInfoBuffer(self._is_info_offered)
        self._stamps = StampWatch()
        self._frame_facts = None
        self._prepared_for = []
        self._pipeline.forget()
        self._mounting.start()
        self._worker.start()
        compressed = self.parameters.image_transport == "compressed"
        message_type = CompressedImage if compressed else Image
        topic = image_topic(self._node, self.parameters.image_transport, self._camera)
        info_topic = camera_info_topic(self._node, self.image_topic, self._camera)
        for one_type, one_topic, callback, depth in (
            # One deep, a third of them was lost beside images that reach a busy machine in pieces (640x480 rgb8, stock
            # Fast DDS), and each image whose own is lost waits for it in vain.
            (CameraInfo, info_topic, self._infos.put, KEPT),
            (message_type, topic, self._take, 1),
        ):
            self._subscriptions.append(
                AdaptiveSubscription(
                    self._node, one_type, one_topic, callback, depth, hears_earlier=one_type is CameraInfo
                )
            )

    def halt(self) -> None:
        """Unsubscribe and lose the frame that waits, not waiting for the one in work; harmless where nothing runs."""
        while self._subscriptions:
            self._subscriptions.pop().destroy()
        self._infos.close()
        if self._worker.halt():
            self._health.count_dropped()

    def stop(self) -> None:
        """Halt, and finish the frame in work."""
        self.halt()
        self._worker.stop()
        self._mounting.stop()

    def destroy(self) -> None:
        """Stop, and take the outputs' topics back."""
        self.stop()
        self._outputs.destroy()

    def follow_publishers(self) -> None:
        """Subscribe anew where the camera offers another reliability by now."""
        for subscription in self._subscriptions:
            subscription.follow()

    def note_time_jump(self) -> None:
        """The node's clock has jumped: frames of before are still under way."""
        self._jumped_s = time.monotonic()
        self._health.forget_latencies()
        self._stamps.forget()
        self._pipeline.forget()
        self._mounting.forget()

    @property
    def in_flight(self) -> int:
        """Frames waiting and in work."""
        return self._worker.in_flight

    @property
    def facts(self) -> dict[str, str]:
        """For diagnostics."""
        facts = {f"subscribed to {subscription.topic}": subscription.kind for subscription in self._subscriptions}
        for output in ("depth/camera_info", "scan"):
            facts[f"{output} topic"] = self._node.resolve_topic_name(in_namespace(self._camera, output))
        if self._stamps.age_s is not None:
            facts["image age on arrival (s)"] = f"{self._stamps.age_s:.3f}"
        facts |= self._outputs.facts
        return facts | (self._frame_facts or {"calibration": "unknown, no image has been worked on"})

    def _is_info_offered(self) -> bool:
        return self._node.count_publishers(self._info_topic) > 0

    def _take(self, msg: Image | CompressedImage) -> None:
        self._health.count_received()
        self._stamps.note(to_nanoseconds(msg.header.stamp), self._now_ns)
        if not self._rate_limit.admits(time.monotonic(), self.parameters.max_rate):
            self._health.count_limited()
        elif self._worker.submit(msg):
            self._health.count_dropped()

    @contextmanager
    def _turn(self, msg: Image | CompressedImage) -> Iterator[None]:
        self._infos.wait_for(msg.header.stamp)  # before the turn: the others do not wait for this camera's CameraInfo
        with self._turns.take():
            yield

    def _process(self, msg: Image | CompressedImage) -> Rest | None:
        parameters = self.parameters
        info = self._infos.find(msg.header.stamp)
        calibration = None if info is None else info.calibration
        is_watched = self._outputs.are_watched
        if not is_watched and self._prepared_for == [calibration]:
            self._health.count_unwatched()
            return None
        image_rgb = decode_compressed(msg) if isinstance(msg, CompressedImage) else decode_image(msg)
        if info is None and self._infos.is_closed:  # deactivated while this frame waited
            self._health.count_dropped()
            return None
        is_rectified = is_rectified_topic(self.image_topic, parameters.input_rectified)
        # Even while nobody watches, so that the first one to subscribe does not wait for it.
        had_to_run = self._pipeline.prepare(image_rgb.shape[:2], calibration, is_rectified, parameters)
        self._prepared_for = [calibration]
        if not is_watched:
            self._health.count_unwatched()
            return None
        if had_to_run and self._worker.has_newer:
            self._health.count_dropped()
            return None
        header = Header(stamp=msg.header.stamp, frame_id=parameters.optical_frame or msg.header.frame_id)
        pose, why_no_pose = None, None
        if self._outputs.is_watched("scan") or parameters.floor_scale:
            pose, why_no_pose = self._mounting.find(header, parameters)
        estimate = self._pipeline.estimate(image_rgb, calibration, is_rectified, parameters, pose)
        self._frame_facts = {**estimate_facts(estimate), "CameraInfo": whose_info(info, msg.header)}
        remarks = [*estimate.remarks, *header_remarks(header, msg.header.frame_id, info)]
        remarks += filter(None, (why_no_pose, self._stamps.remark, blank_remark(estimate.image_rgb)))
        remarks += self._outputs.mixed_remarks()
        if info is None and estimate.view.why_no_cloud:
            name = in_namespace(self._camera, "camera_info")
            remarks.append(missing_info_remark(self._info_topic, name, self._is_info_offered()))
        return lambda: self._publish(estimate, header, remarks, why_no_pose, parameters)

    def _publish(
        self,
        estimate: Estimate,
        header: Header,
        remarks: list[str],
        why_no_pose: str | None,
        parameters: Parameters,
    ) -> None:
        for sentence in (*remarks, *self._outputs.remarks(estimate)):
            self._remark(sentence)
        if self._outputs.publish(estimate, header, parameters):
            latency_s = self._latency_s(header)
            self._health.count_published(latency_s)
            age = "unknown" if latency_s is None else f"{latency_s * 1000:.0f} ms"
            self._node.get_logger().debug(self._named(f"published frame {to_nanoseconds(header.stamp)}, age {age}"))
        elif reasons := self._why_nothing(estimate, why_no_pose):
            reason, sentence = reasons[0]
            self._count_rejected(reason, f"nothing that is subscribed to can be made: {sentence}")
        else:  # whoever was subscribed has left meanwhile
            self._health.count_unwatched()

    def _why_nothing(self, estimate: Estimate, why_no_pose: str | None) -> list[tuple[str, str]]:
        """Why each output that is subscribed to cannot be made: one word, and the sentence."""
        reasons: list[tuple[str, str | None]] = [("model", sentence) for sentence in self._outputs.remarks(estimate)]
        if self._outputs.is_watched("scan"):
            reasons.insert(0, ("calibration", why_no_pose))
        if self._outputs.is_watched("depth/points") or self._outputs.is_watched("scan"):
            reasons.insert(0, ("calibration", estimate.view.why_no_cloud))
        return [(reason, sentence) for reason, sentence in reasons if sentence is not None]

    def _latency_s(self, header: Header) -> float | None:
        stamp_ns = to_nanoseconds(header.stamp)
        if stamp_ns == 0:
            return None
        latency_s = (self._now_ns - stamp_ns) / 1e9
        if latency_s < 0:
            if self._now_ns == 0:
                self._remark(
                    "use_sim_time is true and nothing has come on /clock: start the simulator, play the recording with "
                    "--clock, or set use_sim_time to false"
                )
            elif latency_s >= -CLOCK_STEP_S and self._node.get_parameter("use_sim_time").value:
                return 0.0
            elif time.monotonic() - self._jumped_s > JUMP_GRACE_S:
                self._remark(
                    "the image's stamp is ahead of this node's clock: synchronise clocks, or set use_sim_time alike"
                )
            return None
        return latency_s

    @property
    def _now_ns(self) -> int:
        return self._node.get_clock().now().nanoseconds

    def _remark(self, sentence: str) -> None:
        if self._health.remark(sentence):
            self._node.get_logger().warning(self._named(sentence))

    def _named(self, sentence: str) -> str:
        return f"{self._camera}: {sentence}" if self._camera else sentence

    def _reject(self, error: Exception) -> None:
        if isinstance(error, ImageError):
            self._count_rejected("image", str(error))
        elif isinstance(error, InferenceError):
            self._count_rejected("inference", str(error))
        elif isinstance(error, ValueError):
            self._count_rejected("geometry", first_line(error))
        else:
            self._count_rejected("internal", f"{type(error).__name__}: {first_line(error)}")

    def _count_rejected(self, reason: str, sentence: str) -> None:
        self._health.count_rejected(reason, sentence)
        self._node.get_logger().warning(self._named(f"frame rejected: {sentence}"), throttle_duration_sec=LOG_PERIOD_S)
