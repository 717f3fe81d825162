"""The `sparrow` command in processes of its own that are cheap: an interpreter imports everything once, then forks for each command."""

import functools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_SERVER = """
import json, os, signal, sys
import torch, pyarrow.orc, sparrow.synth, sparrow.cli.main, sparrow.cli.show, sparrow.pipelines.run, sparrow.pipelines.load_config
torch.set_num_threads(1)
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for descriptor, path in ((0, os.devnull), (1, order["stdout"]), (2, order["stderr"])):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
        os.chdir(order["folder"])
        exec(order["before"], {})
        try:
            sparrow.cli.main.main(order["arguments"])
            code = 0
        except SystemExit as exit:
            code = exit.code or 0
        except BaseException:
            import traceback
            traceback.print_exc()
            code = 1
        sys.stdout.flush(); sys.stderr.flush()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@dataclass(frozen=True)
class Done:
    """How a command ended. code: negative for a signal that killed it."""

    code: int
    out: str
    err: str


class CommandLine:
    """Runs `sparrow ARGUMENTS`, one command at a time."""

    def __init__(self, folder):
        self.folder = Path(folder)
        paths = [str(Path(__file__).parents[1]), *sys.path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __call__(self, *arguments, before=""):
        """Run one command; `before` is Python that the process runs first."""
        out, err = self.folder / "stdout.txt", self.folder / "stderr.txt"
        order = {
            "arguments": [str(a) for a in arguments],
            "before": before,
            "folder": str(self.folder),
            "stdout": str(out),
            "stderr": str(err),
        }
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline()
        assert answer, "the server of commands died"
        return Done(int(answer), out.read_text(), err.read_text())

    def close(self):
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


@functools.cache
def shared_command_line(session_folder):
    """Return the one command line of this session. May be closed more than once."""
    folder = session_folder / "commands"
    folder.mkdir()
    return CommandLine(folder)
