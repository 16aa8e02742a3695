"""An image on this host: a container made by runc, with the same root, process 1 and policy.

The root is mounted in a mount namespace that only runc's process tree is in, so that the mount and
its loop device are gone whenever that tree is, whatever becomes of us.
"""

import json
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from onejob.base.linux import need_root
from onejob.base.process import await_end, end_group, find_tool
from onejob.base.verity import check_root
from onejob.drive.probe import Probe
from onejob.model.image import Image
from onejob.system.append_only import lift_append_only
from onejob.system.bundle import bundle_config, can_limit
from onejob.system.console import Console
from onejob.system.control import Control
from onejob.system.fitness import check_host
from onejob.system.instance import Instance, OnText
from onejob.system.log_share import LogShare, log_share
from onejob.system.network import private_network

RUN = Path("/run")
END_TIMEOUT_S = 10.0
RELEASE_TIMEOUT_S = 3.0

# The control socket becomes descriptor 3, the first that runc passes on. Only bash, not every
# sh, takes a descriptor of two digits. $1 socket, $2 mount, $3 file system, $4 image, $5 root,
# $6 image of the logs' share and $7 its place, or empty.
_ENTER = (
    '"$2" -t "$3" -o loop,ro,nodev,nosuid "$4" "$5" &&'
    ' if [ -n "$6" ]; then "$2" -t ext4 -o loop,nodev,nosuid,noexec "$6" "$7"; fi &&'
    ' exec "${@:8}" 3<&"$1"'
)


class HostInstance(Instance):
    """An image in a container; `since` is when it was started (time.monotonic)."""

    since: float = 0.0


