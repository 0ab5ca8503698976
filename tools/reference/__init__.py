"""The reference of the documentation site, written from the source whenever the site is built.

`pages()` gives every page: ROS parameters, topics and launch arguments, ROS messages, gRPC messages,
command line, metrics, settings. Nothing of it is committed, so nothing can be out of date. Knows no site
builder.
"""

from tools.reference import command_line, metrics, parameters, ros_messages, settings, wire


def pages() -> dict[str, str]:
    """Markdown by the name of its file, below reference/."""
    return {
        "parameters.md": parameters.page(),
        "messages.md": ros_messages.page(),
        "wire.md": wire.page(),
        "commands.md": command_line.page(),
        "metrics.md": metrics.page(),
        "settings.md": settings.page(),
    }
