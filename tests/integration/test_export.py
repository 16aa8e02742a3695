"""Exports, run by their own instructions: they serve; same image, same bytes; refusals."""

import hashlib
import json
import os
import re
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from onejob.base.linux import in_network
from onejob.base.process import end_group
from onejob.base.progress import Quiet
from onejob.exporter.export import KINDS, export_image
from onejob.exporter.sbom import SBOM
from onejob.model.errors import InputError, LacksError
from onejob.model.image import Image, open_image
from onejob.model.syscalls import call_number
from onejob.system.append_only import lift_append_only
from onejob.system.guest import NETWORK, device_words, machine_words, network_words
from onejob.system.kvm import find_qemu
from onejob.system.network import Publish, free_port
from running import Onejob, must

from .exported import patiently_fetch
from .small_image import PORT, build_small, compile_service
from .test_run_host import fetch

pytestmark = [pytest.mark.root]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("exported")
    return build_small(compile_service(folder), folder / "small.onejob", path="forbidden")


def exported(image: Image, kind: str, place: Path) -> Path:
    export_image(image, kind, place, Quiet())
    return place


@pytest.mark.parametrize("kind", ["oci", "systemd", "sbom"])
def test_the_same_image_gives_the_same_bytes(image: Image, tmp_path: Path, kind: str) -> None:
    one = exported(image, kind, tmp_path / "one")
    time.sleep(1.1)  # a time stamp would show
    (tmp_path / "deeper").mkdir()
    two = exported(image, kind, tmp_path / "deeper/two")
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in two.iterdir())
    assert {n for n in names if (one / n).read_bytes() != (two / n).read_bytes()} == set()


def test_an_oci_layout_is_whole(image: Image, tmp_path: Path) -> None:
    folder = exported(image, "oci", tmp_path / "oci")
    with tarfile.open(folder / "small.oci.tar") as archive:
        names = archive.getnames()
        index = json.load(archive.extractfile("index.json") or pytest.fail("no index"))
        assert json.load(archive.extractfile("oci-layout") or pytest.fail("no version")) == {
            "imageLayoutVersion": "1.0.0"
        }

        def blob(descriptor: dict[str, Any]) -> bytes:
            file = archive.extractfile(f"blobs/sha256/{descriptor['digest'].split(':')[1]}")
            assert file is not None
            content = file.read()
            assert len(content) == descriptor["size"]
            return content

        manifest = json.loads(blob(index["manifests"][0]))
        config = json.loads(blob(manifest["config"]))
        assert config["config"]["Entrypoint"] == ["/.onejob/init"]
        assert config["rootfs"]["diff_ids"] == [manifest["layers"][0]["digest"]]
        blob(manifest["layers"][0])
    assert len([name for name in names if name.startswith("blobs/sha256/")]) == 3


def test_the_manifest_is_what_kubernetes_takes(image: Image, tmp_path: Path) -> None:
    folder = exported(image, "oci", tmp_path / "oci")
    items = json.loads((folder / "kubernetes.json").read_text())["items"]
    assert [item["kind"] for item in items] == ["Deployment", "Service", "PersistentVolumeClaim"]
    for item in items:
        kubernetes_validate.validate(item, "1.30", strict=True)
    pod = items[0]["spec"]["template"]["spec"]
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["containers"][0]["securityContext"]["capabilities"]["drop"] == ["ALL"]


