"""The read-only root of an image: entries -> tree -> packed -> with its hash tree."""

from pathlib import Path

from onejob.base.progress import Progress
from onejob.builder.entries import complete_entries
from onejob.builder.instance import FILTERS, INSTANCE, instance_text
from onejob.builder.memory import PLAN_PATH, manager_text
from onejob.builder.pack import pack_tree
from onejob.builder.policy import build_filters
from onejob.builder.tree import lay_tree
from onejob.builder.verity import append_tree
from onejob.model.image import Verity
from onejob.model.plan import Plan


def build_root(plan: Plan, tree: Path, image: Path, progress: Progress, host: str = "/") -> Verity:
    """Make the root of `plan` at the new path `image`, by way of the new folder `tree`.

    The host's files are those below `host`. Same plan and same files: same bytes. The data
    partition is not made here: process 1 seeds it on first use with the directories that the root
    has for it.
    """
    entries = complete_entries(plan)
    filters, policy, rows = build_filters(plan)
    generated = {FILTERS: filters, INSTANCE: instance_text(plan, policy, rows).encode()}
    if memory := manager_text(plan):
        generated[PLAN_PATH] = memory.encode()
    tree.mkdir(mode=0o700)
    lay_tree(entries, generated, tree, progress, host)
    form = plan.root
    progress.step(f"packing as {form.filesystem} with {form.compression}", None)
    pack_tree(tree, image, form)
    progress.step("hash tree (dm-verity)", None)
    return append_tree(image)


def generated_paths(plan: Plan) -> tuple[str, ...]:
    """The files that the builder writes into the root of `plan`."""
    memory = (PLAN_PATH,) if plan.memory_manager.kind == "static" else ()
    return (INSTANCE, FILTERS, *memory)
