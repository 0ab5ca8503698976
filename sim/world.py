"""One scene in one physics client: reset, step, look, act, remember and return.

Time is counted in steps of 1/240 s. Every reset starts from an empty simulation, so the same
(family, seed, robot) and the same skills give the same bits in every process. Knows no planner.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emu_planner.plan.frame import Camera, Frame, Observation
from sim import bodies, fixture_bodies, repertoire, robots, skills, state, tasks
from sim.bullet import Bullet
from sim.camera import render
from sim.robots.base import Memory, Robot
from sim.scene import Button, Goal, Pose, Scene, Skill

STEPS_PER_SECOND = 240
_SETTLE_STEPS = 12


@dataclass(frozen=True)
class Snapshot:
    """A world's whole state, to be given back to `restore` and at last to `forget`."""

    bullet_id: int
    steps: int
    robot: Memory
    stage: int = 0


class World:
    """A robot at a table. `reset` first; `close` at the end, or use it as a context manager.

    Args:
        on_step: called after every step of physics; a live camera hooks in here.
    """

    scene: Scene
    robot: Robot

    def __init__(self, on_step: Callable[[], None] | None = None) -> None:
        self.bullet = Bullet()
        self.on_step = on_step
        self.steps = 0
        # Bullet's number of each item and container, by name
        self.bodies: dict[str, int] = {}
        # the goal whose stages are counted, and how many of them have been reached
        self.goal = Goal(())
        self.stage = 0

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the physics client."""
        self.bullet.close()

    # ---- time

    def reset(self, family: str, seed: int, robot: str = robots.DEFAULT) -> Scene:
        """Build the scene of that family, seed and robot; the robot is at home."""
        return self.build(tasks.make_scene(family, seed, robot))

    def build(self, scene: Scene) -> Scene:
        """Build a scene from its description and let it settle."""
        bullet = self.bullet
        bullet.resetSimulation()
        bullet.setGravity(0, 0, -9.81)
        bullet.setTimeStep(1 / STEPS_PER_SECOND)
        bullet.setPhysicsEngineParameter(deterministicOverlappingPairs=1, numSolverIterations=50)
        self.scene, self.steps = scene, 0
        self.table = bodies.table(bullet, scene.look.table_rgb)
        self.robot = robots.ROBOTS[robots.known(scene.robot)](bullet, self.step)
        self.bodies = {
            r.name: fixture_bodies.load(bullet, r, self.table) if r.opens else bodies.receptacle(bullet, r)
            for r in scene.receptacles
        }
        self.bodies |= {b.name: fixture_bodies.load(bullet, b, self.table) for b in scene.buttons}
        self.bodies |= {item.name: bodies.item(bullet, item) for item in scene.items}
        for _ in range(_SETTLE_STEPS):
            self.step()
        self.follow(scene.goal)
        return scene

    def follow(self, goal: Goal) -> None:
        """Count the stages of this goal from now on; after a reset, those of the scene's goal."""
        self.goal, self.stage = goal, 0

    def step(self) -> None:
        """One step of physics, 1/240 s."""
        self.bullet.stepSimulation()
        self.steps += 1
        if self.on_step is not None:
            self.on_step()

    def refresh_contacts(self, name: str) -> None:
        """Let Bullet find an item's contacts anew.

        It keeps a contact's normal in world axes as long as the contact lasts, so after a turn in
        the gripper old normals would push sideways, or hold on to what should be let go.
        """
        self.bullet.setCollisionFilterGroupMask(self.bodies[name], -1, 1, -1)

    def forget_contacts(self) -> None:
        """Let Bullet find all contacts anew: then poses and speeds alone decide the future.

        Otherwise the solver's memory of old contacts, which no saved state holds, has a say too.
        """
        for item in self.scene.items:
            self.refresh_contacts(item.name)

    @property
    def time_s(self) -> float:
        """Simulated time since the reset."""
        return self.steps / STEPS_PER_SECOND

    # ---- what is true, what is seen

    def state(self) -> state.SymbolicState:
        """Where everything is, read from exact physics; changes nothing."""
        return state.read(self)

    def success(self) -> dict[str, bool]:
        """Is the task done? Named conditions; done when all are true."""
        return tasks.success(self.scene, self.state())

    def pose(self, name: str) -> Pose:
        """Present pose of an item."""
        return Pose(*self.bullet.getBasePositionAndOrientation(self.bodies[name]))

    def cameras(self) -> tuple[Camera, ...]:
        """The two cameras with their intrinsics."""
        return tuple(view.camera for view in self.scene.look.views)

    def observation(self) -> Observation:
        """Both cameras' frames now; stamped in simulated seconds, numbered by step."""
        look = self.scene.look
        frames = tuple(render(self.bullet, view, look, self.time_s) for view in look.views)
        return Observation(frames, self.steps)

    def view(self, name: str) -> Frame:
        """One camera's frame now."""
        view = next(v for v in self.scene.look.views if v.name == name)
        return render(self.bullet, view, self.scene.look, self.time_s)

    def picture(self) -> NDArray[np.uint8]:
        """Both views side by side, front | side: [192, 384, 3] uint8."""
        return np.concatenate([frame.rgb for frame in self.observation().frames], axis=1)

    def fraction(self, name: str) -> float:
        """How far a drawer, a lid or a button's lamp has moved: 0 closed or dark, 1 open or lit."""
        what = self.scene.button(name) or self.scene.receptacle(name)
        if what is None:
            raise KeyError(f"nothing opens or lights up that is called {name!r}")
        joint = fixture_bodies.LAMP if isinstance(what, Button) else 0
        value = self.bullet.getJointState(self.bodies[name], joint)[0]
        return float(value / fixture_bodies.full_travel(what))

    def set_fraction(self, name: str, fraction: float) -> None:
        """Put a moving part there at once, without physics."""
        what = self.scene.button(name) or self.scene.receptacle(name)
        if what is None:
            raise KeyError(f"nothing opens or lights up that is called {name!r}")
        joint = fixture_bodies.LAMP if isinstance(what, Button) else 0
        value = fraction * fixture_bodies.full_travel(what)
        self.bullet.resetJointState(self.bodies[name], joint, value)

    # ---- acting

    def legal_skills(self) -> list[Skill]:
        """All skills that are possible in the present state, distractors included."""
        return repertoire.legal(self)

    def execute(self, skill: Skill) -> skills.SkillResult:
        """Carry out one skill. One that is not legal now is refused and moves nothing."""
        result = repertoire.execute(self, skill)
        self._advance()
        return result

    def _advance(self) -> None:
        """Count a stage of the goal when it is reached."""
        if self.stage < len(self.goal.stages):
            now = self.state()
            self.stage += all(state.satisfied(now, fact) for fact in self.goal.stages[self.stage])

    # ---- remembering

    def snapshot(self) -> Snapshot:
        """Remember everything, exactly; held objects stay held. Costs memory until `forget`.

        What follows now is bit for bit what follows each later restore; with moving parts nearly, see
        `mirror`.
        """
        self.forget_contacts()
        memory = self.robot.remember()
        return Snapshot(self.bullet.saveState(), self.steps, memory, self.stage)

    def restore(self, snapshot: Snapshot) -> None:
        """Return to a snapshot of this world since its last reset; it can be used again."""
        self.forget_contacts()
        self.bullet.restoreState(stateId=snapshot.bullet_id)
        self.steps, self.stage = snapshot.steps, snapshot.stage
        self.robot.recall(snapshot.robot)

    def forget(self, snapshot: Snapshot) -> None:
        """Free a snapshot's memory."""
        self.bullet.removeState(snapshot.bullet_id)

    def mirror(self, other: "World", *, anew: bool = False) -> None:
        """Become what another world is now: its scene, and every pose, speed and motor target.

        Args:
            other: that world.
            anew: begin with an empty simulation, which ends all snapshots of this world. Without it what this
                world did before can show in the last bits of what a body with moving parts does: it touches
                others with many shapes at once, and Bullet's solver takes them in an order that comes from
                pairs that have met, which no saved state holds.
        """
        if anew or getattr(self, "scene", None) != other.scene:
            self.build(other.scene)
        for name in (item.name for item in self.scene.items):
            body, twin = self.bodies[name], other.bodies[name]
            place = other.bullet.getBasePositionAndOrientation(twin)
            self.bullet.resetBasePositionAndOrientation(body, *place)
            self.bullet.resetBaseVelocity(body, *other.bullet.getBaseVelocity(twin))
        for name in self.scene.parts:
            for joint in range(self.bullet.getNumJoints(self.bodies[name])):
                value, speed = other.bullet.getJointState(other.bodies[name], joint)[:2]
                self.bullet.resetJointState(self.bodies[name], joint, value, speed)
        ours = {other.bodies[name]: body for name, body in self.bodies.items()}
        self.robot.mirror(other.robot, ours.__getitem__)
        self.forget_contacts()
        self.steps, self.goal, self.stage = other.steps, other.goal, other.stage

    # ---- imagining, without physics

    def pose_state(
        self,
        poses: Mapping[str, Pose | None],
        arm: str = "home",
        size: float | None = None,
        parts: Mapping[str, float] | None = None,
    ) -> None:
        """Put items and arm somewhere without physics, to render a state that never was.

        Nothing is checked: items may float, overlap or vanish. Take a snapshot first and restore
        it afterwards; `state()` reads such a state like any other.

        Args:
            poses: new pose of some items; None lets an item vanish. Others stay.
            arm: "home" or "carry".
            size: of what the gripper is around, m; None: it is open.
            parts: new fraction of some moving parts, see `fraction`.
        """
        for name, fraction in (parts or {}).items():
            self.set_fraction(name, fraction)
        for name, pose in poses.items():
            pose = pose or Pose.upright(0.0, 0.0, -5.0)
            body = self.bodies[name]
            self.bullet.resetBasePositionAndOrientation(body, pose.position, pose.quaternion)
            self.bullet.resetBaseVelocity(body, (0, 0, 0), (0, 0, 0))
        joints = {"home": self.robot.home, "carry": self.robot.carry}[arm]
        self.robot.pose(joints, size)

    def imagine(self, skill: Skill) -> None:
        """Put the world into the state that a legal skill should lead to, without physics."""
        repertoire.imagine(self, skill)
        self._advance()
