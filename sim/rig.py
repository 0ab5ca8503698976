"""The simulated rig in this process: two cameras that never stop, and a body that obeys words.

What sim/ros_node.py is for a ROS graph, without ROS. Bullet belongs to one thread at a time: `lock`
is held while it moves, renders or is planned for.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from emu_planner.plan.event import Event
from emu_planner.plan.frame import Frame, FrameSource
from emu_planner.plan.planner import Task
from emu_planner.plan.step import StepOutcome
from emu_planner.plan.stop import Stop
from sim import language, robots
from sim.camera import VIEWS
from sim.oracle import OraclePlanner
from sim.world import STEPS_PER_SECOND, World


@dataclass(frozen=True)
class RigConfig:
    """Which scene, and how it runs."""

    # one of sim.tasks.FAMILIES
    family: str = "stack"
    # with the family it names the scene
    seed: int = 0
    # who acts in it: one of sim.robots.ROBOTS
    robot: str = robots.DEFAULT
    # pictures a second of each camera
    rate_hz: float = 10.0
    # simulated seconds in one second of the clock while the arm moves
    time_factor: float = 1.0

    def __post_init__(self) -> None:
        if self.rate_hz <= 0 or self.time_factor <= 0:
            raise ValueError(f"rate_hz {self.rate_hz} and time_factor {self.time_factor} must be above 0")


class Rig:
    """See the module's text; a context manager.

    Args:
        show: gets each picture of each camera, stamped with seconds since 1970.

    Raises:
        ValueError: unknown family or robot, negative seed, or a robot that cannot do the family.
    """

    cameras = VIEWS

    def __init__(self, config: RigConfig, show: Callable[[Frame], None]) -> None:
        self._config, self._show = config, show
        self.lock = threading.RLock()
        self._world = World()
        self._world.reset(config.family, config.seed, config.robot)
        self._oracle = OraclePlanner(self._world)
        self._frames = self._world.observation().frames
        self._next_picture_s = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look, name="rig-cameras", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Rig":
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        with self.lock:
            self._oracle.close()
            self._world.close()

    @property
    def instruction(self) -> str:
        """What the scene was drawn for, in one sentence."""
        return self._world.scene.instruction

    def success(self) -> dict[str, bool]:
        """Is the scene's own task done? Named conditions; done when all are true."""
        with self.lock:
            return self._world.success()

    def plan(
        self,
        task: Task,
        frames: FrameSource,
        history: Sequence[StepOutcome] = (),
        *,
        stop: Stop | None = None,
    ) -> Iterator[Event]:
        """The oracle's plan for this rig; see plan.Planner. It knows the state and needs no model."""
        events = self._oracle.plan(task, frames, history, stop=stop)
        while True:
            with self.lock:
                event = next(events, None)
            if event is None:
                return
            yield event

    def carry_out(self, words: str, withdrawn: Callable[[], bool]) -> tuple[bool, str]:
        """Do what the words say; whether it succeeded, and why not. Stops once `withdrawn()`."""
        with self.lock:
            skill = language.parse(words, self._world.scene)
            if skill is None:
                return False, f"no skill is called {words!r} in this scene"
            begun_s, begun_step = time.monotonic(), self._world.steps

            def stepped() -> None:
                if withdrawn() or self._stopping.is_set():
                    raise _WithdrawnError
                simulated_s = (self._world.steps - begun_step) / STEPS_PER_SECOND
                early_s = begun_s + simulated_s / self._config.time_factor - time.monotonic()
                if early_s > 0:
                    time.sleep(early_s)
                self._render_when_due()

            self._world.on_step = stepped
            try:
                result = self._world.execute(skill)
            except _WithdrawnError:
                return False, "stopped, it was taken back"
            finally:
                self._world.on_step = None
                self._frames = self._world.observation().frames
        return result.ok, result.detail

    def _look(self) -> None:
        """The cameras' thread: the newest pictures at a steady rate; new ones only while it moves."""
        while not self._stopping.wait(1 / self._config.rate_hz):
            for frame in self._frames:
                self._show(replace(frame, stamp_s=time.time()))

    def _render_when_due(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_picture_s:
            self._next_picture_s = now_s + 1 / self._config.rate_hz
            self._frames = self._world.observation().frames


class _WithdrawnError(Exception):
    """Stop where we are."""
