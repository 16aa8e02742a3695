"""Registry keys and values that a service used, and what is not kept of their use."""

from onejob.model.profile import KernelInterface
from onejob.profiler.imports.procmon import MAX_PATH, Event
from onejob.profiler.imports.procmon_results import is_missing, succeeded
from onejob.profiler.imports.tally import DRILL, Tally
from onejob.profiler.imports.windows_rows import Rows

_WRITES = {
    "RegSetValue", "RegDeleteKey", "RegDeleteValue", "RegRenameKey", "RegSetInfoKey",
    "RegSetKeySecurity", "RegLoadKey", "RegUnloadKey",
}  # fmt: skip


class WindowsRegistry:
    """Counts operations by program and key, which Windows does not tell apart by case."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._used = Rows[tuple[str, str]](tally)
        self._missing = Rows[str](tally)
        self._written = Rows[str](tally)
        self._spelled: dict[str, str] = {}

    def take(self, program: str, event: Event) -> bool:
        """Whether the operation is one that used a key or value, or looked for one in vain."""
        if not event.operation.startswith("Reg"):
            return False
        path, key = event.path, event.path.lower()
        if not path or len(path) > MAX_PATH:
            self._tally.miss("keys that no registry can have", path)
            return True
        if is_missing(event.result):
            self._missing.add(key, len(key))
            return True
        if not succeeded(event.result):
            return False
        if event.operation != "RegCloseKey" and self._used.add((program, key), len(key)):
            self._spelled.setdefault(key, path)
            made = event.detail.get("Disposition") == "REG_CREATED_NEW_KEY"
            if made or event.operation in _WRITES:
                self._written.add(key, len(key))
        return True

    def interfaces(self) -> tuple[KernelInterface, ...]:
        """The keys and values that were there."""
        return tuple(
            KernelInterface(
                program=program, drill=DRILL, kind="registry", name=self._spelled[key], count=count
            )
            for (program, key), count in sorted(self._used.items())
        )

    def said(self) -> list[str]:
        """What is not in the profile."""
        notes = []
        if self._missing:
            notes.append(
                f"registry: {len(self._missing)} keys and values that were looked for in vain are"
                " not kept"
            )
        if self._written:
            notes.append(
                f"registry: {len(self._written)} keys and values were changed, which ones is not"
                " kept"
            )
        return notes
