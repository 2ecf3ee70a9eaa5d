"""The managed node: parameters, lifecycle and diagnostics. What happens to frames is in `camera_stream`."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from depth_estimation_ros.bond import break_bond, form_bond
from depth_estimation_ros.camera_stream import CameraStream
from depth_estimation_ros.change_state import answer_misfits
from depth_estimation_ros.colour_conversion import default_converter
from depth_estimation_ros.diagnostics import CameraState, NodeState, to_diagnostic_array
from depth_estimation_ros.health import Health
from depth_estimation_ros.inference.predictor import Predictor, load_predictor
from depth_estimation_ros.parameter_declaration import DeclaredParameters, meant
from depth_estimation_ros.parameters import Parameters, refusal
from depth_estimation_ros.periodic import PeriodicThread
from depth_estimation_ros.topics import in_namespace, input_topics
from depth_estimation_ros.turns import Turns

PredictorFactory = Callable[[str, str, str, int], Predictor]
"""Takes model, device, backend and num_threads, as `load_predictor` does."""

FOLLOW_PERIOD_S = 1.0


class DepthNode(LifecycleNode):
    """Metric depth from one camera, or from several that share one model.

    Configure checks the parameters and loads and warms up the model; activate subscribes; deactivate unsubscribes and
    keeps the model; cleanup lets go of it. A transition that fails says why in one logged sentence and in diagnostics,
    and leaves the node where it was.
    """

    def __init__(self, predictor_factory: PredictorFactory = load_predictor, **node_arguments: Any):
        super().__init__("depth_estimation", **node_arguments)
        answer_misfits(self)
        self._declared = DeclaredParameters(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        # Humble has no such callback: there what another one refuses later has been applied.
        self._applies_on_set = not hasattr(self, "add_post_set_parameters_callback")
        if not self._applies_on_set:
            self.add_post_set_parameters_callback(self._apply)
        self._predictor_factory = predictor_factory
        self._predictor: Predictor | None = None
        self._streams: dict[str, CameraStream] = {}  # by camera; the only one of a node without a list is ""
        self._healths = {"": Health()}  # they outlive a cleanup
        self._bond: Any | None = None
        self._failure: str | None = None
        self._active_since_s: float | None = None
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._jump_handle = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1)), post_callback=self._on_time_jump
        )
        # A steady clock: the camera's offer has to be followed while simulated time stands still, too.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._follow_timer = self.create_timer(FOLLOW_PERIOD_S, self._follow_publishers, clock=steady)
        # A thread of its own, because transitions hold up the executor: a large model takes its time to load.
        self._speaker = PeriodicThread(self._publish_diagnostics, Parameters().diagnostics_period)

    @property
    def autostart(self) -> bool:
        """Whether to bring itself up; a value that is neither true nor false is left for configure to refuse."""
        return self.get_parameter("autostart").value is not False

    def bring_up(self) -> bool:
        """Configure and activate; False if either fails."""
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    def close(self) -> None:
        """Stop all work and let go of everything, whatever the state."""
        self._active_since_s = None
        break_bond(self, self._bond)
        self._bond = None
        self._stop_streams()
        for stream in self._streams.values():
            stream.destroy()
        self._streams = {}
        self._predictor = None
        # Streams and their workers refer to each other: without this a model's memory would stay until the collector
        # happens to come by, and that counts objects, not bytes.
        gc.collect()

    def destroy_node(self) -> None:
        """Stop all work, then leave the ROS graph."""
        self.close()
        self._speaker.stop()
        self._jump_handle.unregister()
        super().destroy_node()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check the parameters, load and warm up the model, advertise the outputs."""
        return self._transition("configure", self._configure, state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and work."""
        return self._transition("activate", self._activate, state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe, keep the model."""
        return self._transition("deactivate", self._deactivate, state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the model and the outputs."""
        return self._transition("cleanup", lambda _: self.close(), state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and let go of everything, from any state."""
        return self._transition("shutdown", lambda _: self.close(), state)

    def _transition(
        self, name: str, action: Callable[[LifecycleState], None], state: LifecycleState
    ) -> TransitionCallbackReturn:
        """Do it, or say in one sentence why not: rclpy itself would swallow the exception."""
        self._failure = None
        try:
            action(state)
        except Exception as error:
            self._failure = f"{name} failed: {' '.join(str(error).split()) or type(error).__name__}"
            self.get_logger().error(self._failure)
            self._publish_diagnostics()
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def _configure(self, state: LifecycleState) -> None:
        self._declared.declare_own()
        values = self._declared.values()
        parameters = Parameters.from_values(values)
        of_cameras = {camera: Parameters.from_values(values, camera) for camera in parameters.cameras or ("",)}
        predictor = self._predictor_factory(
            parameters.model, parameters.device, parameters.backend, parameters.num_threads
        )
        predictor.warm_up(*predictor.contract.input.usual_size)
        with suppress(ImportError):  # not every encoding needs it, and a frame that does says what to install
            default_converter()  # or the first frame waits while it is chosen
        self._healths = {camera: self._healths.get(camera) or Health() for camera in of_cameras}
        self._streams = self._make_streams(predictor, of_cameras)
        self._predictor = predictor
        self._speaker.set_period(parameters.diagnostics_period)
        topics = ", ".join(stream.image_topic for stream in self._streams.values())
        self.get_logger().debug(f"model {predictor.contract.name} on {predictor.device}, for images of {topics}")

    def _make_streams(self, predictor: Predictor, of_cameras: dict[str, Parameters]) -> dict[str, CameraStream]:
        turns = Turns()
        inputs = {
            topic for camera, own in of_cameras.items() for topic in input_topics(self, own.image_transport, camera)
        }
        streams: dict[str, CameraStream] = {}
        try:
            for camera, parameters in of_cameras.items():
                streams[camera] = CameraStream(
                    self, predictor, parameters, self._healths[camera], turns, camera, inputs
                )
        except Exception:
            for stream in streams.values():
                stream.destroy()
            raise
        return streams

    def _activate(self, state: LifecycleState) -> None:
        super().on_activate(state)  # publishers first: a frame must not be counted that they would not let through
        try:
            for stream in self._streams.values():
                stream.start()
            if not self.autostart:
                self._bond = form_bond(self)
        except Exception:
            self._deactivate(state)
            raise
        self._active_since_s = time.monotonic()

    def _deactivate(self, state: LifecycleState) -> None:
        self._active_since_s = None
        break_bond(self, self._bond)
        self._bond = None
        self._stop_streams()
        super().on_deactivate(state)

    def _stop_streams(self) -> None:
        for stream in self._streams.values():
            stream.halt()  # all of them first: one that still works would hold up the others' turns
        for stream in self._streams.values():
            stream.stop()

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        # A value that is just being declared, as of a camera that has come to the list, is for configure to refuse.
        ours = {name: value for name, value in self._ours(changes).items() if self.has_parameter(name)}
        reason = refusal(ours, self._declared.values())
        if reason is not None:
            return SetParametersResult(successful=False, reason=reason)
        if self._applies_on_set:
            self._apply(changes)
        return SetParametersResult(successful=True)

    def _ours(self, changes: list[Parameter]) -> dict[str, Any]:
        # Humble has no callback that could have unset it before.
        return {c.name: meant(c.name, c.value) for c in changes if c.name in self._declared.rules}

    def _apply(self, changes: list[Parameter]) -> None:
        ours = self._ours(changes)
        if not self._streams or not ours:
            return
        newer = {**self._declared.values(), **ours}
        for camera, stream in self._streams.items():
            stream.parameters = stream.parameters.with_live(Parameters.from_values(newer, camera))
        self._speaker.set_period(Parameters.from_values(newer).diagnostics_period)
        for name in ours:
            if self._declared.rules[name].applies != "live":
                self.get_logger().info(f"{name} takes effect on the next configure")

    def _follow_publishers(self) -> None:
        for stream in self._streams.values():
            stream.follow_publishers()

    def _on_time_jump(self, jump: TimeJump) -> None:
        for stream in self._streams.values():
            stream.note_time_jump()

    def _publish_diagnostics(self) -> None:
        if not self.context.ok():
            return
        predictor, streams, active_since_s = self._predictor, self._streams, self._active_since_s
        facts = {}
        if predictor is not None:
            facts["model"] = predictor.contract.name
            facts["device"] = predictor.device
            facts["backend"] = predictor.backend_name
        state = NodeState(
            lifecycle=self._state_machine.current_state[1],
            active_for_s=None if active_since_s is None else time.monotonic() - active_since_s,
            failure=self._failure,
            facts=facts,
        )
        cameras = [self._camera_state(camera, health, streams.get(camera)) for camera, health in self._healths.items()]
        stamp = self.get_clock().now().to_msg()
        name = self.get_fully_qualified_name().lstrip("/")
        self._diagnostics.publish(to_diagnostic_array(name, state, cameras, stamp))

    def _camera_state(self, camera: str, health: Health, stream: CameraStream | None) -> CameraState:
        return CameraState(
            name=camera,
            report=health.report(),
            image_topic=(
                self.resolve_topic_name(in_namespace(camera, "image")) if stream is None else stream.image_topic
            ),
            in_flight=0 if stream is None else stream.in_flight,
            facts={} if stream is None else stream.facts,
        )
