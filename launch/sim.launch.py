"""Start the simulated robot: a PyBullet scene whose cameras publish as a real robot's would.

ros2 launch emu_planner sim.launch.py family:=stack robot:=kuka seed:=1000000012
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = "emu_planner"


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, then the simulator."""
    return LaunchDescription([*arguments(), sim_node()])


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
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="Least severe messages that the node logs",
        ),
        DeclareLaunchArgument(
            "family", default_value="stack", description="Task family of the scene; see sim/tasks"
        ),
        DeclareLaunchArgument("robot", default_value="panda", description="Which robot acts; see sim/robots"),
        DeclareLaunchArgument(
            "seed", default_value="1000000001", description="Number that the scene is drawn from"
        ),
    ]


def sim_node() -> Node:
    """The simulator's node; it runs until launch ends."""
    return Node(
        package=PACKAGE,
        executable="sim_node",
        name="sim",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[
            ParameterFile(LaunchConfiguration("params_file"), allow_substs=True),
            {
                "use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool),
                "family": ParameterValue(LaunchConfiguration("family"), value_type=str),
                "robot": ParameterValue(LaunchConfiguration("robot"), value_type=str),
                "seed": ParameterValue(LaunchConfiguration("seed"), value_type=int),
            },
        ],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
    )
