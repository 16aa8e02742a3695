"""The probe's client against a script that speaks its protocol."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from onejob.base.accounts import Identity
from onejob.drive.probe import Chosen, Probe, check_probe, choose_backend
from onejob.drive.target import Exit
from onejob.model.errors import LacksError, ServiceError

SPEAKER = """#!{python}
import json, sys
def say(**words):
    print(json.dumps(words), flush=True)
if sys.argv[1] == "check":
    say(**{check})
    sys.exit({status})
mode = sys.argv[-1]
if mode == "missing":
    say(error="missing: not found", hint="install it")
    sys.exit(127)
if mode == "refused":
    say(error="eBPF is not allowed")
    sys.exit(3)
say(started=4711)
if mode == "short":
    say(exited=dict(status=3))
for line in sys.stdin:
    words = json.loads(line)
    if "drill" in words:
        say(drill=words["drill"])
    if "finish" in words:
        output = sys.argv[sys.argv.index("--output") + 1]
        open(output, "w").write(json.dumps(sys.argv))
        say(exited=dict(signal=9))
        say(recorded=output)
        break
"""


@pytest.fixture
def speaker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of native parts in which the probe is a script."""
    write_speaker(tmp_path, {"ebpf": True}, 0)
    monkeypatch.setenv("ONEJOB_NATIVE_DIR", str(tmp_path))
    return tmp_path


def write_speaker(folder: Path, check: dict[str, object], status: int) -> None:
    text = SPEAKER.replace("{python}", sys.executable).replace("{check}", repr(check))
    (folder / "onejob-probe").write_text(text.replace("{status}", str(status)))
    (folder / "onejob-probe").chmod(0o755)


def start(folder: Path, mode: str) -> Probe:
    return Probe(["service", mode], folder / "recording", output=subprocess.DEVNULL)


def test_the_whole_conversation(speaker: Path) -> None:
    with start(speaker, "well") as probe:
        assert probe.pid == 4711
        assert probe.started_at > 0
        assert probe.exited() is None
        probe.begin_drill("serve")
        recording = probe.finish()
        assert probe.exited() == Exit(None, 9)
    words = json.loads(recording.read_text())
    assert words[1:] == [
        "record", "--bare", "--output", str(recording), "--first-drill", "start",
        "--backend", "ebpf", "--", "service", "well",
    ]  # fmt: skip


def test_the_commands_own_end_is_known(speaker: Path) -> None:
    with start(speaker, "short") as probe:
        probe.begin_drill("serve")  # by its answer, what came before has arrived
        assert probe.exited() == Exit(3, None)


@pytest.mark.parametrize("mode", ["missing", "refused"])
def test_what_this_machine_lacks_is_told(speaker: Path, mode: str) -> None:
    said = {"missing": "missing: not found", "refused": "eBPF is not allowed"}[mode]
    with pytest.raises(LacksError, match=said):
        start(speaker, mode)


def test_a_probe_that_is_killed_is_an_error(speaker: Path) -> None:
    with start(speaker, "well") as probe:
        probe._process.kill()
        with pytest.raises(ServiceError, match="onejob-probe"):
            probe.begin_drill("serve")


def test_check_says_what_is_missing(speaker: Path) -> None:
    assert check_probe() == {"ebpf": True}
    write_speaker(speaker, {"error": "no BTF", "hint": "use a kernel with BTF"}, 3)
    with pytest.raises(LacksError) as caught:
        check_probe()
    assert (caught.value.what, caught.value.hint) == (
        "the observer cannot work: no BTF",
        "use a kernel with BTF",
    )


def test_ebpf_is_chosen_where_it_works_and_ptrace_where_it_does_not(speaker: Path) -> None:
    assert choose_backend("auto") == choose_backend("ebpf") == Chosen("ebpf")
    write_speaker(speaker, {"ebpf": False, "ptrace": True, "missing": "no rights"}, 3)
    note = "watching by ptrace: it runs several times slower"
    assert choose_backend("auto") == Chosen("ptrace", f"eBPF cannot be used: no rights; {note}")
    assert choose_backend("ptrace") == Chosen("ptrace", note)
    with pytest.raises(LacksError, match="no rights") as caught:
        choose_backend("ebpf")
    assert "--backend ptrace" in caught.value.hint


def test_where_neither_is_allowed_both_are_named(speaker: Path) -> None:
    write_speaker(speaker, {"ebpf": False, "ptrace": False, "missing": "no rights"}, 3)
    with pytest.raises(LacksError, match="no rights; nor is ptrace allowed"):
        choose_backend("auto")


def test_the_commands_identity_is_handed_on(speaker: Path) -> None:
    with Probe(
        ["service", "long"], speaker / "recording", output=subprocess.DEVNULL,
        identity=Identity(33, 34, (7, 8)),
    ) as probe:  # fmt: skip
        words = json.loads(probe.finish().read_text())
    assert words[words.index("--user") + 1] == "33:34:7,8"
    assert words.index("--user") < words.index("--")
