"""The kernel's command line of one slot: the plan's words, and where root, data and state are.

Source: the kernel's Documentation/admin-guide/device-mapper/dm-init.rst.
"""

from onejob.base.boot_line import boot_line
from onejob.disk.device import SECTOR
from onejob.disk.kernel_needs import has_option
from onejob.disk.layout import Places
from onejob.disk.options import Options
from onejob.disk.state import STATE_BYTES, Slot
from onejob.model.container import has_data
from onejob.model.errors import InputError
from onejob.model.image import Image

# For so long a system may take until process 1 has its watchdogs. Before, nobody keeps the kernel's
# own timer going (drivers/watchdog/softdog.c); one that firmware has started, the kernel does.
TAKEN_WITHIN_S = 60
WATCHDOG = (
    "softdog.soft_active_on_boot=1",
    f"softdog.soft_margin={TAKEN_WITHIN_S}",
    f"watchdog.open_timeout={TAKEN_WITHIN_S}",
)


def slot_line(image: Image, slot: Slot, places: Places, options: Options) -> str:
    """Partitions are found by their GUIDs, whatever the disk is called there.

    Process 1 knows devices by name only, so the kernel makes one of each that it uses. InputError
    where the image keeps data and the disk has no place for it.
    """
    if has_data(image.plan) and "data" not in places:
        hint = "install it anew, on a disk that is made for it"
        raise InputError(f"{image.plan.name} keeps data, and the disk has no place for it", hint)
    wanted = [("state", "ONEJOB_STATE", STATE_BYTES)]
    if has_data(image.plan):
        wanted.insert(0, ("data", "ONEJOB_DATA", places["data"].size))
    more, after = [f"ip={options.ip}", f"ONEJOB_SLOT={slot}"], []
    if has_option(image, "SOFT_WATCHDOG"):
        more += WATCHDOG
    for number, (name, word, size) in enumerate(wanted, start=1):
        table = f"0 {size // SECTOR} linear PARTUUID={places[name].identity} 0"
        after.append(f"{name},,,rw,{table}")
        more.append(f"{word}=/dev/dm-{number}")
    root = f"PARTUUID={places[f'root-{slot}'].identity}"
    return boot_line(image, root, more, after=after)


def grub_words(line: str) -> str:
    """`line` as arguments in GRUB's language, each quoted whole (GRUB manual, "Quoting")."""
    return " ".join("'" + word.replace("'", "'\\''") + "'" for word in _split(line))


def _split(line: str) -> list[str]:
    """Words as the kernel splits them: blanks within double quotes do not (lib/cmdline.c).

    GRUB puts quotes of its own around an argument with blanks, so those are left out.
    """
    words, word, quoted = [], "", False
    for letter in line + " ":
        if letter == '"':
            quoted = not quoted
        elif letter == " " and not quoted:
            words += [word] if word else []
            word = ""
        else:
            word += letter
    return words
