"""Tables of measured figures, kept in a page between marks."""

from collections.abc import Iterable, Sequence


def replace_table(
    text: str, command: str, heads: Sequence[str], rows: Iterable[Sequence[str]]
) -> str:
    """`text` with `rows` in the place of the table that `command` has made before."""
    begin, end = f"<!-- table: {command} -->\n", "<!-- end of the table -->\n"
    before, _, rest = text.partition(begin)
    after = rest.partition(end)[2]
    lines = [heads, ("---",) * len(heads), *rows]
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return f"{before}{begin}\n{table}\n{end}{after}"
