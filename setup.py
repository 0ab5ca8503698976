"""The one Python manifest, read by pip and by colcon (ament_python). Versions: requirements/."""

from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

NAME = "emu_planner"


def read_requirements(*names: str) -> list[str]:
    """Packages named in requirements/<name>.txt, without the versions tested together.

    A robot's own Python may have other versions; the exact ones are for the virtual environment.
    """
    lines = []
    for name in names:
        lines += (Path(__file__).parent / "requirements" / f"{name}.txt").read_text().splitlines()
    return [line.partition("==")[0] for line in lines if line and not line.startswith(("#", "-"))]


setup(
    name=NAME,
    version="0.1.0",
    description="Plans robot tasks as a stream of subgoals with imagined keyframes",
    license="Apache-2.0",
    maintainer="emu_planner maintainers",
    maintainer_email="emu-planner@example.com",
    python_requires=">=3.10",
    packages=find_packages(include=["emu_planner", "emu_planner.*", "sim", "sim.*"]),
    package_data={
        "emu_planner": ["weights/**/*", "wire/*.proto", "story/*.proto", "**/py.typed", "console/**/*"],
        "sim": ["suites/*.json", "assets/**/*"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", glob("launch/*.py") + glob("launch/*.yaml")),
    ],
    install_requires=["setuptools"],
    extras_require={
        "console": read_requirements("console"),
        "export": read_requirements("export"),
        "model": read_requirements("model"),
        "ray": read_requirements("ray"),
        "ray-serve": read_requirements("ray_serve"),
        "sim": read_requirements("sim"),
        "tensorboard": read_requirements("tensorboard"),
        "test": ["pytest", "pytest-timeout", "hypothesis"],
        "wire": read_requirements("base"),
    },
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "emu-planner = emu_planner.cli.main:main",
            # what `ros2 run emu_planner` and the launch files start
            "plan_service = emu_planner.cli.serve:main",
            "planner_node = emu_planner.ros.planner_node:main",
            "execute_by_hand = emu_planner.executor.by_hand:main",
            "sim_node = sim.ros_node:main",
        ],
    },
)
