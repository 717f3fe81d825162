"""Click files and a command line, made once."""

import pytest

from pipelines.clicks import shared_clicks
from pipelines.command_line import shared_command_line


# pytest makes a session fixture again for every conftest that imports it, so what is made is kept by an ordinary module.
@pytest.fixture(scope="session")
def clicks(tmp_path_factory):
    """A folder with train/ (2 files, 600 rows) and eval/ (1 file, 200 rows)."""
    return shared_clicks(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def sparrow(tmp_path_factory):
    """Run `sparrow` in a real process: `sparrow("train", path).code`."""
    command_line = shared_command_line(tmp_path_factory.getbasetemp())
    yield command_line
    command_line.close()
