"""A service under the profiler, as a drill's Target: processes, signals and files by /proc."""

import os
from collections.abc import Callable
from pathlib import Path

from onejob.base.linux import open_in_root
from onejob.drive.target import Exit, Process
from onejob.model.errors import ServiceError
from onejob.profiler.looks import Looks

_CHUNK = 1 << 20


class ProfiledService:
    """The service whose main process is `main`. All paths are as the service sees them.

    `kept_to` is that of onejob.profiler.looks.Looks.
    """

    def __init__(
        self,
        main: int,
        network: Path | None,
        exited: Callable[[], Exit | None],
        begin_drill: Callable[[str], None],
        output: Path,
        kept_to: int | None = None,
    ) -> None:
        self._main = main
        self._exited = exited
        self._begin_drill = begin_drill
        self._output = output
        self.network = network
        self.looks = Looks(kept_to)

    def address(self, port: int) -> str:
        """The service is in reach by loopback, in its own network namespace or in this one."""
        return f"127.0.0.1:{port}"

    def begin_drill(self, name: str) -> None:
        """Tell the observer, after a look at what the last drill left."""
        self.looks.look(self.processes())
        self._begin_drill(name)

    def note_memory(self) -> None:
        """Keep the most that the processes held at once, as far as it was looked at."""
        self.looks.note_resident(self.processes())

    def send_signal(self, number: int, worker: Process | None = None) -> None:
        """Signal the main process, or a `worker` of it."""
        pid = worker.pid if worker else self._main
        try:
            os.kill(pid, number)
        except ProcessLookupError as error:
            what = "the worker" if worker else "the service"
            raise ServiceError(f"{what} (pid {pid}) is gone") from error

    def processes(self) -> tuple[Process, ...]:
        """The main process and its descendants."""
        everyone = {process.pid: process for process in _all_processes()}
        found = [everyone[self._main]] if self._main in everyone else []
        for process in found:
            found += [child for child in everyone.values() if child.parent == process.pid]
        return tuple(found)

    def rename(self, old: str, new: str) -> None:
        """Rename in the service's view."""
        source, target = self._open_folder(old), self._open_folder(new)
        try:
            names = os.path.basename(old), os.path.basename(new)
            os.rename(*names, src_dir_fd=source, dst_dir_fd=target)
        except OSError as error:
            raise ServiceError(f"rename {old} to {new}: {error.strerror}") from error
        finally:
            os.close(source)
            os.close(target)

    def remove(self, path: str) -> None:
        """Remove a file in the service's view."""
        folder = self._open_folder(path)
        try:
            os.unlink(os.path.basename(path), dir_fd=folder)
        except OSError as error:
            raise ServiceError(f"remove {path}: {error.strerror}") from error
        finally:
            os.close(folder)

    def exists(self, path: str) -> bool:
        """Whether the service would find `path`."""
        try:
            os.close(self._open(path, os.O_PATH))
        except OSError:
            return False
        return True

    def contains(self, path: str, text: str) -> bool:
        """Whether the file has `text` in it."""
        needle = text.encode()
        try:
            file = os.fdopen(self._open(path, os.O_RDONLY), "rb")
        except OSError:
            return False
        with file:
            kept = b""
            while chunk := file.read(_CHUNK):
                if needle in kept + chunk:
                    return True
                kept = (kept + chunk)[-len(needle) :]
        return False

    def output(self) -> str:
        """What the service has printed."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def exited(self) -> Exit | None:
        """How the main process ended."""
        return self._exited()

    def _open(self, path: str, flags: int) -> int:
        root = os.open(f"/proc/{self._main}/root", os.O_PATH | os.O_DIRECTORY)
        try:
            return open_in_root(root, path, flags)
        finally:
            os.close(root)

    def _open_folder(self, path: str) -> int:
        folder = os.path.dirname(path)
        try:
            return self._open(folder, os.O_PATH | os.O_DIRECTORY)
        except OSError as error:
            raise ServiceError(f"{folder}: {error.strerror}") from error


def _all_processes() -> list[Process]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and (process := _read_process(int(name))):
            found.append(process)
    return sorted(found)


def _read_process(pid: int) -> Process | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        program = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return None
    if fields[0] in ("Z", "X"):
        return None
    return Process(pid, int(fields[1]), int(fields[19]), program)
