"""The published schema is what the nouns make of it, allows every profile, and refuses others."""

from hypothesis import HealthCheck, given, settings
from lxml import etree

import small_world
from house import ROOT
from onejob.model.profile import Profile
from onejob.model.profile_schema import schema_text
from onejob.model.profile_xml import write_profile
from some_profiles import profiles

PUBLISHED = ROOT / "docs/profile.rng"
SCHEMA = etree.RelaxNG(etree.fromstring(schema_text().encode()))


def allowed(text: str) -> bool:
    return bool(SCHEMA.validate(etree.fromstring(text.encode())))


def test_the_published_schema_is_up_to_date() -> None:
    """Where it is not: make schema."""
    assert PUBLISHED.read_text() == schema_text()


def test_profiles_are_allowed() -> None:
    for text in (write_profile(Profile()), write_profile(small_world.profile())):
        assert allowed(text), SCHEMA.error_log
    for path in small_world.GOLDEN.glob("*.profile.xml"):
        assert allowed(path.read_text()), SCHEMA.error_log


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(profiles())
def test_any_profile_is_allowed(profile: Profile) -> None:
    assert allowed(write_profile(profile)), SCHEMA.error_log


WRONG = (
    ('<object class="SystemCall">', '<object class="java.lang.ProcessBuilder">'),
    ('property="callName"', 'property="calledName"'),
    ('<void property="numberOfProcesses">', '<void method="exec">'),
    ("<int>50</int>", "<int>-50</int>"),
    ("<int>50</int>", "<string>50</string>"),
    ("<int>50</int>", "<int>50</int><int>50</int>"),
    ('<object class="Profile">', '<object class="Profile" method="new">'),
)


def test_what_is_no_profile_is_refused() -> None:
    text = (small_world.GOLDEN / "paper.profile.xml").read_text()
    for right, wrong in WRONG:
        assert right in text
        assert not allowed(text.replace(right, wrong)), wrong
