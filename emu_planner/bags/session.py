"""What a bag tells of a planning session, put together by goal: plain data around its messages.

Pictures stay in the bag until they are asked for. Knows no planner.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from emu_planner.bags import topics
from emu_planner.bags.parameters import read_parameters
from emu_planner.bags.read import Bag, BagError
from emu_planner.plan import Frame
from emu_planner.ros.convert import compressed_to_frame, id_of, image_to_frame, time_to_s
from emu_planner.ros.params import PlannerParams


@dataclass(frozen=True)
class Asked:
    """A service's request and its answer. Answer None: it is not in the bag."""

    stamp_ns: int
    request: Any
    response: Any | None


@dataclass
class RecordedGoal:
    """One goal. Messages as they are in the bag, times of reception in ns."""

    plan_id: bytes
    stamp_ns: int
    # PlanTask goal; None: the recorder came later
    goal: Any | None = None
    # PlanTask result; None: it did not end in the bag
    result: Any | None = None
    plans: list[tuple[int, Any]] = field(default_factory=list)
    # by epoch and index
    keyframes: dict[tuple[int, int], Any] = field(default_factory=dict)
    reviews: list[Asked] = field(default_factory=list)
    outcomes: list[Asked] = field(default_factory=list)


@dataclass
class Session:
    """Everything in a bag but the pictures."""

    # of the robot, "" for none, without a slash at its end
    namespace: str
    goals: list[RecordedGoal] = field(default_factory=list)
    # which pictures the planner's calls began from: (ns, ((camera, capture time in s), ...))
    observed: list[tuple[int, tuple[tuple[str, float], ...]]] = field(default_factory=list)
    # hold and rearm, by service
    holds: list[tuple[str, Asked]] = field(default_factory=list)
    _parameters: list[tuple[int, PlannerParams]] = field(default_factory=list)

    def parameters(self, stamp_ns: int) -> PlannerParams:
        """The planner node's parameters as they were then. BagError: the bag does not tell."""
        if not self._parameters:
            raise BagError("the bag holds no parameters of the planner node; the recorder did not reach it")
        before = [params for at_ns, params in self._parameters if at_ns <= stamp_ns]
        return before[-1] if before else self._parameters[0][1]

    def topic(self, name: str) -> str:
        """A topic of this robot, absolute."""
        return name if name.startswith("/") else f"{self.namespace}/{name}"


def read_session(bag: Bag, namespace: str | None = None) -> Session:
    """Read everything but the pictures.

    Args:
        bag: an open one.
        namespace: of the robot; None: the bag holds only one.

    Raises:
        BagError: there is no planner node in it, or several.
    """
    session = Session(_choose(bag, namespace))
    goals: dict[bytes, RecordedGoal] = {}

    def goal_of(message: Any, stamp_ns: int) -> RecordedGoal:
        plan_id = id_of(message)
        if plan_id not in goals:
            goals[plan_id] = RecordedGoal(plan_id, stamp_ns)
            session.goals.append(goals[plan_id])
        return goals[plan_id]

    names = {session.topic(f"{topics.NODE}/{name}"): name for name in _READ}
    names[topics.PARAMETERS] = topics.PARAMETERS
    headers, events = [], _Events()
    for topic, stamp_ns, message in bag.messages(list(names)):
        match names[topic]:
            case topics.PLAN:
                goal_of(message.plan_id, stamp_ns).plans.append((stamp_ns, message))
            case topics.KEYFRAMES:
                goal_of(message.plan_id, stamp_ns).keyframes[message.epoch, message.index] = message
            case topics.OBSERVED:
                headers.append((stamp_ns, message.frame_id, time_to_s(message.stamp)))
            case topics.GOALS:
                goal_of(message.request[0].goal_id, stamp_ns).goal = message.request[0].goal
            case topics.RESULTS:
                goal_of(message.request[0].goal_id, stamp_ns).result = message.response[0].result
            case topics.PARAMETERS if message.node == session.topic(topics.NODE):
                _keep_parameters(session, stamp_ns, message)
            case name:
                events.take(name, stamp_ns, message)
    session.observed = _group(headers)
    for name, asked in events.all():
        if name in (topics.REVIEWS, topics.OUTCOMES):
            goal = goal_of(asked.request.plan_id, asked.stamp_ns)
            (goal.reviews if name == topics.REVIEWS else goal.outcomes).append(asked)
        else:
            session.holds.append((name, asked))
    return session


