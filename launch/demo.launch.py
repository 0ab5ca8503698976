"""Start everything: the simulated robot, the plan service, the planner node, and the demo's driver.

The driver sends the task, lets the simulated arm carry the steps out, writes out/ and ends; with
it everything ends.

ros2 launch emu_planner demo.launch.py family:=stack robot:=kuka seed:=1000000012
"""

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import ExecutableInPackage, FindPackageShare

PACKAGE = "emu_planner"
OF_SIM = ("namespace", "use_sim_time", "params_file", "log_level", "family", "robot", "seed")
OF_PLANNER = (
    "namespace",
    "use_sim_time",
    "params_file",
    "autostart",
    "log_level",
    "server",
    "camera_frozen_after",
    "start_service",
    "checkpoint",
    "record",
)


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then include the other two files and start the driver."""
    driver = demo_driver()
    end = RegisterEventHandler(
        OnProcessExit(target_action=driver, on_exit=[Shutdown(reason="the demo has ended")])
    )
    return LaunchDescription(
        [
            *arguments(),
            include("sim.launch.py", OF_SIM),
            include("planner.launch.py", OF_PLANNER),
            driver,
            end,
        ]
    )


def arguments() -> list[DeclareLaunchArgument]:
    """Every argument, with what it means and what it is when nobody says."""
    params_file = PathJoinSubstitution([FindPackageShare(PACKAGE), "launch", "params.yaml"])
    return [
        DeclareLaunchArgument(
            "namespace", default_value="", description="Namespace of both nodes and of the camera topics"
        ),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="false",
            choices=["true", "false"],
            description="Take the time from /clock instead of the machine",
        ),
        DeclareLaunchArgument(
            "params_file", default_value=params_file, description="Parameters of both nodes (YAML)"
        ),
        DeclareLaunchArgument(
            "autostart",
            default_value="true",
            choices=["true", "false"],
            description="Configure and activate the planner; false leaves that to a lifecycle manager",
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="Least severe messages that the nodes log",
        ),
        DeclareLaunchArgument(
            "server",
            default_value="127.0.0.1:50151",
            description='Plan service, "host:port" or "unix:///path"; goes before the file\'s value',
        ),
        DeclareLaunchArgument(
            "camera_frozen_after",
            default_value="0.0",
            description="A camera that shows the same pixels for longer, in seconds, is not planned from; "
            "0.0: it is, as a simulator has no noise",
        ),
        DeclareLaunchArgument(
            "start_service",
            default_value="true",
            choices=["true", "false"],
            description="Also start the plan service, at that host:port; false when one runs already",
        ),
        DeclareLaunchArgument(
            "checkpoint",
            default_value="nano",
            description="What the service plans with: nano, a checkpoint's folder, or its name on the hub",
        ),
        DeclareLaunchArgument(
            "record",
            default_value="",
            description="Folder below which the session is recorded as a rosbag2 file; empty: it is not",
        ),
        DeclareLaunchArgument(
            "family", default_value="stack", description="Task family of the scene; see sim/tasks"
        ),
        DeclareLaunchArgument("robot", default_value="panda", description="Which robot acts; see sim/robots"),
        DeclareLaunchArgument(
            "seed", default_value="1000000001", description="Number that the scene is drawn from"
        ),
        DeclareLaunchArgument(
            "task", default_value="", description="What the robot is asked to do; empty: the scene's own task"
        ),
    ]


def include(name: str, passed_on: tuple[str, ...]) -> IncludeLaunchDescription:
    """Another launch file of this package, with these arguments as they are here."""
    path = PathJoinSubstitution([FindPackageShare(PACKAGE), "launch", name])
    return IncludeLaunchDescription(
        path, launch_arguments=[(argument, LaunchConfiguration(argument)) for argument in passed_on]
    )


def demo_driver() -> ExecuteProcess:
    """The demo against nodes that run already; it waits for them."""
    return ExecuteProcess(
        cmd=[
            ExecutableInPackage(package=PACKAGE, executable="emu-planner"),
            "demo",
            "--attach",
            "--namespace",
            LaunchConfiguration("namespace"),
            "--task",
            LaunchConfiguration("task"),
        ],
        name="demo",
        output="screen",
    )
