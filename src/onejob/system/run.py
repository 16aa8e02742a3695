"""Run an image until its service ends, or until whoever started it says so."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import FrameType

from onejob.base.progress import Progress
from onejob.drive.ready import wait_ready
from onejob.drive.target import Exit
from onejob.model.container import has_data
from onejob.model.errors import ServiceError
from onejob.model.image import Image
from onejob.model.workload import Workload
from onejob.system.asked import MAY_ADMINISTER, answering
from onejob.system.host import host_instance
from onejob.system.instance import Instance
from onejob.system.metrics import metrics_served
from onejob.system.network import Publish
from onejob.system.publish import published
from onejob.system.qemu import QemuInstance, qemu_instance
from onejob.system.registry import Registered, registered
from onejob.system.rehearse import Where, load_embedded_workload, patient
from onejob.system.serving import Place

STOP_SLACK_S = 5.0
_LOOK_S = 0.2


def run(
    image: Image,
    where: Where,
    publish: Sequence[Publish],
    memory_mib: int | None,
    progress: Progress,
    on_text: Callable[[str], None],
    data: Path | None = None,
    metrics: Place | None = None,
    administered: Place | None = None,
) -> Exit:
    """Run `image`; its console goes to `on_text` (from another thread), how it ended is returned.

    SIGINT and SIGTERM stop the service in its own way first. `data` is a folder (host) or a disk
    image (QEMU) that outlives the run; None: temporary. `metrics`: where they are served;
    `administered`: where the administrator may shut it down.
    """
    with (
        stop_requests() as asked,
        _start(image, where, publish, memory_mib, data, on_text) as (
            instance,
            told,
        ),
    ):
        ports = {
            port: next((f"{p.host}:{p.host_port}" for p in publish if p.port == port), "")
            or instance.address(port)
            for port in image.plan.service.ports
        }
        for port, place in ports.items():
            progress.step(f"port {port} is {place}")
        if told:
            progress.step(told)
        with (
            _found(image, where, tuple(ports.values()), instance),
            metrics_served(metrics, instance.observations, image.plan)
            if metrics
            else nullcontext(),
            answering(administered, instance.ask, MAY_ADMINISTER)
            if administered
            else nullcontext(),
        ):
            ready = _Readiness(instance, _workload(image, instance))
            return _watch(instance, asked, ready, image.plan.service.stop_timeout_ms / 1000)


def _workload(image: Image, instance: Instance) -> Workload:
    """That of `image`, with time for an emulated processor where there is one."""
    workload = load_embedded_workload(image)
    emulated = isinstance(instance, QemuInstance) and instance.accelerator.name == "tcg"
    return patient(workload) if emulated else workload


class _Readiness(threading.Thread):
    """Waits until the service is ready, for as long as its workload says; `failed` is why not."""

    def __init__(self, instance: Instance, workload: Workload) -> None:
        super().__init__(daemon=True)
        self._instance, self._workload = instance, workload
        self.failed: ServiceError | None = None
        self.start()

    def run(self) -> None:
        """Its output is on the console already, so only the sentence is kept. A job never is."""
        if self._workload.job:
            return
        try:
            wait_ready(self._instance, self._workload, time.monotonic())
        except ServiceError as error:
            self.failed = ServiceError(error.what.partition("\n")[0], error.hint)


@contextmanager
def _found(
    image: Image, where: Where, ports: tuple[str, ...], instance: Instance
) -> Iterator[None]:
    """Have `instance` found by `onejob status`, and answer for it."""
    entry = Registered(
        name=image.plan.name, service=image.plan.name, where=where, pid=os.getpid(),
        image=str(image.folder.absolute()), since=int(time.time()), ports=ports,
        data=str(instance.data.absolute()) if instance.data and has_data(image.plan) else "",
    )  # fmt: skip
    with registered(entry) as known, answering(known.place, instance.ask):
        yield


@contextmanager
def _start(
    image: Image,
    where: Where,
    publish: Sequence[Publish],
    memory_mib: int | None,
    data: Path | None,
    on_text: Callable[[str], None],
) -> Iterator[tuple[Instance, str]]:
    """The instance with its ports published, and what to tell of it."""
    if where == "qemu":
        with qemu_instance(
            image,
            publish=publish,
            memory_mib=memory_mib,
            data=data,
            closed=False,
            driven=False,
            on_text=on_text,
        ) as guest:
            yield guest, f"{guest.accelerator.name}: {guest.accelerator.reason}"
        return
    shared = load_embedded_workload(image).network == "host"
    with host_instance(
        image, host_network=shared, data=data, driven=False, on_text=on_text
    ) as host:
        if host.network is None:
            yield host, "it shares this machine's network, so nothing is to be published"
            return
        with published(host.network, publish):
            yield host, ""


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; a second SIGINT interrupts at once."""
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(
    instance: Instance, asked: threading.Event, ready: _Readiness, stop_timeout: float
) -> Exit:
    while (ended := instance.exited()) is None:
        if ready.failed is not None:
            _stop(instance, stop_timeout)
            raise ready.failed
        if asked.wait(_LOOK_S):
            return _stop(instance, stop_timeout)
    return ended


def _stop(instance: Instance, stop_timeout: float) -> Exit:
    """Process 1 sends the service its stop signal, and SIGKILL after `stop_timeout` seconds."""
    with suppress(ServiceError):
        instance.control.request("stop")
    deadline = time.monotonic() + stop_timeout + STOP_SLACK_S
    while time.monotonic() < deadline:
        ended = instance.exited()
        if ended is not None:
            return ended
        time.sleep(_LOOK_S / 4)
    raise ServiceError(f"{instance.name} does not stop; it was ended by force")
