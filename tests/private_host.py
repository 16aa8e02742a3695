"""This machine in a mount namespace of its own, where packages can change and nobody sees it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from running import ROOT

# What programs and the package database lie below.
CHANGED = ("/usr", "/var/lib/dpkg")
_SCRIPT = """
set -e
mount -t tmpfs onejob-test "$1"
shift
for folder; do
    place=$(echo "$folder" | tr / _)
    mkdir "$scratch/$place" "$scratch/$place.work"
    mount -t overlay onejob-test "$folder" \\
        -o "lowerdir=$folder,upperdir=$scratch/$place,workdir=$scratch/$place.work"
done
echo ready
exec sleep 3600
"""


class PrivateHost:
    """The namespace of the process `pid`."""

    def __init__(self, pid: int) -> None:
        self._enter = ["nsenter", f"--mount=/proc/{pid}/ns/mnt", f"--wd={ROOT}"]

    def run(
        self, *words: str | Path, text: str = "", timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there, with `text` as its input."""
        return subprocess.run(
            [*self._enter, *map(str, words)],
            input=text, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip

    def must(self, *words: str | Path, text: str = "", timeout: float = 120) -> str:
        """The same, and it has to work."""
        done = self.run(*words, text=text, timeout=timeout)
        assert done.returncode == 0, f"{done.args}\n{done.stdout}{done.stderr}"
        return done.stdout

    def onejob(self, *words: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """The command line."""
        return self.run(sys.executable, "-m", "onejob.cli.main", *words, timeout=timeout)

    def package(self, name: str, version: str, *paths: str) -> None:
        """`name` is installed in `version`, and owns `paths`."""
        self.must("sed", "-i", f"/^Package: {name}$/,/^$/d", "/var/lib/dpkg/status")
        stanza = f"\nPackage: {name}\nStatus: install ok installed\nVersion: {version}\n"
        self.must("tee", "-a", "/var/lib/dpkg/status", text=stanza)
        self.must("tee", f"/var/lib/dpkg/info/{name}.list", text="\n".join(paths) + "\n")

    def compile(self, output: str, code: str, *words: str) -> None:
        """A program or library of C."""
        self.must("gcc", "-O1", "-x", "c", "-", "-o", output, "-x", "none", *words, text=code)


@contextmanager
def private_host(scratch: Path) -> Iterator[PrivateHost]:
    """A namespace that ends with the block; `scratch` is a new folder."""
    scratch.mkdir()
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SCRIPT, "onejob-test"]
    with subprocess.Popen(
        [*argv, str(scratch), *CHANGED],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "scratch": str(scratch),
        },
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield PrivateHost(process.pid)
        finally:
            process.kill()
