"""hardware/pc.json is what the library makes: each device asks for the component named so."""

from fnmatch import fnmatchcase

from onejob.base.natives import data_path
from onejob.model.component import load_components
from onejob.model.hardware import load_hardware

PC = load_hardware(data_path("hardware") / "pc.json")
LIBRARY = load_components(data_path("components"))
# What the installer has to drive, by component or by the module of the kernel's own driver.
USUAL = {
    "ahci", "nvme", "virtio-blk", "virtio-scsi", "vmw_pvscsi", "ata_piix", "e1000", "e1000e", "igb",
    "ixgbe", "r8169", "virtio-net", "vmxnet3", "ena", "hyperv-net", "hyperv-storage", "xen-block",
    "usb-xhci", "usb-ehci", "keyboard", "usb-keyboard", "cd-rom", "console-serial",
}  # fmt: skip


def test_the_usual_hardware_is_there() -> None:
    assert {device.name for device in PC.devices} >= USUAL
    assert {disk.bus for disk in PC.disks} == {"usb", "virtio", "nvme", "ata"}


def test_it_is_what_the_components_ask_for() -> None:
    asked = {each.name: each.asked_by.modaliases for each in LIBRARY}
    of_components = [device for device in PC.devices if device.name in asked]
    for device in of_components:
        assert any(fnmatchcase(device.modalias, pattern) for pattern in asked[device.name])
    every = {each.name for each in LIBRARY if each.asked_by.modaliases}
    left_out = every - {device.name for device in of_components}
    assert left_out == {"virtio-mmio", "virtio-vsock"}
