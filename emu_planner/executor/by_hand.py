"""An executor to copy: here a person is the body, who drives the robot and says what became of it.

    ros2 run emu_planner execute_by_hand
    ros2 service call /execute_by_hand/done std_srvs/srv/SetBool "{data: true}"

For a robot of your own copy this file and put its controller into `carry_out`: it gets one subgoal
in words, perhaps with the picture of its end, moves, and returns whether that succeeded. Everything
else (epochs, expiry, hold, reports) SubgoalExecutor does. Two things are yours to keep: call
`work.check()` at every cycle of the controller, and stand still before StoppedError leaves.
"""

import queue
import signal

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import SetBool

from emu_planner.executor.executor import SubgoalExecutor, Work

# how soon a person's wait notices that the subgoal was taken back, s
_CYCLE_S = 0.05
# how long the body may take to stand still when the process ends, s
_STANDSTILL_S = 5.0


class ExecuteByHand(Node):
    """The node execute_by_hand: shows each subgoal in its log and waits for ~/done."""

    def __init__(self) -> None:
        super().__init__("execute_by_hand")
        described = ParameterDescriptor(
            description="Carry out what planner/active_subgoal offers; false: only goals of execute_subgoal",
            read_only=True,
        )
        obey_topic = self.declare_parameter("obey_topic", True, described).value
        self._answers: queue.Queue[bool] = queue.Queue()
        self._working = False
        self.create_service(SetBool, "~/done", self._done)
        self.subgoals = SubgoalExecutor(self, self.carry_out, obey_topic=obey_topic)

    def carry_out(self, work: Work) -> tuple[bool, str]:
        """Your robot's part; here a person's. Runs in a thread of its own, one call at a time."""
        while not self._answers.empty():
            self._answers.get()
        self.get_logger().info(f"please do: {work.subgoal.instruction}; then call ~/done")
        self._working = True
        try:
            while True:
                work.check()
                try:
                    succeeded = self._answers.get(timeout=_CYCLE_S)
                except queue.Empty:
                    continue
                return succeeded, "" if succeeded else "the person at the robot says that it failed"
        finally:
            self._working = False

    def _done(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success = self._working
        if self._working:
            self._answers.put(request.data)
        else:
            response.message = "no subgoal is in work"
        return response


def main(args: list[str] | None = None) -> None:
    """Entry point: one executor, until it is told to stop."""
    told: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: told.append(number))
    # rclpy's own handlers would end ROS under a robot that moves
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node = ExecuteByHand()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not told:
            executor.spin_once(_CYCLE_S)
    finally:
        # a body in the middle of a movement must not end with its process
        node.subgoals.stop(_STANDSTILL_S)
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
