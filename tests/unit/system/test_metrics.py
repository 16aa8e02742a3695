"""Metrics as a scraper gets them: the values, the places, and what else is asked there."""

import http.client
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from built_plans import dimension, make_plan
from onejob.model.errors import InputError, LacksError, ServiceError
from onejob.model.observations import ArrayUse, MemoryUse, Observations, UnexpectedFile
from onejob.system.metrics import metrics_served
from onejob.system.network import free_port
from onejob.system.serving import Place, parse_place
from some_observations import WEB, observations

MEMORY = MemoryUse(
    program=WEB, unexpected=(), other_sizes=2, large=3, faults=1, uncounted=0,
    arrays=(ArrayUse(block_size=64, blocks=9, given=1000, relayed=4, most_taken=9),),
)  # fmt: skip
PLAN = make_plan(dimensions=(dimension("limit", "nofile", 64),))
EVIL = '/srv/"a\\b\n# HELP'


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


def scrape_unix(path: Path) -> str:
    connection = UnixConnection(path)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def scrape_port(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def values(text: str) -> dict[tuple[str, ...], float]:
    """By name and the values of the labels, sorted."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def observe() -> Observations:
    seen = [
        UnexpectedFile(program=WEB, path=f"/etc/{number}", how="read", error=2, count=2)
        for number in range(23)
    ]
    return observations(
        memory=(MEMORY,), restarts=2, unexpected_files=tuple(seen), unexpected_files_unlisted=5
    )


@pytest.mark.parametrize("kind", ["unix", "port"])
def test_a_scrape_has_what_was_observed(tmp_path: Path, kind: str) -> None:
    port = free_port()
    unix = tmp_path / "metrics"
    place = Place(unix) if kind == "unix" else Place(None, "127.0.0.1", port)
    with metrics_served(place, observe, PLAN):
        found = values(scrape_unix(unix) if kind == "unix" else scrape_port(port))
    assert found["onejob_denied_calls_total", WEB, "ptrace", "serve", "worker"] == 3
    assert found["onejob_processes", WEB, "main", "serve"] == 1
    assert found["onejob_peak", "sockets"] == 5
    assert found["onejob_limit", "nofile"] == 64
    assert found["onejob_blocks_total", WEB, "static"] == 1000
    assert found["onejob_blocks_total", WEB, "dynamic"] == 4 + 2 + 3
    assert found["onejob_relayed_blocks_total", WEB, "64"] == 4
    assert found["onejob_wrong_frees_total", WEB] == 1
    assert found["onejob_running_seconds", "web"] == 3723
    assert found["onejob_restarts_total", "web"] == 2
    assert found["onejob_unexpected_files_total", WEB, "ENOENT"] == 46
    assert found["onejob_unexpected_files_total", "", "unlisted"] == 5
    assert not unix.exists()


def test_a_foreign_name_stays_one_label(tmp_path: Path) -> None:
    process = observations().processes[0].model_copy(update={"program": EVIL})
    with metrics_served(Place(tmp_path / "m"), lambda: observations(processes=(process,)), PLAN):
        assert ("onejob_processes", EVIL, "main", "serve") in values(scrape_unix(tmp_path / "m"))


def test_an_instance_that_is_gone_is_an_error_and_nothing_else_is_there() -> None:
    def gone() -> Observations:
        raise ServiceError("observations: the system of web has ended")

    port = free_port()
    with metrics_served(Place(None, "127.0.0.1", port), gone, PLAN):
        for path, status in (("metrics", 503), ("", 404), ("metrics/../etc/passwd", 404)):
            with pytest.raises(urllib.error.HTTPError) as error:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10)
            error.value.close()
            assert error.value.code == status
        request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", method="POST")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)
        refused.value.close()
        assert refused.value.code == 501


def test_a_taken_place_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        place = Place(None, "127.0.0.1", port)
        with pytest.raises(LacksError, match=f"127.0.0.1:{port}: Address already"):
            metrics_served(place, observe, PLAN).__enter__()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("9100", Place(None, "127.0.0.1", 9100)),
        ("10.1.2.3:9100", Place(None, "10.1.2.3", 9100)),
        ("[::1]:9100", Place(None, "::1", 9100)),
        ("unix:/run/metrics", Place(Path("/run/metrics"))),
    ],
)
def test_places(text: str, place: Place) -> None:
    assert parse_place(text, "--metrics") == place


@pytest.mark.parametrize("text", ["", "unix:", "http", "0", "65536", "host:", "-1", "²"])
def test_no_places(text: str) -> None:
    with pytest.raises(InputError, match="not unix:PATH or PORT"):
        parse_place(text, "--metrics")
