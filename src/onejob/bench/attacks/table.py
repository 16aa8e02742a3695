"""The attacks: what each does, what shows that it succeeded, and what stops it in an image.

Names in braces are filled in by where the service runs (onejob.bench.attacks.scene).
"""

from typing import NamedTuple

from onejob.bench.attacks.effects import (
    CHANGED,
    HEARD,
    STARVED,
    Effect,
    at_least,
    forgotten,
    gone,
    marked,
    proof,
    there,
)

FIRST_WORD = "first-word"  # what the log has before an attack
_NO_CALL = "the service never made this call, so no process of it may"


class Attack(NamedTuple):
    """`wish` is what the service is asked to do, see victim/; `stopped_by` is onejob's answer.

    `not_on_host` says why a stock host cannot show it.
    """

    name: str
    wish: str
    effect: Effect
    stopped_by: str
    not_on_host: str = ""


_KERNEL_FILES = "the kernel's own file systems are read-only where no drill wrote"
_READ_ONLY = "programs and configuration lie on a read-only root that nobody can remount"
_FILES = (
    Attack(
        "write to a configuration file", "append {folder}/service.conf",
        marked("{folder}/service.conf"), _READ_ONLY,
    ),
    Attack("write to a system file", "append /etc/passwd", marked("/etc/passwd"), _READ_ONLY),
    Attack("replace a program", "replace {folder}/helper", marked("{folder}/helper"), _READ_ONLY),
    Attack("replace a library", "replace {library}", marked("{library}"), _READ_ONLY),
    Attack(
        "remove a configuration file", "delete {folder}/service.conf",
        gone("{folder}/service.conf"), _READ_ONLY,
    ),
    Attack(
        "mount over a configuration file", "mount {folder}/service.conf",
        proof("is hidden", "the file is not found any more"), _NO_CALL,
    ),
    Attack(
        "make the root writable", "remount {folder}/service.conf", marked("{folder}/service.conf"),
        _NO_CALL,
    ),
    *(
        Attack(
            f"write outside granted paths: {where}", f"create {path}", there(f"{path}/{{mark}}"), by
        )
        for where, path, by in (
            ("beside the program", "{folder}", _READ_ONLY),
            ("/etc", "/etc", _READ_ONLY),
            ("/dev", "/dev", _KERNEL_FILES),
            (
                "the data partition", "{data}",
                "the service has nothing of it but the folders that it writes",
            ),
        )
    ),
    Attack(
        "write what only another program may", "cgi {logs}/access.log", marked("{logs}/access.log"),
        "Landlock: each program writes where it was seen to",
    ),
    Attack(
        "truncate a log", "truncate-log {logs}/access.log",
        forgotten("{logs}/access.log", FIRST_WORD), "logs can only be extended",
    ),
    Attack(
        "overwrite a log", "overwrite-log {logs}/access.log",
        marked("{logs}/access.log"), "logs can only be extended",
    ),
    Attack(
        "fill the disk", "fill {logs}/access.log", STARVED,
        "logs have a share of the disk, and no more",
    ),
    Attack(
        "make a program set-user-id", "set-user-id {folder}/helper",
        proof("mode 4755", "the file is set-user-id"), _NO_CALL,
    ),
    Attack(
        "open the machine's devices", "open-devices",
        proof("opened", "a disk, a control line or kernel memory is open"),
        "/dev has the devices that the profile has",
    ),
    Attack(
        "make a device", "make-device /dev",
        proof("made and read", "the device answers"), _NO_CALL,
    ),
)  # fmt: skip
_PROGRAMS = (
    Attack(
        "start a shell", "shell /bin/sh", proof("42", "the shell's sum is in the answer"),
        "there is no shell in the image",
    ),
    Attack(
        "run a program from memory (memfd, execveat)", "run-from-memory",
        proof("42", "the program's answer comes"), _NO_CALL,
    ),
    Attack(
        "run a program that was written to disk", "run-written {logs}",
        proof("42", "the program's answer comes"), "what can be written cannot be executed",
    ),
    Attack(
        "the same by the loader", "run-by-loader {logs}",
        proof("42", "the program's answer comes"), "nor mapped as code",
    ),
    Attack(
        "map memory that can be written and executed", "write-and-execute",
        proof("says 42", "new code has run"), "arguments of mmap that no drill had are refused",
    ),
    Attack(
        "make written memory executable", "write-then-execute",
        proof("says 42", "new code has run"),
        "arguments of mprotect that no drill had are refused",
    ),
    Attack(
        "map a written file as code", "execute-written-file {logs}",
        proof("says 42", "new code has run"), "what can be written cannot be executed",
    ),
    Attack(
        "change its own code (/proc/self/mem)", "write-own-code",
        proof("taken-over", "a constant has changed"),
        f"{_KERNEL_FILES}; a guest's kernel refuses it, too",
    ),
    Attack(
        "free a block twice", "free-twice", proof("two owners", "malloc gives one block out twice"),
        "the static memory manager",
    ),
    Attack(
        "free a foreign pointer", "free-foreign",
        proof("gave out the forged block", "malloc gives out a forged block"),
        "the static memory manager",
    ),
)  # fmt: skip
_OTHERS = (
    Attack("trace another process", "trace", CHANGED, _NO_CALL),
    Attack("write to another process's memory", "write-memory-of-other", CHANGED, _NO_CALL),
    Attack(
        "the same by /proc/PID/mem", "write-memory-file", CHANGED, _KERNEL_FILES,
    ),
    Attack(
        "escape by /proc/1/root", "read-outside {secret}",
        proof("the secret", "a file outside is read"), "process 1 has the same root",
    ),
    Attack(
        "become another user", "become-other", proof("user 33", "the user is another"), _NO_CALL
    ),
    Attack(
        "a user namespace by clone", "leave-by-clone",
        proof("another namespace", "the process is in another namespace"),
        "arguments of clone that no drill had are refused; a guest's kernel has no namespaces",
    ),
    Attack(
        "a user namespace by unshare", "leave-by-unshare",
        proof("another namespace", "the process is in another namespace"), _NO_CALL,
    ),
    Attack(
        "fork bomb", "fork-bomb 400", at_least(400, "processes"),
        "tasks: four times the profile's peak",
    ),
    Attack(
        "memory bomb", "memory-bomb 200", at_least(200, "MiB"),
        "memory: the profile's, and some more; in a guest programs stay in memory, so that the "
        "bomb is ended at once",
    ),
    Attack(
        "use up descriptors", "use-up-descriptors {logs}/access.log", at_least(3000, "descriptors"),
        "descriptors: four times the profile's peak",
    ),
)  # fmt: skip
_KERNEL = (
    Attack(
        "load a kernel module", "load-module /opt/dummy.ko",
        proof("kernel has dummy", "the kernel lists it"), _NO_CALL,
        not_on_host="a host's kernel cannot be expected to take modules",
    ),
    Attack(
        "load a BPF program", "load-bpf", proof("says 42", "the kernel has run it"), _NO_CALL
    ),
    Attack("use io_uring", "use-ring {logs}/ring", there("{logs}/ring"), _NO_CALL),
    Attack(
        "change the clock", "change-clock", proof("clock moved", "the clock is another"), _NO_CALL
    ),
    Attack(
        "change a kernel setting", "set-kernel", proof("live is 42", "the setting reads back"),
        _KERNEL_FILES,
    ),
)  # fmt: skip
_NETWORK = (
    Attack(
        "connect out", "connect-out {outside}", HEARD,
        "Landlock: TCP only to ports that the profile has",
    ),
    Attack(
        "connect out by multipath TCP", "connect-multipath {outside}", HEARD,
        "arguments of socket that no drill had are refused",
    ),
    Attack(
        "connect out by TCP Fast Open", "connect-fast {outside}", HEARD,
        "arguments of sendto that no drill had are refused",
    ),
    Attack(
        "send a datagram out", "send-datagram {outside}", HEARD,
        "arguments of socket that no drill had are refused",
    ),
    Attack(
        "listen on another port", "listen-elsewhere 127.0.0.1:7070",
        proof("answers on port", "it answers there"),
        "it never calls bind while it serves; Landlock: TCP only on ports that the profile has",
    ),
    Attack(
        "open a raw socket", "raw-socket", proof("reply to packet", "a forged packet is answered"),
        "no capability for it, and no drill had such a socket",
    ),
    Attack(
        "listen to all packets", "sniff", proof("heard what", "others' packets are heard"),
        "no capability for it, and no drill had such a socket",
    ),
)  # fmt: skip

ATTACKS = (*_FILES, *_PROGRAMS, *_OTHERS, *_KERNEL, *_NETWORK)
