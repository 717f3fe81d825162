"""Click files and a command line, made once."""

import pytest

from pipelines.clicks import write_clicks
from pipelines.command_line import CommandLine


@pytest.fixture(scope="session")
def clicks(tmp_path_factory):
    """A folder with train/ (2 files, 600 rows) and eval/ (1 file, 200 rows)."""
    folder = tmp_path_factory.mktemp("clicks")
    write_clicks(folder / "train")
    write_clicks(folder / "eval", num_files=1, rows_per_file=200, seed=7)
    return folder


@pytest.fixture(scope="session")
def sparrow(tmp_path_factory):
    """Run `sparrow` in a real process: `sparrow("train", path).code`."""
    command_line = CommandLine(tmp_path_factory.mktemp("commands"))
    yield command_line
    command_line.close()
