"""What the node says: its publishers with their quality of service, and one method for each noun.

Knows no planner and makes no decision.
"""

import threading
from collections.abc import Iterable
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from emu_planner_msgs.action import PlanTask
from emu_planner_msgs.msg import Keyframe, Plan, PlannerStatus, PlanProgress, StepProgress, Subgoal
from rclpy.action.server import ServerGoalHandle
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage
from service_msgs.msg import ServiceEventInfo
from std_msgs.msg import Header

from emu_planner.goal.states import Feedback, Look, PlannedStep, PlanView
from emu_planner.ros import convert

# newest only: a deeper queue hands a slow callback old pictures for ever
NEWEST = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
ALL = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)

# what is said on the topic <service>/_service_event
EVENT_SUFFIX = "/_service_event"
_SEND_GOAL, _GET_RESULT = PlanTask.Impl.SendGoalService, PlanTask.Impl.GetResultService


def latched_for(seconds: float) -> QoSProfile:
    """Latched, but a late joiner gets nothing older than that: a command must not outlive it."""
    return QoSProfile(
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
        lifespan=Duration(seconds=seconds),
    )


class Outputs:
    """The node's publishers; thread-safe.

    Args:
        node: who publishes.
        validity_s: how long a subgoal on ~/active_subgoal stays a command, s.
    """

    def __init__(self, node: Node, validity_s: float) -> None:
        self._node = node
        self._lock = threading.Lock()
        # of each camera, as its messages tell
        self.frame_ids: dict[str, str] = {}
        self.infos: dict[str, CameraInfo] = {}
        # who plans, as it said at the beginning of the newest plan
        self.model = convert.ModelName()
        self._publishers: list[Any] = []
        self._plan = self._publish(Plan, "~/plan", LATCHED)
        self._active = self._publish(Subgoal, "~/active_subgoal", latched_for(validity_s))
        self._image = self._publish(CompressedImage, "~/keyframe/compressed", LATCHED)
        self._info = self._publish(CameraInfo, "~/keyframe/camera_info", LATCHED)
        self._keyframes = self._publish(Keyframe, "~/keyframes", ALL)
        self._progress = self._publish(PlanProgress, "~/progress", NEWEST)
        self._watched = self._publish(StepProgress, "~/step_progress", ALL)
        self._observed = self._publish(Header, "~/observed", ALL)
        self._status = self._publish(PlannerStatus, "~/status", LATCHED)
        self._goals = self._publish(_SEND_GOAL.Event, f"~/plan_task/_action/send_goal{EVENT_SUFFIX}", LATCHED)
        self._results = self._publish(
            _GET_RESULT.Event, f"~/plan_task/_action/get_result{EVENT_SUFFIX}", LATCHED
        )
        self._diagnostics = self._publish(DiagnosticArray, "/diagnostics", ALL)

    def destroy(self) -> None:
        """Take the topics back; what comes later is dropped."""
        with self._lock:
            publishers, self._publishers = self._publishers, []
        for publisher in publishers:
            self._node.destroy_publisher(publisher)

    def plan(self, plan: PlanView) -> None:
        """The plan as it stands."""
        self._send(self._plan, convert.plan_to_msg(plan, self.frame_ids, self.model))

    def observed(self, pictures: Iterable[tuple[str, float]]) -> None:
        """Which pictures a plan was begun from: a Header each, with its stamp and its camera's name."""
        for camera, stamp_s in pictures:
            self._send(self._observed, Header(stamp=convert.s_to_time(stamp_s), frame_id=camera))

    def active(self, plan: PlanView, offered: PlannedStep) -> None:
        """The step on offer; an executor obeys it only in state APPROVED."""
        self._send(self._active, convert.subgoal_to_msg(plan, offered, self.frame_ids))

    def keyframe(self, plan: PlanView, made: PlannedStep) -> None:
        """The picture of a step, if it has one."""
        if made.step.keyframe is None:
            return
        message = convert.keyframe_to_msg(plan, made, self.infos, self.frame_ids)
        self._send(self._keyframes, message)
        self._send(self._image, message.image)
        self._send(self._info, message.camera_info)

    def progress(self, plan: PlanView, feedback: Feedback) -> PlanProgress:
        """What the goal does now; returns the message for the action's feedback."""
        message = convert.progress_to_msg(plan, feedback)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._send(self._progress, message)
        return message

    def watched(self, plan: PlanView, made: PlannedStep, look: Look) -> None:
        """How the step that is carried out looks to the cameras."""
        self._send(self._watched, convert.look_to_msg(plan, made, look))

    def status(self, message: PlannerStatus) -> None:
        """The node's own state."""
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._send(self._status, message)

    def diagnostics(self, message: DiagnosticArray) -> None:
        """How the node is, for monitors."""
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._send(self._diagnostics, message)

    def asked(self, handle: ServerGoalHandle) -> None:
        """A goal was accepted. Introspection of services is ROS 2's own, of actions only since Kilted."""
        request = _SEND_GOAL.Request(goal_id=handle.goal_id, goal=handle.request)
        info = self._event_info(ServiceEventInfo.REQUEST_RECEIVED)
        self._send(self._goals, _SEND_GOAL.Event(info=info, request=[request]))

    def answered(self, handle: ServerGoalHandle, result: PlanTask.Result) -> None:
        """A goal has ended; the request's goal id says which."""
        request = _GET_RESULT.Request(goal_id=handle.goal_id)
        response = _GET_RESULT.Response(status=handle.status, result=result)
        info = self._event_info(ServiceEventInfo.RESPONSE_SENT)
        self._send(self._results, _GET_RESULT.Event(info=info, request=[request], response=[response]))

    def _event_info(self, kind: int) -> ServiceEventInfo:
        return ServiceEventInfo(event_type=kind, stamp=self._node.get_clock().now().to_msg())

    def _publish(self, kind: type, topic: str, qos: QoSProfile) -> Any:
        publisher = self._node.create_publisher(kind, topic, qos)
        self._publishers.append(publisher)
        return publisher

    def _send(self, publisher: Any, message: Any) -> None:
        with self._lock:
            if publisher in self._publishers:
                publisher.publish(message)
