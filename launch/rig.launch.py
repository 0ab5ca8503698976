"""Start what one robot needs beside its own drivers: the planner node, and an executor by hand.

Cameras are the robot's, and one plan service serves several robots: start this once a robot, each
in a namespace, with the same `server`. Camera topics are parameters (see params.yaml); those of the
front and the side camera can be given here, absolute or relative to the namespace.

ros2 launch emu_planner rig.launch.py namespace:=left server:=gpu-machine:50151
ros2 launch emu_planner rig.launch.py namespace:=right server:=gpu-machine:50151 \
    front_topic:=/right_camera/color/image_raw executor:=false
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, PythonExpression
from launch_ros.actions import Node, SetRemap
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = "emu_planner"
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
    """Declare the arguments, then the planner with its cameras mapped, and the executor."""
    return LaunchDescription([*arguments(), planner_with_cameras(), executor_node()])


def arguments() -> list[DeclareLaunchArgument]:
    """Every argument, with what it means and what it is when nobody says."""
    params_file = PathJoinSubstitution([FindPackageShare(PACKAGE), "launch", "params.yaml"])
    return [
        DeclareLaunchArgument(
            "namespace",
            default_value="",
            description="Namespace of the robot; one for each of several robots",
        ),
        DeclareLaunchArgument(
            "use_sim_time",
            default_value="false",
            choices=["true", "false"],
            description="Take the time from /clock instead of the machine",
        ),
        DeclareLaunchArgument(
            "params_file", default_value=params_file, description="Parameters of the planner node (YAML)"
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
            description='Plan service, "host:port" or "unix:///path"; several robots may name the same one',
        ),
        DeclareLaunchArgument(
            "camera_frozen_after",
            default_value="3.0",
            description="A camera that shows the same pixels for longer, in seconds, is not planned from; "
            "0.0 for a simulated one; goes before the file's value",
        ),
        DeclareLaunchArgument(
            "start_service",
            default_value="false",
            choices=["true", "false"],
            description="Also start the plan service on this machine; false when it runs elsewhere",
        ),
        DeclareLaunchArgument(
            "checkpoint",
            default_value="nano",
            description="What the service plans with, if it is started here: nano, a checkpoint's folder, "
            "or its name on the hub",
        ),
        DeclareLaunchArgument(
            "record",
            default_value="",
            description="Folder below which the session is recorded as a rosbag2 file; empty: it is not",
        ),
        DeclareLaunchArgument(
            "front_topic",
            default_value="front/image_raw",
            description="Image topic of the front camera, without a transport's suffix",
        ),
        DeclareLaunchArgument(
            "side_topic",
            default_value="side/image_raw",
            description="Image topic of the side camera, without a transport's suffix",
        ),
        DeclareLaunchArgument(
            "executor",
            default_value="true",
            choices=["true", "false"],
            description="Also start execute_by_hand, where a person is the executor; false when the robot "
            "has its own",
        ),
    ]


def planner_with_cameras() -> GroupAction:
    """planner.launch.py, with the cameras' topics remapped inside the group alone."""
    path = PathJoinSubstitution([FindPackageShare(PACKAGE), "launch", "planner.launch.py"])
    remaps = [
        *camera_remaps("front", LaunchConfiguration("front_topic")),
        *camera_remaps("side", LaunchConfiguration("side_topic")),
    ]
    included = IncludeLaunchDescription(
        path, launch_arguments=[(argument, LaunchConfiguration(argument)) for argument in OF_PLANNER]
    )
    return GroupAction([*remaps, included])


def camera_remaps(camera: str, topic: LaunchConfiguration) -> list[SetRemap]:
    """A camera's image, raw and compressed, and the camera_info beside it."""
    info = PythonExpression(["'", topic, "'[:'", topic, "'.rfind('/') + 1] + 'camera_info'"])
    return [
        SetRemap(src=f"{camera}/image_raw", dst=topic),
        SetRemap(src=f"{camera}/image_raw/compressed", dst=[topic, "/compressed"]),
        SetRemap(src=f"{camera}/camera_info", dst=info),
    ]


def executor_node() -> Node:
    """A person at the robot as its executor; see emu_planner/executor/by_hand.py for one's own."""
    return Node(
        package=PACKAGE,
        executable="execute_by_hand",
        name="execute_by_hand",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        condition=IfCondition(LaunchConfiguration("executor")),
        parameters=[
            {"use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)},
        ],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
    )
