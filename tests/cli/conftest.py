"""The very click files and command line of the tests of the pipelines."""

from pipelines.conftest import clicks as clicks
from pipelines.conftest import sparrow as sparrow
