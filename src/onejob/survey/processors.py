"""Processors and memory: how many, of which type, where, and what may be set aside of them."""

import re

from onejob.model.hardware import HugePages, MemoryNode, ProcessorKind, Processors
from onejob.model.processor_list import as_list, parse_list
from onejob.survey.source import Source

_MIB = 1 << 20
_CPU = "/sys/devices/system/cpu"
_NODES = "/sys/devices/system/node"
_HUGE = "/sys/kernel/mm/hugepages"
# Where processors differ in type, the kernel has a counter unit for each (perf_event, intel.c).
_KINDS = re.compile(r"^cpu_(core|atom|lowpower)$")


def survey_processors(source: Source) -> Processors | None:
    """The processors in use, or None without /proc/cpuinfo."""
    blocks = _blocks(source)
    if not blocks:
        return None
    first = blocks[0]
    places = _places(source)
    return Processors(
        count=len(blocks),
        model=first.get("model name", ""),
        vendor=first.get("vendor_id", ""),
        features=tuple(sorted(first.get("flags", "").split())),
        sockets=len({package for package, _, _ in places}),
        cores=len(set(places)),
        kinds=_kinds(source),
    )


def survey_memory(source: Source) -> int:
    """Installed memory in KiB: the kernel's map of it in whole MiB, firmware's own share included.

    Without the right to see the map's addresses, what the kernel has left of it (proc(5)).
    """
    size = mapped_memory(source)
    if size > _MIB:
        return -(-size // _MIB) * 1024
    total = re.search(r"^MemTotal:\s+(\d+) kB", source.read("/proc/meminfo"), re.M)
    return int(total[1]) if total else 0


def mapped_memory(source: Source) -> int:
    """Bytes of memory in /proc/iomem; few where the reader sees no addresses there."""
    ranges = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) : System RAM$", source.read("/proc/iomem"), re.M)
    return sum(int(last, 16) - int(first, 16) + 1 for first, last in ranges)


def survey_nodes(source: Source) -> tuple[MemoryNode, ...]:
    """The NUMA nodes in order; none where the kernel knows none (numa(7))."""
    found = []
    for name in source.list(_NODES):
        number = re.fullmatch(r"node(\d+)", name)
        if number is None:
            continue
        base = f"{_NODES}/{name}"
        total = re.search(r"MemTotal:\s+(\d+) kB", source.read(f"{base}/meminfo"))
        found.append(
            MemoryNode(
                number=int(number[1]),
                memory_kib=int(total[1]) if total else 0,
                processors=as_list(parse_list(source.read(f"{base}/cpulist").strip())),
            )
        )
    return tuple(sorted(found, key=lambda node: node.number))


def survey_huge_pages(source: Source) -> tuple[HugePages, ...]:
    """The sizes of huge pages, the smallest first (kernel: admin-guide/mm/hugetlbpage)."""
    found = []
    for name in source.list(_HUGE):
        if size := re.fullmatch(r"hugepages-(\d+)kB", name):
            count = int(source.read(f"{_HUGE}/{name}/nr_hugepages").strip() or 0)
            found.append(HugePages(size_kib=int(size[1]), count=count))
    return tuple(sorted(found, key=lambda pages: pages.size_kib))


def odd_processors(source: Source) -> list[str]:
    """What is unusual about them, a sentence each."""
    found = []
    models = sorted({block.get("model name", "") for block in _blocks(source)})
    if len(models) > 1:
        found.append(f"processors of several models: {', '.join(models)}; the first one is named")
    absent = parse_list(source.read(f"{_CPU}/present").strip())
    absent -= parse_list(source.read(f"{_CPU}/online").strip())
    if absent and source.read(f"{_CPU}/online"):
        found.append(f"processors {as_list(absent)} are there and not in use")
    return found


def _blocks(source: Source) -> list[dict[str, str]]:
    """The fields of each processor in /proc/cpuinfo."""
    blocks = [
        {
            key.strip(): value.strip()
            for key, _, value in (line.partition(":") for line in block.splitlines())
        }
        for block in source.read("/proc/cpuinfo").strip().split("\n\n")
    ]
    return [block for block in blocks if "processor" in block]


def _places(source: Source) -> list[tuple[str, str, str]]:
    """(package, die, core) of each processor in use (kernel: admin-guide/cputopology)."""
    found = []
    for number in sorted(parse_list(source.read(f"{_CPU}/online").strip())):
        base = f"{_CPU}/cpu{number}/topology"
        package, core = (
            source.read(f"{base}/{name}").strip() for name in ("physical_package_id", "core_id")
        )
        if package and core:
            found.append((package, source.read(f"{base}/die_id").strip(), core))
    return found


def _kinds(source: Source) -> tuple[ProcessorKind, ...]:
    return tuple(
        ProcessorKind(
            name=kind[1], count=len(parse_list(source.read(f"/sys/devices/{name}/cpus").strip()))
        )
        for name in source.list("/sys/devices")
        if (kind := _KINDS.match(name))
    )
