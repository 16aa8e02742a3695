"""The kernel's Makefiles: which option builds which module."""

import re
from pathlib import Path

_CONTINUED = re.compile(r"\\\n")
# obj-$(CONFIG_X) += a.o b.o; also ${CONFIG_X}, and within a function: $(subst m,y,$(CONFIG_X)).
_RULE = re.compile(
    r"(?m)^[ \t]*obj-\$[({](?:[^()\n]*\$\()?CONFIG_(\w+)[^)}\n]*[)}]+[ \t]*[+:]?=(.*)$"
)


def option_of(module: str, folder: str, tree: Path) -> tuple[str, str]:
    """The option that builds `module` of `folder`, and the Makefile that says so; empty if none.

    Where the folder's own Makefile has no rule for it, one above has: obj-$(CONFIG_X) += a/b.o.
    """
    wanted, place = module.replace("_", "-"), folder
    while place:
        for name in ("Kbuild", "Makefile"):
            rules = _rules(tree / place / name)
            within = folder[len(place) + 1 :]
            objects = f"{within}/{wanted}".lstrip("/").replace("_", "-")
            if option := rules.get(objects):
                return option, f"{place}/{name}"
        place = place.rpartition("/")[0]
    return "", ""


def _rules(path: Path) -> dict[str, str]:
    """The option of each object of one Makefile, dashes for underscores as modules are alike."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return {}
    found: dict[str, str] = {}
    for option, objects in _RULE.findall(_CONTINUED.sub(" ", text)):
        for word in objects.partition("#")[0].split():
            if word.endswith(".o"):
                found.setdefault(word[:-2].replace("_", "-"), option)
    return found
