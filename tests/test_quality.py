"""The linters, each as one test: Python by ruff and mypy, Rust by rustfmt and clippy."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MANIFEST = ("--manifest-path", "native/Cargo.toml")
# Beyond clippy's own choice: every unsafe block says why it is sound.
CLIPPY = ("-D", "warnings", "-D", "clippy::undocumented_unsafe_blocks")


def check(*words: str) -> None:
    """Fail with all that the linter says."""
    done = subprocess.run(
        words, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("words", [("check",), ("format", "--check")])
def test_ruff(words: tuple[str, ...]) -> None:
    check(sys.executable, "-m", "ruff", *words, "src", "tests", "scripts")


def test_mypy() -> None:
    check(sys.executable, "-m", "mypy", "--strict")


def test_rustfmt() -> None:
    check("cargo", "fmt", *MANIFEST, "--all", "--check")


# Together, the others' serde with std would become that of onejob-init, which has no std.
@pytest.mark.parametrize(
    "packages", [("--package", "onejob-init"), ("--workspace", "--exclude", "onejob-init")]
)
def test_clippy(packages: tuple[str, ...]) -> None:
    # The release profile finds what `make install` has compiled already.
    profile = ("--release", "--locked", "--all-targets")
    check("cargo", "clippy", *MANIFEST, *packages, *profile, "--", *CLIPPY)
