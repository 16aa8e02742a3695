"""The promises that have numbers, and the benchmark that shows each.

SPECIFICATION.md is the same table for people; a test compares the two. The bars are those of the
gallery's nginx; other services are measured against them all the same.
"""

from typing import NamedTuple


class Promise(NamedTuple):
    """`benchmark` shows that `text` is at most `bar`."""

    benchmark: str
    text: str
    bar: float
    unit: str


IMAGE_BYTES = Promise("image-size", "kernel and root together", 5, "MB")
KERNEL_BYTES = Promise("image-size", "the kernel of them", 2.2, "MB")
ROOT_FILES = Promise("image-size", "files in the root", 40, "")
ALLOWED_CALLS = Promise("image-size", "system calls allowed, both phases together", 70, "")
BOOT_RATIO = Promise(
    "boot", "start to first answer in QEMU, of a stock Debian guest's", 1 / 12, "x"
)
HOST_START = Promise("host-start", "start to first answer on the host", 300, "ms")
MEMORY_FLOOR = Promise("memory-floor", "guest memory that passes the rehearsal", 20, "MiB")
PROBE_COST = Promise(
    "profile-cost", "CPU per request while calls are watched, of unwatched", 1.1, "x"
)
CALL_COST = Promise(
    "call-cost", "time that watching adds to the calls of one web request", 1200, "ns"
)
RECORDER_COST = Promise(
    "profile-cost", "CPU per request while memory is watched, of unwatched", 1.25, "x"
)
REDIS_COST = Promise(
    "redis-cost", "CPU per SET while calls, files and memory are watched, of unwatched", 1.2, "x"
)
MALLOC_COST = Promise(
    "malloc-cost", "added to a pair of malloc and free by the recorder, worst case", 12, "ns"
)
MALLOC_SPEED_LIBC = Promise(
    "malloc-speed", "malloc and free by the memory manager, of glibc's, worst pattern", 0.6, "x"
)
MALLOC_SPEED_BEST = Promise(
    "malloc-speed", "malloc and free, of the best other allocator's, worst pattern", 1, "x"
)
MALLOC_TRACES_LIBC = Promise(
    "malloc-traces", "requests recorded from services, of glibc's time, worst service", 0.6, "x"
)
MALLOC_TRACES_BEST = Promise(
    "malloc-traces", "requests recorded from services, of the best other's, worst service", 1, "x"
)
PATH_COST = Promise(
    "path-cost",
    "added to open or stat of a file that is there by noting unexpected files",
    10,
    "ns",
)
FORK_SPEED = Promise("malloc-speed", "fork and first malloc in the child, of glibc's", 1, "x")
MEMORY_RELAYED = Promise(
    "memory-static", "blocks that no array gave, of all under all drills", 0.1, "%"
)
MEMORY_GROWTH = Promise(
    "memory-static", "resident memory of the service after its load, of that at ready", 1.02, "x"
)
MEMORY_FAULTS = Promise(
    "memory-static", "page faults of the service under its load, from ready on", 0, ""
)
PTRACE_COST = Promise(
    "ptrace-cost", "CPU per request under the ptrace fallback, of that under strace -f", 0.5, "x"
)
STOCK_GUEST = Promise(
    "stock-requests", "CPU per request in QEMU, of a stock Debian guest's", 1 / 1.3, "x"
)
STOCK_HOST = Promise(
    "stock-requests", "CPU per request on the host, of the service with nothing around it", 1, "x"
)
ROW_COST = Promise(
    "row-cost", "CPU per request with policy and rows, of that without a filter", 1.05, "x"
)
EVENTS_LOST = Promise("events-lost", "events lost under all drills at full load", 0, "")

MILLION_CPU = Promise("million", "CPU to write and read a profile of a million facts", 5, "s")
MILLION_MEMORY = Promise("million", "peak memory of a process that does so", 300, "MB")
IMAGE_TIME = Promise("build-time", "profile to image, without its kernel", 10, "s")
KERNEL_COLD = Promise("build-time", "a specialised kernel from nothing, on 2 cores", 360, "s")
KERNEL_LEAF = Promise("build-time", "the same with one leaf option changed", 30, "s")
KERNEL_AGAIN = Promise("build-time", "the same options again", 2, "s")
INSTALLATION = Promise(
    "installer", "medium and empty disk to the service's first answer in QEMU", 180, "s"
)
ATTACKS_ON_HOST = Promise("attacks", "attacks that succeed on an image on this host", 0, "")
ATTACKS_IN_GUEST = Promise("attacks", "attacks that succeed on an image in QEMU", 0, "")
GALLERY_FAILS = Promise("gallery", "rehearsals of the gallery that do not pass, of 18", 0, "")

PROMISES = (
    IMAGE_BYTES, KERNEL_BYTES, ROOT_FILES, ALLOWED_CALLS, BOOT_RATIO, HOST_START, MEMORY_FLOOR,
    PROBE_COST, CALL_COST, RECORDER_COST, REDIS_COST, MALLOC_COST, MALLOC_SPEED_LIBC,
    MALLOC_SPEED_BEST, MALLOC_TRACES_LIBC, MALLOC_TRACES_BEST, PATH_COST,
    FORK_SPEED, MEMORY_RELAYED, MEMORY_GROWTH, MEMORY_FAULTS, PTRACE_COST, STOCK_GUEST, STOCK_HOST,
    ROW_COST, EVENTS_LOST, MILLION_CPU, MILLION_MEMORY, IMAGE_TIME,
    KERNEL_COLD, KERNEL_LEAF, KERNEL_AGAIN, INSTALLATION, ATTACKS_ON_HOST, ATTACKS_IN_GUEST,
    GALLERY_FAILS,
)  # fmt: skip
