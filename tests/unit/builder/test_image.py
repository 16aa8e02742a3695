"""What an image says of itself."""

from pathlib import Path

from built_plans import host_file, make_plan, text_file
from onejob.builder.image import describe_kernel, kept_packages
from onejob.builder.kernel import KernelBuild
from onejob.model.profile import Package


def test_packages_are_those_of_kept_files() -> None:
    files = (
        host_file("/usr/bin/true"),
        host_file("/usr/bin/cat"),
        host_file("/usr/bin/env", package="libodd=1:2.0=3"),
        host_file("/usr/bin/ls", package="local"),
        host_file("/usr/bin/id", package=""),
        text_file("/etc/passwd"),
    )
    assert kept_packages(make_plan(files=files).files) == (
        Package(name="coreutils", version="9.1-1", paths=2),
        Package(name="libodd", version="1:2.0=3", paths=1),
        Package(name="local", version="", paths=1),
    )


def test_the_kernel_is_described_by_source_compiler_and_configuration(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_bytes(b"CONFIG_64BIT=y\n")
    build = KernelBuild(
        image=tmp_path / "bzImage", config=config, release="6.12.1", package="linux-source-6.12 1",
        compiler="gcc 12", calls=380, cached=True,
    )  # fmt: skip
    kernel = describe_kernel(build)
    assert kernel.source == "linux-source-6.12 1"
    assert kernel.compiler == "gcc 12"
    assert kernel.system_calls == 380
    assert kernel.config_sha256 == (
        "abfd412ac07783b29842644410b294e1eb2def4335a73d5abbdfdf1e8a1f4e6c"
    )