def read_frames(
    bag: Bag, session: Session, params: PlannerParams, wanted: Iterable[tuple[str, float]]
) -> dict[tuple[str, float], Frame]:
    """Pictures by camera and capture time, those of them that are in the bag.

    A driver that stamps nothing leaves a zero in the bag, and the planner node takes the time of
    arrival instead; then the newest picture before that time is given.
    """
    topic_of = {camera.name: session.topic(camera.image_topic) for camera in params.cameras}
    asked: dict[str, set[float]] = {}
    for camera, stamp_s in wanted:
        asked.setdefault(topic_of.get(camera, ""), set()).add(stamp_s)
    found: dict[tuple[str, float], Any] = {}
    for topic, stamp_ns, message in bag.messages(list(asked)):
        stamp_s = time_to_s(message.header.stamp)
        if stamp_s in asked[topic]:
            found[topic, stamp_s] = message
        elif stamp_s == 0.0:
            found |= {(topic, late): message for late in asked[topic] if stamp_ns / 1e9 <= late}
    return {
        (camera, stamp_s): _frame(found[topic, stamp_s], camera, stamp_s)
        for camera, topic in topic_of.items()
        for stamp_s in asked.get(topic, ())
        if (topic, stamp_s) in found
    }


def _frame(message: Any, camera: str, stamp_s: float) -> Frame:
    frame = (image_to_frame if hasattr(message, "encoding") else compressed_to_frame)(message, camera)
    return Frame(frame.rgb, camera, stamp_s)


_READ = (
    topics.PLAN,
    topics.KEYFRAMES,
    topics.OBSERVED,
    topics.GOALS,
    topics.RESULTS,
    topics.REVIEWS,
    topics.OUTCOMES,
    topics.HOLDS,
    topics.REARMS,
)


class _Events:
    """Requests and answers of services, brought together by client and number."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, bytes, int], Asked] = {}

    def take(self, name: str, stamp_ns: int, message: Any) -> None:
        if name == topics.PARAMETERS:
            return
        key = (name, bytes(message.info.client_gid), message.info.sequence_number)
        before = self._asked.get(key, Asked(stamp_ns, None, None))
        request = message.request[0] if len(message.request) else before.request
        response = message.response[0] if len(message.response) else before.response
        self._asked[key] = Asked(before.stamp_ns, request, response)

    def all(self) -> list[tuple[str, Asked]]:
        return [(name, asked) for (name, _, _), asked in self._asked.items() if asked.request is not None]


def _keep_parameters(session: Session, stamp_ns: int, message: Any) -> None:
    # a node announces each parameter alone when it is declared; the recorder's message holds all
    if any(parameter.name == "cameras" for parameter in message.new_parameters):
        session._parameters.append((stamp_ns, read_parameters(message)))


def _group(headers: list[tuple[int, str, float]]) -> list[tuple[int, tuple[tuple[str, float], ...]]]:
    """The pictures of each observation: they are said in one go, and each camera once."""
    groups: list[tuple[int, list[tuple[str, float]]]] = []
    for stamp_ns, camera, stamp_s in headers:
        begun_ns, group = groups[-1] if groups else (0, [])
        is_new = not groups or camera in (name for name, _ in group) or stamp_ns - begun_ns > _ONE_GO_NS
        if is_new:
            groups.append((stamp_ns, []))
        groups[-1][1].append((camera, stamp_s))
    return [(stamp_ns, tuple(group)) for stamp_ns, group in groups]


# longest time between the first and the last picture of one observation, as they are said
_ONE_GO_NS = 2_000_000_000


def _choose(bag: Bag, namespace: str | None) -> str:
    end = f"/{topics.NODE}/{topics.PLAN}"
    robots = sorted(topic.removesuffix(end) for topic in bag.topics if topic.endswith(end))
    asked = None if namespace is None else f"/{namespace.strip('/')}".rstrip("/")
    if asked is None and len(robots) == 1:
        return robots[0]
    if asked in robots:
        return str(asked)
    if not robots:
        raise BagError(f"the bag holds no plan: no topic in it ends with {end}")
    names = ", ".join(name or "/" for name in robots)
    raise BagError(f"the bag holds the robots {names}; say which with --namespace")
