"""What a recording of a planner node holds: its topics, their types and their quality of service.

The planner node's side stands in ros/outputs.py; a test holds the two against each other. Knows no file.
"""

from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from emu_planner_msgs.action import PlanTask
from emu_planner_msgs.msg import Keyframe, Plan, PlannerStatus, PlanProgress, StepProgress, Subgoal
from emu_planner_msgs.srv import ReportOutcome, ReviewSubgoal
from rcl_interfaces.msg import ParameterEvent
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger

from emu_planner.ros.outputs import ALL, EVENT_SUFFIX, LATCHED, NEWEST, latched_for
from emu_planner.ros.params import CameraParams, PlannerParams

# names below the planner node's own
PLAN, ACTIVE, KEYFRAMES, OBSERVED = "plan", "active_subgoal", "keyframes", "observed"
PROGRESS, WATCHED, STATUS = "progress", "step_progress", "status"
GOALS = f"plan_task/_action/send_goal{EVENT_SUFFIX}"
RESULTS = f"plan_task/_action/get_result{EVENT_SUFFIX}"
REVIEWS = f"review_subgoal{EVENT_SUFFIX}"
OUTCOMES = f"report_outcome{EVENT_SUFFIX}"
HOLDS = f"hold{EVENT_SUFFIX}"
REARMS = f"rearm{EVENT_SUFFIX}"
# the same for every node of a graph
PARAMETERS, DIAGNOSTICS = "/parameter_events", "/diagnostics"
# the planner node's name
NODE = "planner"

# pictures of one camera, and messages of any other topic, that may wait for the recorder
_PICTURES, _MESSAGES = 5, 100


@dataclass(frozen=True)
class Topic:
    """One topic of a recording."""

    # relative to the robot's namespace, or absolute
    name: str
    # class of its messages
    kind: Any
    # as it is offered; kept in the bag, so that a player offers the same
    offered: QoSProfile
    # most messages that may wait for the recorder
    depth: int = _MESSAGES

    @property
    def asked(self) -> QoSProfile:
        """The quality to ask for: what is offered, but nothing is lost in a burst."""
        return QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=self.depth,
            reliability=self.offered.reliability,
            durability=self.offered.durability,
        )


def planner_topics() -> tuple[Topic, ...]:
    """Everything that a planner node says, its services' requests and answers included."""
    goal, result = PlanTask.Impl.SendGoalService.Event, PlanTask.Impl.GetResultService.Event
    own: tuple[tuple[str, Any, QoSProfile], ...] = (
        (PLAN, Plan, LATCHED),
        (ACTIVE, Subgoal, latched_for(PlannerParams.subgoal_validity)),
        ("keyframe/compressed", CompressedImage, LATCHED),
        ("keyframe/camera_info", CameraInfo, LATCHED),
        (KEYFRAMES, Keyframe, ALL),
        (OBSERVED, Header, ALL),
        (PROGRESS, PlanProgress, NEWEST),
        (WATCHED, StepProgress, ALL),
        (STATUS, PlannerStatus, LATCHED),
        (GOALS, goal, LATCHED),
        (RESULTS, result, LATCHED),
        (REVIEWS, ReviewSubgoal.Event, ALL),
        (OUTCOMES, ReportOutcome.Event, ALL),
        (HOLDS, SetBool.Event, ALL),
        (REARMS, Trigger.Event, ALL),
    )
    return (
        *(Topic(f"{NODE}/{name}", kind, qos) for name, kind, qos in own),
        Topic(DIAGNOSTICS, DiagnosticArray, ALL),
    )


def parameters_topic() -> Topic:
    """Where a recording keeps the planner node's parameters; nodes announce theirs there."""
    return Topic(PARAMETERS, ParameterEvent, ALL)


def camera_topics(camera: CameraParams) -> tuple[Topic, Topic]:
    """One camera's pictures, in the transport that the planner reads, and its model."""
    kind = CompressedImage if camera.transport == "compressed" else Image
    return (
        Topic(camera.image_topic, kind, _AS_SENSORS, _PICTURES),
        Topic(camera.info_topic, CameraInfo, _AS_SENSORS, _PICTURES),
    )


# matches every driver
_AS_SENSORS = QoSProfile(
    depth=_PICTURES, reliability=ReliabilityPolicy.BEST_EFFORT, durability=DurabilityPolicy.VOLATILE
)
