"""The table of attacks: whole, and written where the page has it."""

from onejob.bench.attacks.measure import Row
from onejob.bench.attacks.page import with_table
from onejob.bench.attacks.table import ATTACKS
from running import ROOT

PAGE = "# Attacks\n\n<!-- table: make attacks -->\nold\n<!-- end of the table -->\n\nlast\n"


def row(name: str, stock: bool | None, host: bool, guest: bool) -> Row:
    return Row(name, "the effect", "what stops it", stock, host, guest)


def test_each_attack_has_a_name_of_its_own_and_says_what_stops_it() -> None:
    names = [attack.name for attack in ATTACKS]
    assert len(set(names)) == len(names)
    assert all(attack.stopped_by and attack.effect.words for attack in ATTACKS)


def test_each_wish_is_one_that_the_service_knows() -> None:
    sources = "".join(path.read_text() for path in ROOT.glob("src/onejob/bench/attacks/victim/*.c"))
    names = {attack.wish.split()[0] for attack in ATTACKS}
    assert {name for name in names if f'{{"{name}", ' not in sources} == {"cgi"}


def test_the_table_of_the_page_is_replaced() -> None:
    page = with_table(PAGE, (row("a", True, False, False), row("b", None, True, False)))
    assert page.startswith("# Attacks\n\n<!-- table: make attacks -->\n\n| attack |")
    assert page.endswith("|\n\n<!-- end of the table -->\n\nlast\n")
    assert "| a | the effect | succeeds | fails | fails | what stops it |\n" in page
    assert "| b | the effect | not tried | succeeds | fails |  |\n" in page
    assert with_table(page, (row("a", True, False, False), row("b", None, True, False))) == page


def test_the_page_has_its_marks() -> None:
    text = (ROOT / "docs/attacks.md").read_text()
    assert text.count("<!-- table: make attacks -->\n") == 1
    assert text.count("<!-- end of the table -->\n") == 1
