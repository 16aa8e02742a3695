"""A unified kernel image: kernel and command line as one EFI program, signed where there is a key.

Sources: systemd-stub(7); the UAPI group's unified kernel image specification.
"""

from pathlib import Path

from onejob.base.process import find_tool, run_tool
from onejob.disk.options import Options
from onejob.disk.sign import sign
from onejob.model.errors import LacksError

STUB = Path("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")
_LIMIT_S = 120
# Far enough apart for each; the stub itself ends below the first.
_ADDRESSES = {".osrel": 0x20000, ".cmdline": 0x30000, ".linux": 0x2000000}


def make_unified(kernel: Path, line: str, name: str, target: Path, options: Options) -> None:
    """Make `target` of the bzImage `kernel` and its command `line`.

    Same input, same bytes; but a signature has the time in it.
    """
    if not STUB.is_file():
        raise LacksError(f"{STUB} is missing", "apt-get install systemd-boot-efi")
    words = target.with_suffix(".words"), target.with_suffix(".release")
    words[0].write_text(line)
    words[1].write_text(f'ID=onejob\nNAME="onejob: {name}"\n')
    sections = dict(zip(_ADDRESSES, (words[1], words[0], kernel), strict=True))
    argv: list[str | Path] = [find_tool("objcopy", "binutils")]
    for section, content in sections.items():
        argv += ["--add-section", f"{section}={content}"]
        argv += ["--change-section-vma", f"{section}={_ADDRESSES[section]:#x}"]
    run_tool([*argv, STUB, target], timeout=_LIMIT_S)
    for path in words:
        path.unlink()
    _drop_time(target)
    sign(target, options)


def _drop_time(path: Path) -> None:
    """The linker's time stamp in the PE header, and the checksum over it: nobody reads them."""
    with path.open("r+b") as file:
        file.seek(0x3C)
        header = int.from_bytes(file.read(4), "little")
        for place in (8, 24 + 64):  # TimeDateStamp; CheckSum of the optional header
            file.seek(header + place)
            file.write(bytes(4))
