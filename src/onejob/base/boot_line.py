"""The kernel's command line for an image, as far as it does not depend on who boots it.

Source: the kernel's Documentation/admin-guide/kernel-parameters.txt.
"""

from collections.abc import Iterable, Sequence

from onejob.base.verity import kernel_argument
from onejob.model.container import init_path
from onejob.model.image import Image


def boot_line(
    image: Image,
    device: str,
    more: Iterable[str] = (),
    before: Sequence[str] = (),
    after: Sequence[str] = (),
) -> str:
    """The plan's words, then those that find the root on `device`, then `more`.

    `before` and `after` the root's are devices that the kernel makes, too (kernel_argument).
    What was said already (the word before ``=``) is not said twice.
    """
    plan = image.plan
    words = [argument.value for argument in plan.kernel_arguments]
    ours = [
        *(f"console={name}" for name in plan.machine.consoles or (plan.machine.console,)),
        "quiet",
        "reboot=t",  # a triple fault is what QEMU exits on without ACPI
        "panic=-1",
        kernel_argument(image.manifest.verity, device, before, after),
        *([] if before else [f"dm-mod.waitfor={device}"]),
        f"root=/dev/dm-{len(before)}",
        "ro",
        f"rootfstype={plan.root.filesystem}",
        f"init={init_path(plan)}",
        *more,
    ]
    said = {word.partition("=")[0] for word in words}
    return " ".join([*words, *(word for word in ours if word.partition("=")[0] not in said)])
