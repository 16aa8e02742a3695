"""``onejob bench``: measure the promises that have numbers."""

from pathlib import Path
from typing import Annotated

import typer

from onejob.base.files import write_atomically
from onejob.bench.benchmarks import BENCHMARKS, choose_benchmarks, run_benchmarks
from onejob.bench.result import HEADS, Result, make_report, table_rows, with_unit
from onejob.bench.subject import Subject
from onejob.cli.show import out, print_table, progress
from onejob.model.image import open_image
from onejob.model.jsonfile import to_json
from onejob.model.profile_xml import load_profile


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Benchmarks, or: all")
    ] = None,
    image: Annotated[Path | None, typer.Option("--image", "-i", help="An image folder.")] = None,
    profile: Annotated[
        Path | None, typer.Option("--profile", "-p", help="A profile. Default: the image's.")
    ] = None,
    installer: Annotated[
        Path | None, typer.Option("--installer", help="The installer's image, of make installer.")
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1, help="How long the load of memory-static goes on.")
    ] = 60.0,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the results there too.")
    ] = None,
) -> None:
    """Measure what SPECIFICATION.md promises; without names, list that.

    Figures are medians of runs that take turns side by side. A promise that
    is not kept is shown as such, and is no error.

    \b
    Examples:
      onejob bench
      onejob bench image-size host-start --image nginx.onejob
      onejob bench profile-cost --profile nginx.profile.xml
      onejob bench all --image nginx.onejob --json bench.json
    """
    if not names:
        _print_promises()
        return
    chosen = choose_benchmarks(names)
    subject = Subject(
        given_image=open_image(image) if image else None,
        given_profile=load_profile(profile) if profile else None,
        given_installer=open_image(installer) if installer else None,
        load_seconds=seconds,
    )
    with progress() as shown:
        results = run_benchmarks(chosen, subject, shown)
    if json is not None:
        write_atomically(json, to_json(make_report(results)).encode())
    print_results(results)


def print_results(results: tuple[Result, ...]) -> None:
    """Each promise with its bar and what was measured, then what was seen on the way."""
    print_table("", HEADS, table_rows(results))
    for result in results:
        if result.values:
            values = ", ".join(map(str, result.values))
            out.print(f"{result.benchmark}: {values}", markup=False, soft_wrap=True)


def _print_promises() -> None:
    rows = [
        (benchmark.name, promise.text, f"<= {with_unit(promise.bar, promise.unit)}")
        for benchmark in BENCHMARKS
        for promise in benchmark.promises
    ]
    print_table("", ("benchmark", "promise", "bar"), rows)
    out.print("measure: onejob bench NAME... --image NAME.onejob")
