"""KVM is believed only when a guest has spoken. QEMU is played by a script here."""

from pathlib import Path

from onejob.system.kvm import Accelerator, find_accelerator, try_kvm


def script(folder: Path, text: str) -> str:
    path = folder / "qemu"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_guest_that_speaks_is_kvm(tmp_path: Path) -> None:
    qemu = script(tmp_path, "echo; echo '[    0.000000] Linux version 6.12'; sleep 60")
    assert try_kvm(qemu, tmp_path / "kernel", "qemu-microvm").name == "kvm"


def test_an_error_of_qemu_is_told(tmp_path: Path) -> None:
    qemu = script(tmp_path, "echo 'qemu: failed to initialize kvm: Permission denied' >&2; exit 1")
    found = try_kvm(qemu, tmp_path / "kernel", "qemu-microvm")
    assert found.name == "tcg"
    assert "failed to initialize kvm: Permission denied" in found.reason


def test_a_guest_that_never_speaks_is_not_waited_for(tmp_path: Path) -> None:
    found = try_kvm(script(tmp_path, "sleep 60"), tmp_path / "kernel", "qemu-q35", timeout=0.3)
    assert found == Accelerator(
        "tcg", "KVM does not work here (a test guest printed nothing in 0.3 s)"
    )


def test_the_result_is_remembered_for_this_kernel(tmp_path: Path) -> None:
    qemu = script(tmp_path, f"echo asked >> {tmp_path}/asked; echo no")
    kernels = [tmp_path / "one", tmp_path / "two"]
    for kernel in kernels:
        kernel.write_text(kernel.name)
    for kernel in (*kernels, *kernels):
        found = find_accelerator(
            kernel, "qemu-microvm", tmp_path, device=Path("/dev/null"), qemu=qemu
        )
        assert found == Accelerator("tcg", "KVM does not work here (QEMU said: no)")
    assert (tmp_path / "asked").read_text().splitlines() == ["asked", "asked"]


def test_no_device_is_said(tmp_path: Path) -> None:
    missing = tmp_path / "kvm"
    found = find_accelerator(tmp_path / "kernel", "qemu-microvm", tmp_path, device=missing)
    assert found == Accelerator("tcg", f"{missing} is not there")
