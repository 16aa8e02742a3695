"""Exported disks and CDs: what is on them, the same bytes each time, booted as they say."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onejob.base.process import end_group
from onejob.base.progress import Quiet
from onejob.disk.device import MIB, open_device
from onejob.disk.fat import BOOT_PATH
from onejob.disk.layout import find_layout
from onejob.disk.options import Options
from onejob.disk.state import State, read_state
from onejob.disk.write import verify_slot
from onejob.exporter.export import export_image
from onejob.exporter.form import README
from onejob.model.errors import InputError
from onejob.model.image import Image, open_image
from onejob.system.network import free_port
from running import Onejob, must

from .exported import patiently_fetch

pytestmark = [pytest.mark.root]
BUILD_LIMIT_S = 1700


@pytest.fixture(scope="module")
def image(nginx_profile: Path, tmp_path_factory: pytest.TempPathFactory, onejob: Onejob) -> Image:
    """nginx for a PC with UEFI, SATA disk and CD drive."""
    path = tmp_path_factory.mktemp("uefi") / "nginx.onejob"
    words = ("build", nginx_profile, "--hardware", "qemu-q35-uefi", "-o", path)
    must(onejob(*words, timeout=BUILD_LIMIT_S))
    return open_image(path)


def exported(image: Image, kind: str, place: Path, options: Options | None = None) -> Path:
    export_image(image, kind, place, Quiet(), options or Options())
    return place


def commands(folder: Path) -> list[str]:
    """The blocks of commands in the instructions, each as one text."""
    blocks = re.split(r"\n\n(?!    )|\n\n(?=    )", (folder / README).read_text())
    return [block for block in blocks if block.startswith("    ") and "qemu" in block]


@contextmanager
def booted(folder: Path, block: str) -> Iterator[int]:
    """The block as it is, but for the port of this machine, which is given back."""
    port = free_port()
    text = "\n".join(line.strip() for line in block.splitlines()).replace(":8080-", f":{port}-")
    with (folder / "console").open("wb") as console:
        process = subprocess.Popen(
            ["sh", "-ec", text], cwd=folder, stdin=subprocess.DEVNULL, stdout=console,
            stderr=console, start_new_session=True,
        )  # fmt: skip
    try:
        yield port
    finally:
        end_group(process)


def test_a_kernel_that_lacks_what_a_disk_needs_is_named(
    nginx_image: Path, tmp_path: Path, onejob: Onejob
) -> None:
    for kind, option in [
        ("disk", "EFI_PARTITION"),
        ("iso", "BLK_DEV_SR"),
        ("qcow2", "EFI_PARTITION"),
    ]:
        done = onejob("export", nginx_image, "--to", kind, "-o", tmp_path / kind)
        assert done.returncode == 4
        assert f"its kernel lacks CONFIG_{option}" in done.stderr
        assert "--hardware qemu-q35-uefi" in done.stderr
        assert not (tmp_path / kind).exists()


def test_a_key_without_its_certificate_is_refused(nginx_image: Path, tmp_path: Path) -> None:
    image = open_image(nginx_image)
    for options in (Options(key=tmp_path / "key"), Options(ip="dhcp; reboot")):
        with pytest.raises(InputError, match=r"belong together|not what the kernel takes"):
            exported(image, "disk", tmp_path / "out", options)


@pytest.mark.slow
@pytest.mark.kernel
@pytest.mark.parametrize("kind", ["disk", "qcow2", "vmdk", "iso"])
def test_the_same_image_gives_the_same_disk(image: Image, tmp_path: Path, kind: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    one = exported(image, kind, tmp_path / "one")
    time.sleep(2.1)  # FAT counts time in steps of two seconds
    two = exported(image, kind, tmp_path / "elsewhere/two")
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in two.iterdir())
    for name in names:
        subprocess.run(["cmp", one / name, two / name], check=True, timeout=120)


@pytest.mark.slow
@pytest.mark.kernel
def test_a_disk_holds_root_and_data_where_its_table_says(image: Image, tmp_path: Path) -> None:
    disk = exported(image, "disk", tmp_path / "disk") / "nginx.raw"
    listed = subprocess.run(
        ["sgdisk", "--verify", "--print", disk], capture_output=True, text=True, check=True
    ).stdout
    assert "No problems found" in listed
    with open_device(disk) as device:
        assert read_state(device) == State("a")
        assert verify_slot(device, "a").manifest == image.manifest
        data = find_layout(device)["data"]
        assert device.read_at(data.start + 1024 + 0x38, 2) == b"\x53\xef"  # ext4's magic
    assert disk.stat().st_blocks * 512 < 64 * MIB  # sparse


@pytest.mark.slow
@pytest.mark.kernel
def test_a_signed_program_is_of_the_key(image: Image, tmp_path: Path) -> None:
    key, certificate = tmp_path / "onejob.key", tmp_path / "onejob.pem"
    words = ["openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "9"]
    words += ["-subj", "/CN=onejob/", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, timeout=60, capture_output=True)
    folder = exported(image, "disk", tmp_path / "disk", Options(key=key, certificate=certificate))
    program = tmp_path / "program.efi"
    with open_device(folder / "nginx.raw") as device:
        places = find_layout(device)
        assert verify_slot(device, "a").facts.signed_by
    for name, path in (("esp", BOOT_PATH), ("boot-a", "linux.efi")):
        where = f"{folder / 'nginx.raw'}@@{places[name].start}"
        subprocess.run(["mcopy", "-n", "-i", where, f"::/{path}", program], check=True, timeout=60)
        subprocess.run(["sbverify", "--cert", certificate, program], check=True, timeout=60)
    changed = bytearray(program.read_bytes())
    changed[len(changed) // 2] ^= 1
    program.write_bytes(changed)
    done = subprocess.run(["sbverify", "--cert", certificate, program], capture_output=True)
    assert done.returncode != 0


@pytest.mark.slow
@pytest.mark.kernel
@pytest.mark.qemu
@pytest.mark.parametrize(
    ("kind", "number"),
    [("disk", 0), ("disk", 1), ("qcow2", 1), ("vmdk", 0), ("iso", 0), ("iso", 1)],
)
def test_it_boots_by_its_instructions_and_serves(
    image: Image, tmp_path: Path, kind: str, number: int
) -> None:
    """Disks and CDs with BIOS (0) and with UEFI (1)."""
    folder = exported(image, kind, tmp_path / kind)
    with booted(folder, commands(folder)[number]) as port:
        assert patiently_fetch(port, folder / "console") == 200


OVMF = Path("/usr/share/OVMF")
SNAKEOIL = Path("/usr/share/ovmf/PkKek-1-snakeoil.key")


def with_secure_boot(block: str) -> str:
    """The same machine with firmware that knows the certificate of Debian's test key."""
    secure = block.replace("OVMF_CODE_4M.fd", "OVMF_CODE_4M.secboot.fd")
    secure = secure.replace("OVMF_VARS_4M.fd", "OVMF_VARS_4M.snakeoil.fd")
    smm = "q35,smm=on -global driver=cfi.pflash01,property=secure,value=on"
    return secure.replace("-machine q35", f"-machine {smm}")


