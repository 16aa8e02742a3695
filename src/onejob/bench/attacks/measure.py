"""Benchmark ``attacks``: each attack on the stock system, on an image on this host, and in QEMU."""

import tempfile
from pathlib import Path
from typing import NamedTuple

from onejob.base.progress import Progress
from onejob.bench.attacks.attempt import attempt_all
from onejob.bench.attacks.flip import flip_in_image, flip_on_stock
from onejob.bench.attacks.scene import guest_scene, host_scene, secret_folder, stock_scene
from onejob.bench.attacks.table import ATTACKS
from onejob.bench.attacks.victim import Victim, build_victim, profile_victim, vulnerable_service
from onejob.bench.promises import ATTACKS_IN_GUEST, ATTACKS_ON_HOST
from onejob.bench.result import Result, Value, judge
from onejob.bench.subject import Subject
from onejob.model.image import Image


class Row(NamedTuple):
    """An attack, and whether it succeeded in each place; None where it was not tried.

    An attack that stopped the service has succeeded, too.
    """

    name: str
    effect: str
    stopped_by: str
    stock: bool | None
    host: bool
    guest: bool | None


def measure_attacks(subject: Subject, progress: Progress) -> tuple[Result, ...]:
    """How many succeed in an image; `subject` is not used: the service is the vulnerable one."""
    rows = try_all(progress)
    for row in rows:
        for place, succeeded in (("on this host", row.host), ("in QEMU", row.guest)):
            if succeeded:
                progress.note(f"succeeded {place}: {row.name}")
    shown = [row for row in rows if row.stock is not None]
    values = (
        Value(name="tried", value=len(rows), unit=""),
        Value(name="tried on the stock system", value=len(shown), unit=""),
        Value(name="succeeded there", value=sum(bool(row.stock) for row in shown), unit=""),
    )
    return (
        judge(ATTACKS_ON_HOST, sum(row.host for row in rows), values),
        judge(ATTACKS_IN_GUEST, sum(bool(row.guest) for row in rows)),
    )


def try_all(progress: Progress, *, in_qemu: bool = True) -> tuple[Row, ...]:
    """Every attack in every place; the service is compiled, profiled and built for it."""
    with (
        vulnerable_service() as victim,
        secret_folder() as secret,
        tempfile.TemporaryDirectory(prefix="onejob-attacks-") as name,
    ):
        folder = Path(name)
        profile = profile_victim(victim, progress)
        image = build_victim(profile, folder / "vulnerable.onejob", in_qemu, progress)
        progress.stage("attacks: on the stock system")
        shown = [attack for attack in ATTACKS if not attack.not_on_host]
        stock = attempt_all(lambda: stock_scene(victim, secret), shown, progress)
        progress.stage("attacks: on the image, on this host")
        host = attempt_all(lambda: host_scene(victim, image, secret), ATTACKS, progress)
        guest = dict[str, bool]()
        if in_qemu:
            progress.stage("attacks: on the image, in QEMU")
            guest = attempt_all(lambda: guest_scene(victim, image, secret), ATTACKS, progress)
        flipped = _flip(victim, image, secret, folder, in_qemu)
    rows = (
        Row(
            name=attack.name,
            effect=attack.effect.words,
            stopped_by=attack.stopped_by,
            stock=stock.get(attack.name),
            host=host[attack.name],
            guest=guest.get(attack.name),
        )
        for attack in ATTACKS
    )
    return (*rows, flipped)


def _flip(victim: Victim, image: Image, secret: Path, folder: Path, in_qemu: bool) -> Row:
    return Row(
        "change a byte of the image",
        "the service runs with it",
        "dm-verity in a guest; on a host the whole root is hashed before it is mounted",
        flip_on_stock(victim, secret),
        flip_in_image(victim, image, secret, folder, False),
        flip_in_image(victim, image, secret, folder, True) if in_qemu else None,
    )
