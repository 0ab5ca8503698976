"""How the tests are shared out when several processes run them (`pytest -n 2 --dist loadgroup`)."""

import os

import pytest

# of torch and OpenBLAS, here and in what is started from here: the cores are shared already
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A file stays in one process, since its fixtures are made once; all that speaks ROS shares one.

    Two that looked for a free ROS domain at the same moment could find the same.
    """
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        alone = item.get_closest_marker("ros") is not None
        item.add_marker(pytest.mark.xdist_group("ros" if alone else item.nodeid.split("::")[0]))