@contextmanager
def host_instance(
    image: Image,
    *,
    host_network: bool = False,
    data: Path | None = None,
    driven: bool = True,
    recording: Path | None = None,
    on_text: OnText | None = None,
) -> Iterator[HostInstance]:
    """Start `image`; at the end of the context nothing of it is left, whatever happened.

    `data` is the folder that the service's data lies in, a temporary one if None. With `recording`
    the eBPF probe watches, and writes there when the context ends well.
    `driven`: all that the control channel offers can be asked, for drills.
    LacksError where this host cannot, ServiceError where process 1 could not start the service.
    """
    need_root("running an image on this host")
    check_host(image.plan)
    check_root(image.root, image.manifest.verity)  # a guest's kernel does so block by block
    with ExitStack() as stack:
        folder = stack.enter_context(private_folder())
        network = None
        if not host_network:
            network = stack.enter_context(private_network(image.plan.sysctls()))
        data = data or folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        share = stack.enter_context(log_share(image.plan, data))
        container = Container(folder, image, network, data, share, driven)
        stack.callback(lift_append_only, image.plan, data)
        stack.callback(container.await_released)
        console = Console(on_text)
        stack.callback(console.close)
        ours, theirs = socket.socketpair()
        with theirs:
            control = Control(ours)
            stack.callback(control.close)
            stack.callback(container.end)
            container.start(console, theirs.fileno(), recording)
        console.stop_writing()
        addresses = {port: f"127.0.0.1:{port}" for port in image.plan.service.ports}
        instance = HostInstance(image.plan.name, container, control, console, addresses, network)
        instance.since = container.since
        instance.data = data
        instance.await_started()
        container.note_loop_devices()
        yield instance
        if recording is not None:
            container.finish_recording()


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder below /run that only root sees, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="onejob-", dir=RUN))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Container:
    """runc and what it needs on disk."""

    def __init__(
        self,
        folder: Path,
        image: Image,
        network: Path | None,
        data: Path,
        share: LogShare | None,
        driven: bool,
    ) -> None:
        self._folder, self._image, self._share = folder, image, share
        self._name = f"onejob-{secrets.token_hex(6)}"
        self._runc = find_tool("runc", "runc")
        self._root = folder / "root"
        self._root.mkdir()
        config = bundle_config(
            image.plan,
            self._root,
            data.absolute(),
            network,
            f"/{self._name}",
            can_limit(),
            driven=driven,
        )
        (folder / "config.json").write_text(json.dumps(config))
        self._process: subprocess.Popen[bytes] | None = None
        self._probe: Probe | None = None
        self._loops: list[Path] = []
        self.since = 0.0

    def start(self, console: Console, control: int, recording: Path | None) -> None:
        """Start it; `control` is the descriptor that process 1 gets as its control channel."""
        argv = self._command(control)
        self.since = time.monotonic()
        if recording is not None:
            self._probe = Probe(
                argv, recording, output=console.writing, environment=_environment(),
                pass_fds=self._passed(control),
            )  # fmt: skip
            self.since = self._probe.started_at
            return
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=console.writing, stderr=console.writing,
            cwd="/", env=_environment(), pass_fds=self._passed(control), start_new_session=True,
        )  # fmt: skip

    def _passed(self, control: int) -> list[int]:
        """The lock, too: it holds as long as anything of the container is there."""
        return [control, *([self._share.lock] if self._share else [])]

    def _command(self, control: int) -> list[str]:
        runc = [*self._runc_words(), "run", "--bundle", str(self._folder), "--preserve-fds", "1"]
        enter = [find_tool("bash", "bash"), "-c", _ENTER, "bash", str(control)]
        mount = [find_tool("mount", "mount"), self._image.plan.root.filesystem]
        unshare = [find_tool("unshare", "util-linux"), "--mount", "--propagation", "private"]
        image = str(self._image.root.absolute())
        share = [str(self._share.image), str(self._share.folder)] if self._share else ["", ""]
        return [*unshare, "--", *enter, *mount, image, str(self._root), *share, *runc, self._name]

    def _runc_words(self) -> list[str]:
        return [self._runc, "--root", str(self._folder / "runc")]

    def ended(self) -> int | None:
        """runc's exit status; None while it runs."""
        if self._probe is not None:
            ended = self._probe.exited()
            return None if ended is None else ended.status or ended.signal or 0
        return self._process.poll() if self._process is not None else None

    def finish_recording(self) -> None:
        """Have the probe write what it saw."""
        if self._probe is not None:
            self._probe.finish()

    def end(self) -> None:
        """End it at once if it still runs, and all that is left of it."""
        self._delete()
        if self._process is not None:
            await_end(self._process, END_TIMEOUT_S)
            end_group(self._process)
        if self._probe is not None:
            self._probe.close()
        self._delete()  # one that was just being made when the first call looked

    def _delete(self) -> None:
        if (self._folder / "runc" / self._name).exists():
            with suppress(subprocess.TimeoutExpired, OSError):
                subprocess.run(
                    [*self._runc_words(), "delete", "--force", self._name],
                    stdin=subprocess.DEVNULL, capture_output=True, timeout=END_TIMEOUT_S,
                )  # fmt: skip

    def note_loop_devices(self) -> None:
        """Remember what is mounted from files; only runc's own mount namespace shows it."""
        runc = self._probe or self._process
        with suppress(OSError):
            for line in Path(f"/proc/{runc.pid if runc else 0}/mountinfo").read_text().splitlines():
                fields, _, source = line.partition(" - ")
                if fields.split()[4] in self._places():
                    self._loops.append(Path("/sys/block", Path(source.split()[1]).name, "loop"))

    def _places(self) -> tuple[str, ...]:
        return (str(self._root), *([str(self._share.folder)] if self._share else []))

    def await_released(self) -> None:
        """Return when the kernel has let go of loop devices, which it does in the background."""
        deadline = time.monotonic() + RELEASE_TIMEOUT_S
        while any(loop.exists() for loop in self._loops) and time.monotonic() < deadline:
            time.sleep(0.01)


def _environment() -> dict[str, str]:
    """runc would take LISTEN_FDS and more from ours."""
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
