"""Start the planner node, brought up to active, and beside it the plan service.

ros2 launch emu_planner planner.launch.py
ros2 launch emu_planner planner.launch.py start_service:=false server:=gpu-machine:50151 record:=bags
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, PythonExpression
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue
from launch_ros.substitutions import ExecutableInPackage, FindPackageShare

PACKAGE = "emu_planner"


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then the service, the recorder and the node."""
    return LaunchDescription([*arguments(), plan_service(), recorder(), planner_node()])


def arguments() -> list[DeclareLaunchArgument]:
    """Every argument, with what it means and what it is when nobody says."""
    params_file = PathJoinSubstitution([FindPackageShare(PACKAGE), "launch", "params.yaml"])
    return [
        DeclareLaunchArgument(
            "namespace", default_value="", description="Namespace of the node and of its camera topics"
        ),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="false",
            choices=["true", "false"],
            description="Take the time from /clock instead of the machine",
        ),
        DeclareLaunchArgument(
            "params_file", default_value=params_file, description="Parameters of the node (YAML)"
        ),
        DeclareLaunchArgument(
            "autostart",
            default_value="true",
            choices=["true", "false"],
            description="Configure and activate the node; false leaves that to a lifecycle manager",
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="Least severe messages that the node logs",
        ),
        DeclareLaunchArgument(
            "server",
            default_value="127.0.0.1:50151",
            description='Plan service, "host:port" or "unix:///path"; goes before the file\'s value',
        ),
        DeclareLaunchArgument(
            "camera_frozen_after",
            default_value="3.0",
            description="A camera that shows the same pixels for longer, in seconds, is not planned from; "
            "0.0 for a simulated one; goes before the file's value",
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
    ]


def plan_service() -> ExecuteProcess:
    """The service; no ROS node, hence no --ros-args. It takes the two parts of `server` apart."""
    server = LaunchConfiguration("server")
    return ExecuteProcess(
        cmd=[
            ExecutableInPackage(package=PACKAGE, executable="plan_service"),
            "--checkpoint",
            LaunchConfiguration("checkpoint"),
            "--host",
            PythonExpression(["'", server, "'.rpartition(':')[0]"]),
            "--port",
            PythonExpression(["'", server, "'.rpartition(':')[2]"]),
        ],
        name="plan_service",
        output="screen",
        condition=IfCondition(LaunchConfiguration("start_service")),
    )


def recorder() -> Node:
    """What records the session; SIGINT, which ends a launch, closes its bag.

    It is given as a Node so that cameras' topics that are remapped around this file are its own too.
    """
    folder = LaunchConfiguration("record")
    return Node(
        package=PACKAGE,
        executable="emu-planner",
        output="screen",
        condition=IfCondition(PythonExpression(["'", folder, "' != ''"])),
        arguments=["bag", "record", folder, "--namespace", ["/", LaunchConfiguration("namespace")]],
    )


def planner_node() -> LifecycleNode:
    """The node. It brings itself up: launch's request to do so may get lost, or reach one that is ending."""
    return LifecycleNode(
        package=PACKAGE,
        executable="planner_node",
        name="planner",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[
            ParameterFile(LaunchConfiguration("params_file"), allow_substs=True),
            {
                "use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool),
                "server": ParameterValue(LaunchConfiguration("server"), value_type=str),
                "camera_frozen_after": ParameterValue(
                    LaunchConfiguration("camera_frozen_after"), value_type=float
                ),
                "autostart": ParameterValue(LaunchConfiguration("autostart"), value_type=bool),
            },
        ],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
    )
