"""QEMU's command line and the kernel's, for an image: pure functions.

Sources: QEMU's documentation (system/i386/microvm, invocation), the kernel's
Documentation/admin-guide/kernel-parameters.txt and nfs/nfsroot.rst (``ip=``).
"""

from collections.abc import Sequence
from pathlib import Path

from onejob.base.boot_line import boot_line
from onejob.model.container import has_data
from onejob.model.image import Image
from onejob.model.plan import Plan
from onejob.system.network import Publish

CONTROL_PORT = "onejob.control"
# QEMU's user network; whoever is to reach nobody is told so at once, as in a network of its own on
# a host, where silence would cost a name server's every question its time.
NETWORK = "ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:off"
CLOSED_NETWORK = "ip=10.0.2.15:::255.255.255.0::eth0:off"
ADDRESS = "10.0.2.15"

# Port 1 of virtio device 0 (see device_words), or the second serial line.
_CONTROL_DEVICES = {"qemu-microvm": "/dev/ttyS1", "qemu-q35": "/dev/vport0p1"}
# Devices sit on the bus that the machine has.
_BUSES = {"qemu-microvm": "device", "qemu-q35": "pci"}
_MACHINES = {
    # ACPI hangs a kernel that does not expect it; without the pit a guest panics under TCG; without
    # the rtc it starts in 1970.
    "qemu-microvm": "microvm,acpi=off,rtc=on,pit=on,pic=on",
    "qemu-q35": "q35",
}
# Without these two features, kernels clear and copy memory by eight bytes at a time: an emulator
# takes as long for each single byte of the "quick" string instructions.
_EMULATED_PROCESSOR = "max,erms=off,fsrm=off"


def machine_words(how: str, accelerator: str) -> list[str]:
    """The machine itself, nothing on it that the user's configuration would add."""
    processor = _EMULATED_PROCESSOR if accelerator == "tcg" else "max"
    words = ["-machine", _MACHINES.get(how, "q35"), "-accel", accelerator, "-cpu", processor]
    return [*words, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]


def console_words() -> list[str]:
    """The first serial line is QEMU's standard output."""
    return ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]


def device_words(
    how: str, root: Path, data: Path, control: int | None, *, durable: bool = False
) -> list[str]:
    """The control channel on descriptor `control`; root and data disk, in this order.

    `durable`: what the guest has flushed to its data disk survives this host's power cut.
    """
    bus = _BUSES.get(how, "pci")
    words = [] if control is None else _control_words(how, control)
    cache = "cache=writeback" if durable else "cache=unsafe"
    for name, path, options in (("root", root, "readonly=on"), ("data", data, cache)):
        file = str(path).replace(",", ",,")
        words += ["-drive", f"id={name},if=none,format=raw,{options},file={file}"]
        words += ["-device", f"virtio-blk-{bus},drive={name}"]
    return words


def _control_words(how: str, control: int) -> list[str]:
    """A second serial line on microvm, else a virtio port.

    On virtio-mmio a port's queues have 1,024 entries, for each of which the guest's driver keeps
    4 KiB: over 8 MiB of guest memory for a few lines of text.
    """
    words = ["-chardev", f"socket,id=control,fd={control}"]
    if how == "qemu-microvm":
        return [*words, "-device", "isa-serial,index=1,chardev=control"]
    # The kernel names the port after the number of its virtio device, hence it comes first. Of 31
    # ports, the default, each would cost the guest 120 KiB.
    words += ["-device", "virtio-serial-pci,max_ports=2"]
    return [*words, "-device", f"virtserialport,chardev=control,name={CONTROL_PORT}"]


def network_words(how: str, forwards: Sequence[Publish], *, closed: bool) -> list[str]:
    """A user network with `forwards`; `closed`: the guest reaches nobody by itself."""
    rules = [
        f"hostfwd=tcp:{forward.host}:{forward.host_port}-{ADDRESS}:{forward.port}"
        for forward in forwards
    ]
    options = ",".join(["user", "id=net", *(["restrict=on"] if closed else []), *rules])
    return ["-netdev", options, "-device", f"virtio-net-{_BUSES.get(how, 'pci')},netdev=net"]


def kernel_line(image: Image, *, control: bool, driven: bool = False, closed: bool = False) -> str:
    """The kernel's command line in QEMU.

    `control`: there is a control channel; `driven`: all that it offers can be asked, for drills;
    `closed` as for network_words.
    """
    plan, network = image.plan, CLOSED_NETWORK if closed else NETWORK
    return boot_line(
        image, plan.machine.root_device, (network, *_environment(plan, control, driven))
    )


def _environment(plan: Plan, control: bool, driven: bool) -> list[str]:
    """The kernel hands words that it does not know to process 1, as its environment."""
    words = []
    if has_data(plan):
        words.append(f"ONEJOB_DATA={plan.machine.data_device or 'tmpfs:16384'}")
    if control and driven:
        words.append("ONEJOB_DRIVEN=yes")
    if control:
        words.append(f"ONEJOB_CONTROL={_CONTROL_DEVICES.get(plan.machine.how, '/dev/vport*')}")
    return words