@pytest.mark.slow
@pytest.mark.kernel
@pytest.mark.qemu
def test_secure_boot_starts_what_is_signed_and_nothing_else(image: Image, tmp_path: Path) -> None:
    key = tmp_path / "snakeoil.key"
    words = ["openssl", "rsa", "-in", SNAKEOIL, "-passin", "pass:snakeoil", "-out", key]
    subprocess.run(words, check=True, timeout=60, capture_output=True)
    options = Options(key=key, certificate=SNAKEOIL.with_suffix(".pem"))
    signed = exported(image, "disk", tmp_path / "signed", options)
    with booted(signed, with_secure_boot(commands(signed)[1])) as port:
        assert patiently_fetch(port, signed / "console") == 200
    unsigned = exported(image, "disk", tmp_path / "unsigned")
    with booted(unsigned, with_secure_boot(commands(unsigned)[1])):
        await_words(unsigned / "console", "Access Denied")
    assert "onejob" not in (unsigned / "console").read_text(errors="replace")


def await_words(console: Path, words: str) -> None:
    """Return when the console has `words`; fail with it where it never does."""
    deadline = time.monotonic() + 120
    while words not in (text := console.read_text(errors="replace")):
        assert time.monotonic() < deadline, text[-2000:]
        time.sleep(0.5)


@pytest.mark.slow
@pytest.mark.kernel
@pytest.mark.qemu
@pytest.mark.parametrize("firmware", [0, 1], ids=["bios", "uefi"])
def test_as_a_disk_the_cd_boots_and_serves(image: Image, tmp_path: Path, firmware: int) -> None:
    folder = exported(image, "iso", tmp_path / "iso")
    block = commands(folder)[firmware].replace(
        "-cdrom nginx.iso", "-drive format=raw,snapshot=on,file=nginx.iso"
    )
    assert "snapshot" in block
    with booted(folder, block) as port:
        assert patiently_fetch(port, folder / "console") == 200


@pytest.mark.slow
@pytest.mark.kernel
@pytest.mark.qemu
def test_data_on_the_disk_outlives_a_power_cut(image: Image, tmp_path: Path) -> None:
    folder = exported(image, "disk", tmp_path / "disk")
    block = commands(folder)[0]
    for _ in range(2):
        with booted(folder, block) as port:
            assert patiently_fetch(port, folder / "console") == 200
    assert owner_on(folder / "nginx.raw") == "nginx\n"


def owner_on(disk: Path) -> str:
    """What process 1 wrote at the first boot (debugfs(8) reads without mounting)."""
    data = disk.with_name("data.img")
    with open_device(disk) as device, data.open("wb") as target:
        place = find_layout(device)["data"]
        shutil.copyfileobj(device.window(place.start, place.size), target, MIB)
    done = subprocess.run(
        ["debugfs", "-R", "cat /.onejob-owner", data], capture_output=True, text=True, timeout=60
    )
    return done.stdout
