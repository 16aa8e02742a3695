"""The installer's image reads a pipe: it asks there if its workload says so, and only then."""

import subprocess
import sys
from pathlib import Path

ASK = (
    "import onejob.cli.install as verb\n"
    "verb.untrusted_root = lambda answers, found: None\n"
    "verb.ask_rest = lambda answers, services, disks, screen: 'asked'\n"
    "print(verb._complete('as it was', (), None))\n"
)


def said(tmp_path: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", ASK], input="", capture_output=True, text=True, timeout=60,
        env=environment, cwd=tmp_path, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def test_questions_on_a_pipe_are_asked_where_the_environment_says_so(tmp_path: Path) -> None:
    assert said(tmp_path, ONEJOB_QUESTIONS="yes") == "asked"
    assert said(tmp_path) == "as it was"