@contextmanager
def started(folder: Path, settings: Path) -> Iterator[Path]:
    """run.sh as it is, with storage and network apart from the machine's; where its network is.

    What it says goes to the file `said`.
    """
    settings.mkdir()
    (settings / "storage.conf").write_text(
        f'[storage]\ndriver="vfs"\ngraphroot="{settings}/root"\nrunroot="{settings}/run"\n'
    )
    # Where hard limits cannot be raised, podman's own defaults are refused.
    (settings / "containers.conf").write_text(
        '[containers]\ndefault_ulimits=["nproc=1000:1000","nofile=1024:1024"]\n[engine]\nruntime="runc"\n'
        f'cgroup_manager="cgroupfs"\nevents_logger="none"\ntmp_dir="{settings}/tmp"\n'
        f'static_dir="{settings}/static"\nvolume_path="{settings}/volumes"\n'
    )
    environment = {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(settings / "storage.conf"),
        "CONTAINERS_CONF": str(settings / "containers.conf"),
    }

    def podman(*words: str) -> str:
        return subprocess.run(
            ["podman", *words], env=environment, stdin=subprocess.DEVNULL, timeout=60,
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip

    with (settings / "said").open("wb") as said:
        process = subprocess.Popen(
            ["sh", folder / "run.sh", "--network=none"], env=environment,
            stdin=subprocess.DEVNULL, stdout=said, stderr=said,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 90
        pid = "0"
        while pid == "0" and process.poll() is None and time.monotonic() < deadline:
            with suppress(subprocess.CalledProcessError):
                pid = podman("inspect", "--format", "{{.State.Pid}}", "small")
            time.sleep(0.1)
        if pid == "0":
            pytest.fail(f"no container: {(settings / 'said').read_text()}")
        yield Path(f"/proc/{pid}/ns/net")
        podman("stop", "small")
    finally:
        with suppress(subprocess.CalledProcessError, subprocess.TimeoutExpired):
            podman("rm", "--force", "--ignore", "small")
        process.kill()
        process.wait(30)


@pytest.mark.runc
@pytest.mark.podman
def test_podman_runs_it_by_the_script_and_it_serves(image: Image, tmp_path: Path) -> None:
    folder = exported(image, "oci", tmp_path / "oci")
    try:
        with started(folder, tmp_path / "podman") as network:
            assert in_network(network, lambda: fetch(PORT)) == 200
            assert in_network(network, lambda: fetch(PORT, "forbidden")) == 200
            assert "Seccomp:\t2\n" in (network.parent.parent / "status").read_text()
    finally:  # nobody else could remove its logs
        lift_append_only(image.plan, tmp_path / "podman/volumes/small-data/_data")
    said = (tmp_path / "podman/said").read_text()
    # A call that the policy lacks is counted and named by process 1, not by the filter around it.
    assert (
        f"refused system call {call_number('getpgid')} of {image.plan.service.command[0]}" in said
    )
    assert "small exited with status 0" in said


def test_a_portable_service_has_its_unit_and_its_hashes(image: Image, tmp_path: Path) -> None:
    folder = exported(image, "systemd", tmp_path / "systemd")
    hashes = (folder / "small.roothash").read_text().strip()
    subprocess.run(
        ["veritysetup", "verify", folder / "small.raw", folder / "small.verity", hashes],
        check=True, timeout=60, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    listed = subprocess.run(
        ["unsquashfs", "-cat", folder / "small.raw", "usr/lib/systemd/system/small.service"],
        check=True, timeout=60, stdin=subprocess.DEVNULL, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert listed == (folder / "small.service").read_text()
    assert f'ExecStart="{image.plan.service.command[0]}" "{PORT}"' in listed
    with tarfile.open(folder / "state.tar") as archive:
        assert archive.getnames() == ["var", "var/log", "var/log/small"]


def test_a_bill_of_materials_is_valid_and_has_each_file(image: Image, tmp_path: Path) -> None:
    text = (exported(image, "sbom", tmp_path / "sbom") / "sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    parts = {part["name"]: part for part in json.loads(text)["components"]}
    program = image.plan.service.command[0]
    sha256 = next(file.sha256 for file in image.plan.files if file.path == program)
    carried = {file["name"]: file for part in parts.values() for file in part.get("components", ())}
    assert (parts | carried)[program]["hashes"] == [{"alg": "SHA-256", "content": sha256}]
    own = {part["name"] for part in parts["onejob"]["components"]}
    assert own >= {"/.onejob/init", "/.onejob/instance.json", "/.onejob/filters.bpf"}
    assert parts["onejob"]["licenses"] == [{"license": {"name": "Apache-2.0"}}]


def test_packages_and_kernel_are_in_the_bill(nginx_image: Path, tmp_path: Path) -> None:
    text = (exported(open_image(nginx_image), "sbom", tmp_path / "sbom") / SBOM).read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    parts = {part["name"]: part for part in json.loads(text)["components"]}
    assert parts["zlib1g"]["licenses"] == [{"license": {"name": "Zlib"}}]
    assert parts["zlib1g"]["purl"].startswith("pkg:deb/debian/zlib1g@")
    assert parts["zlib1g"]["components"][0]["hashes"][0]["alg"] == "SHA-256"
    digest = hashlib.sha256((nginx_image / "kernel").read_bytes()).hexdigest()
    (kernel,) = (part for name, part in parts.items() if name.startswith("linux-source"))
    assert kernel["hashes"] == [{"alg": "SHA-256", "content": digest}]


@pytest.mark.kernel
def test_building_twice_gives_the_same_image_and_no_difference(
    nginx_profile: Path, nginx_image: Path, tmp_path: Path, onejob: Onejob
) -> None:
    """In another folder, at another time; the kernel comes from the cache."""
    (tmp_path / "another/folder").mkdir(parents=True)
    again = tmp_path / "another/folder/other-name.onejob"
    must(onejob("build", nginx_profile, "-o", again, timeout=300))
    names = sorted(path.name for path in nginx_image.iterdir())
    assert names == sorted(path.name for path in again.iterdir())
    assert [n for n in names if (again / n).read_bytes() != (nginx_image / n).read_bytes()] == []
    done = onejob("diff", nginx_image, again)
    assert (done.returncode, done.stdout) == (0, "0 added, 0 removed, 0 changed\n")


# What the test below allows: Firecracker's swagger, version 1.13 and later, by definition.
FIRECRACKER = {
    "boot-source": {"kernel_image_path": str, "boot_args": str, "initrd_path": str},
    "drives": {
        "drive_id": str, "is_root_device": bool, "cache_type": str, "is_read_only": bool,
        "path_on_host": str, "partuuid": str, "io_engine": str, "socket": str,
    },
    "machine-config": {
        "vcpu_count": int, "mem_size_mib": int, "smt": bool, "track_dirty_pages": bool,
        "huge_pages": str,
    },
    "network-interfaces": {"iface_id": str, "host_dev_name": str, "guest_mac": str, "mtu": int},
}  # fmt: skip
REQUIRED = {
    "boot-source": {"kernel_image_path"},
    "drives": {"drive_id", "is_root_device"},
    "machine-config": {"vcpu_count", "mem_size_mib"},
    "network-interfaces": {"iface_id", "host_dev_name"},
}


def test_firecracker_takes_the_configuration(nginx_image: Path, tmp_path: Path) -> None:
    folder = exported(open_image(nginx_image), "firecracker", tmp_path / "firecracker")
    config = json.loads((folder / "firecracker.json").read_text())
    assert config.keys() == FIRECRACKER.keys()
    for section, value in config.items():
        for entry in value if isinstance(value, list) else [value]:
            assert entry.keys() >= REQUIRED[section]
            for key, word in entry.items():
                assert type(word) is FIRECRACKER[section][key], key
    for entry in config["drives"]:
        assert (folder / entry["path_on_host"]).is_file()
    assert (folder / "vmlinux").read_bytes()[:6] == b"\x7fELF\x02\x01"


@pytest.mark.qemu
def test_what_firecracker_is_told_boots_a_microvm_and_serves(
    nginx_image: Path, tmp_path: Path
) -> None:
    """Firecracker needs KVM; QEMU's microvm has the same devices, and another address."""
    folder = exported(open_image(nginx_image), "firecracker", tmp_path / "firecracker")
    config = json.loads((folder / "firecracker.json").read_text())
    line = re.sub(r"\bip=\S+", NETWORK, config["boot-source"]["boot_args"])
    assert NETWORK in line
    port = free_port()
    words = [find_qemu(), *machine_words("qemu-microvm", "tcg"), "-serial", "stdio"]
    words += ["-m", str(config["machine-config"]["mem_size_mib"])]
    root, data = (folder / drive["path_on_host"] for drive in config["drives"])
    words += device_words("qemu-microvm", root, data, None)
    words += network_words("qemu-microvm", [Publish("127.0.0.1", port, 80)], closed=True)
    words += ["-kernel", str(nginx_image / "kernel"), "-append", line]
    with (tmp_path / "console").open("wb") as console:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
        )
    try:
        assert patiently_fetch(port, tmp_path / "console") == 200
    finally:
        end_group(process)
    owner = ["debugfs", "-R", "cat /.onejob-owner", data]
    assert subprocess.run(owner, capture_output=True, text=True, timeout=60).stdout == "nginx\n"


def test_unusable_input_is_one_sentence(image: Image, tmp_path: Path, onejob: Onejob) -> None:
    (tmp_path / "there").mkdir()
    for words, said in [
        (("--to", "floppy", "-o", tmp_path / "x"), "nothing is exported as 'floppy'"),
        (("--to", "oci", "-o", tmp_path / "there"), "exists already"),
        (("--to", "oci", "-o", tmp_path / "no/where"), "no is no directory"),
        (("--to", "firecracker", "-o", tmp_path / "x"), "has no kernel"),
    ]:
        done = onejob("export", image.folder, *words)
        assert (done.returncode, done.stdout) == (4, ""), done
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()
    assert list((tmp_path / "there").iterdir()) == []


def test_a_damaged_root_is_refused(image: Image, tmp_path: Path) -> None:
    (tmp_path / "small.onejob").mkdir()
    for path in image.folder.iterdir():
        (tmp_path / "small.onejob" / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "small.onejob/root.img").open("r+b") as file:
        file.seek(5000)
        file.write(b"changed")
    damaged = open_image(tmp_path / "small.onejob")
    for kind in KINDS:
        with pytest.raises(InputError, match=r"is corrupted|has no kernel"):
            export_image(damaged, kind, tmp_path / "out", Quiet())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../up", "a\nb", "-rf", ""])
def test_a_plan_with_a_hostile_name_is_refused(image: Image, tmp_path: Path, name: str) -> None:
    hostile = image.model_copy(update={"plan": image.plan.model_copy(update={"name": name})})
    with pytest.raises(InputError, match="its plan has the name"):
        export_image(hostile, "oci", tmp_path / "out", Quiet())


def test_a_hostile_word_does_not_reach_a_unit(image: Image, tmp_path: Path) -> None:
    service = image.plan.service.model_copy(update={"directory": "/\nExecStartPre=/bin/sh"})
    hostile = image.model_copy(update={"plan": image.plan.model_copy(update={"service": service})})
    with pytest.raises(InputError, match="its plan has the word"):
        export_image(hostile, "systemd", tmp_path / "out", Quiet())


def test_a_full_disk_is_one_sentence_and_leaves_nothing(image: Image, tmp_path: Path) -> None:
    small = tmp_path / "disk"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=True)
    try:
        with pytest.raises(LacksError, match="No space left on device"):
            export_image(image, "oci", small / "out", Quiet())
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)
