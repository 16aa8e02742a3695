"""/etc/ld.so.cache for exactly the libraries of one root, made by the host's ldconfig.

Without it the loader asks for every library in every directory it knows; the cache must then hold
what the host's cache held of these libraries, so the host's directories are asked for by name.
"""

import os
import re
import shutil
from pathlib import Path

from onejob.base.process import find_tool, run_tool

_LIMIT_S = 120
_CACHED = re.compile(r"=> (/.*)/[^/]+$", re.MULTILINE)
# ldconfig's private notes about inodes: of no use in a read-only root, and never the same twice.
_NOTES = "var/cache/ldconfig"


def write_loader_cache(tree: Path, path: str) -> None:
    """Make the cache of the libraries in `tree` at `path` (as seen inside)."""
    ldconfig = find_tool("ldconfig", "libc-bin")
    notes = tree / _NOTES
    had_notes = notes.exists()
    folders = [folder for folder in cached_folders(ldconfig) if (tree / folder[1:]).is_dir()]
    # -X: the links are the plan's business.
    run_tool([ldconfig, "-X", "-r", tree, "-C", path, *folders], timeout=_LIMIT_S)
    if not had_notes and notes.exists():
        shutil.rmtree(notes)


def cached_folders(ldconfig: str) -> list[str]:
    """The directories whose libraries the host's cache holds, without symbolic links."""
    listing = run_tool([ldconfig, "-p"], timeout=_LIMIT_S)
    return sorted({os.path.realpath(folder) for folder in _CACHED.findall(listing)})
