"""Build hook of the wheel: the native parts must be in it, and its tag says that they are."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class WheelHook(BuildHookInterface[Any]):
    """Refuses a wheel without native parts; tags one that has them for x86_64 Linux."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":  # the native parts come after the environment
            return
        lacking = [part for part in self._parts() if not self._built(part)]
        if lacking:
            raise SystemExit(f"native parts are not built: {', '.join(lacking)}; run: make install")
        build_data["pure_python"] = False
        build_data["tag"] = "py3-none-linux_x86_64"  # executables, no extension module

    def _parts(self) -> list[str]:
        lines = (Path(self.root) / "scripts/native-parts.txt").read_text().splitlines()
        return [name for line in lines if (name := line.partition("#")[0].strip())]

    def _built(self, part: str) -> bool:
        return (Path(self.root) / "src/onejob/_native" / part).is_file()
