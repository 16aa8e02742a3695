"""What real C programs make the C library and others open by names of their own."""

import hashlib
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onejob.model.profile import Unfollowed
from onejob.profiler.elf import find_library
from onejob.profiler.static import loaded
from onejob.profiler.static.names import Found, Named, View
from onejob.profiler.static.summary import examine

LIBSSL = "/usr/lib/x86_64-linux-gnu/libssl.so.3"
ACCOUNTS = '#include <pwd.h>\nint main(void) { return !getpwnam("root"); }'
HOSTS = "#include <netdb.h>\nint main(void) { return getaddrinfo(0, 0, 0, 0); }"
TIME = """#include <time.h>
int main(int n, char **v) {
    time_t t = n; char s[9];
    return strftime(s, 9, "%H", localtime(&t));
}"""
CONVERTS = '#include <iconv.h>\nint main(void) { return iconv_open("a", "b") == 0; }'
LOCALE = '#include <locale.h>\nint main(void) { return !setlocale(LC_ALL, ""); }'
VERIFIES = """int SSL_CTX_set_default_verify_paths(void *);
int main(int n, char **v) { return SSL_CTX_set_default_verify_paths(v); }"""
NOTHING = "int main(void) { return 0; }"
Search = Callable[[View], Iterator[Found]]
SEARCHES: tuple[Search, ...] = (
    loaded.name_services, loaded.time_zones, loaded.locales, loaded.certificates, loaded.converters,
)  # fmt: skip


def view_of(folder: Path, text: str, *options: str, **environment: str) -> View:
    source, program = folder / "x.c", folder / "program"
    source.write_text(text)
    words = ["cc", "-O1", "-o", program, source, *options]
    subprocess.run(words, check=True, timeout=60)
    sha256 = hashlib.sha256(program.read_bytes()).hexdigest()
    objects = {"/srv/program": examine(str(program), sha256)}
    return View({}, objects, environment, "/srv/program")


def reasons(search: Search, view: View) -> dict[str, str]:
    """Path -> by what it is named."""
    return {item.path: item.by for item in search(view) if isinstance(item, Named)}


def test_accounts_are_looked_up_as_the_switch_says(tmp_path: Path) -> None:
    found = reasons(loaded.name_services, view_of(tmp_path, ACCOUNTS))
    assert found["/etc/passwd"] == found["/etc/group"] == "/srv/program: imports getpwnam"
    rows = dict(re.findall(r"(?m)^\s*(\w+):([^#\n]*)", Path(loaded.SWITCH).read_text()))
    services = f"{rows.get('passwd', '')} {rows.get('group', '')}".split()
    modules = {find_library(f"libnss_{service}.so.2") for service in services} - {"", None}
    assert modules == {path for path in found if "libnss_" in path}
    assert not {"/etc/hosts", "/etc/services"} & found.keys()


def test_hosts_are_looked_up_with_their_own_files(tmp_path: Path) -> None:
    found = reasons(loaded.name_services, view_of(tmp_path, HOSTS))
    assert found["/etc/hosts"] == "/srv/program: imports getaddrinfo"
    assert "/etc/passwd" not in found


@pytest.mark.skipif(not os.path.lexists("/etc/localtime"), reason="no /etc/localtime here")
def test_local_time_needs_the_zone(tmp_path: Path) -> None:
    found = reasons(loaded.time_zones, view_of(tmp_path, TIME))
    assert found == {"/etc/localtime": "/srv/program: imports localtime"}


@pytest.mark.skipif(not os.path.exists("/usr/share/zoneinfo/Europe/Berlin"), reason="no tzdata")
@pytest.mark.parametrize("zone", ["Europe/Berlin", ":Europe/Berlin"])
def test_the_zone_of_the_environment_goes_first(tmp_path: Path, zone: str) -> None:
    found = reasons(loaded.time_zones, view_of(tmp_path, TIME, TZ=zone))
    assert list(found) == ["/usr/share/zoneinfo/Europe/Berlin"]


def test_converters_have_a_table_and_the_rest_is_said(tmp_path: Path) -> None:
    found = list(loaded.converters(view_of(tmp_path, CONVERTS)))
    tables = [item.path for item in found if isinstance(item, Named)]
    assert tables == [
        path
        for path in (f"{loaded._GCONV}/gconv-modules.cache", f"{loaded._GCONV}/gconv-modules")
        if os.path.exists(path)
    ]
    (note,) = [item for item in found if isinstance(item, Unfollowed)]
    assert note.object == "/srv/program"
    assert "include those it needs" in note.reason


def test_locales_are_those_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "locale"
    (folder / "xx_XX.utf8/LC_MESSAGES").mkdir(parents=True)
    (folder / "xx_XX.utf8/LC_MESSAGES/SYS_LC_MESSAGES").write_text("")
    (folder / "yy_YY.utf8").mkdir()
    monkeypatch.setattr(loaded, "LOCALES", str(folder))
    view = view_of(tmp_path, LOCALE, LANG="xx_XX.UTF-8", LC_TIME="C.UTF-8", LC_X="../../etc")
    found = reasons(loaded.locales, view)
    assert {path.removeprefix(f"{folder}/xx_XX.utf8/") for path in found} == {
        "", "LC_MESSAGES", "LC_MESSAGES/SYS_LC_MESSAGES",
    }  # fmt: skip
    assert set(found.values()) == {"environment: LANG=xx_XX.UTF-8"}
    assert reasons(loaded.locales, view_of(tmp_path, NOTHING, LANG="xx_XX.UTF-8")) == {}


@pytest.mark.skipif(not os.path.exists(LIBSSL), reason="no libssl.so.3 here")
def test_a_client_of_tls_needs_the_authorities(tmp_path: Path) -> None:
    found = reasons(loaded.certificates, view_of(tmp_path, VERIFIES, LIBSSL))
    expected = [path for path in (loaded._BUNDLE, *loaded._CERTIFICATES) if os.path.lexists(path)]
    assert set(expected) <= found.keys()
    by = "/srv/program: imports SSL_CTX_set_default_verify_paths"
    assert set(found.values()) == {by}
    hashed = {path for path in found if re.search(r"/[0-9a-f]{8}\.[0-9]$", path)}
    assert hashed == {str(path) for path in Path("/etc/ssl/certs").glob("????????.[0-9]")}


@pytest.mark.parametrize("search", SEARCHES)
def test_a_program_that_asks_for_nothing_gets_nothing(tmp_path: Path, search: Search) -> None:
    assert list(search(view_of(tmp_path, NOTHING, LANG="de_DE.UTF-8", TZ="Europe/Berlin"))) == []
