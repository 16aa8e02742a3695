"""Run as a program: describes a recording in another root, a container's for example.

It imports all that it needs, enters the root by chroot(2), and from then on only reads files: it
runs no program and loads no library of that root. Its working directory stays outside: through it
the cache of static completion is reached, and nothing else.
"""

import os
import resource
import sys
from pathlib import Path

from pydantic import TypeAdapter

from onejob.model.errors import OnejobError
from onejob.model.profile_xml import write_profile
from onejob.model.syscalls import known_calls
from onejob.profiler.assemble import assemble
from onejob.profiler.recording import read_recording
from onejob.profiler.subject import Subject

_MAX_MEMORY_BYTES = 4 << 30  # what lies in that root may be made to need more


def main() -> None:
    """``inside ROOT RECORDING CACHE SUBJECT``: the profile, on standard output."""
    root, recording, cache, subject = sys.argv[1:]
    seen = read_recording(Path(recording))
    described = TypeAdapter(Subject).validate_json(subject)
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
    known_calls()  # reads a file of ours
    os.makedirs(cache, exist_ok=True)
    os.chdir(cache)
    os.environ["ONEJOB_CACHE"] = "."
    os.chroot(root)
    sys.stdout.write(write_profile(assemble(described, seen, ())))


if __name__ == "__main__":
    try:
        main()
    except (OnejobError, OSError) as error:
        sys.exit(str(error))
