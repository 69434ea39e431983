"""What is never removed: every way to name it."""

import os
from pathlib import Path

import pytest

from pilot.staging.refusal import Refused, kept_places, refuse
from pilot.staging.request import Target
from pilot.staging.tidy import _weigh

ROOTS = ["/", "//", "///", "/.", "/./", "//.", "file:///", "file://", "file:/", "file:///.", "FILE:///"]
ROOTS += [
    "file:///%2e",
    "file:///%2F",
    "file:///%2E%2e",
    "file://localhost/",
    "/..",
    "/tmp/..",
    "/tmp/../",
    "",
    "file:",
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that is a link to where it really is."""
    (tmp_path / "disk" / "me" / "work").mkdir(parents=True)
    (tmp_path / "me").symlink_to(tmp_path / "disk" / "me")
    return tmp_path / "me"


@pytest.mark.parametrize("url", ROOTS)
def test_the_root_stays(url: str, home: Path) -> None:
    with pytest.raises(Refused):
        refuse(url, [str(home)])


def test_the_home_stays_by_each_of_its_names(home: Path, tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to(tmp_path / "disk")
    (tmp_path / "other").symlink_to("me")
    (tmp_path / "root").symlink_to("/")
    real = tmp_path / "disk" / "me"
    names = [home, real, tmp_path / "way" / "me", tmp_path / "other", tmp_path / "root", tmp_path, tmp_path / "way"]
    names += [f"{tmp_path / 'root'}{real}"]
    for name in names:
        for spelled in (f"{name}", f"{name}/", f"{name}/.", f"/{name}", f"{name}//", f"file://{name}"):
            with pytest.raises(Refused):
                refuse(spelled, [str(home)])
    quoted = "".join(f"%{ord(letter):02x}" for letter in str(home))
    with pytest.raises(Refused):
        refuse(f"file:///{quoted}", [str(home)])


def test_where_the_pilot_stands_stays(home: Path) -> None:
    for name in ("/proc/self/cwd", "/proc/self/cwd/", "/proc/self/root/"):
        with pytest.raises(Refused):
            refuse(name, [str(home), os.getcwd()])


def test_the_home_of_the_system_stays_whatever_the_environment_says() -> None:
    own = os.path.expanduser("~root") if os.getuid() == 0 else ""
    assert own in kept_places({"HOME": "/nowhere"}, "/tmp") or os.getuid() != 0


def test_what_lies_beside_and_below_may_go(home: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(home / "work")
    for path in (home / "work", f"{home}/work/", tmp_path / "disk" / "you", tmp_path / "link", f"{tmp_path}/m", "/%2e"):
        refuse(str(path), [str(home)])


WHOLE = ["http://h", "http://h/", "http://h//", "http://h/.", "http://h/%2e", "http://h/%252e/", "http://h/%2f"]
WHOLE += ["http://h/?x", "http://h/#a", "http://h/;x", "root://h//", "root://h//.//", "davs://h:443/.", "gs://b"]
WHOLE += ["s3://bucket", "s3://bucket/", "s3://me@site/bucket", "s3://me@site/bucket/", "s3://h:9000/bucket/"]
WHOLE += ["s3s://s3.some.org/bucket", "srm://h:8443/srm/v2/server?SFN=/", "rucio://x"]
UPWARD = ["http://h/a/..", "http://h/a/%2e%2e/b", "http://h/a/%2E.", "http://h/a/%252e%252e", "gsiftp://h/%2e%2e"]
UPWARD += ["srm://h/srm/v2/server?SFN=/a/../b", "http://h/a/..;x/b", "http://h/a\\..\\b", "s3://me@site/b/../c"]


@pytest.mark.parametrize("url", WHOLE)
def test_a_whole_storage_stays(url: str) -> None:
    with pytest.raises(Refused, match="whole storage"):
        refuse(url, [])


@pytest.mark.parametrize("url", UPWARD)
def test_a_way_up_leads_nowhere(url: str) -> None:
    with pytest.raises(Refused, match="anywhere"):
        refuse(url, [])


@pytest.mark.parametrize(
    "url",
    ["http://h/a", "s3://me@site/bucket/key", "s3://bucket/key", "srm://h/srm/v2/server?SFN=/a/b", "root://h//a..b/c"],
)
def test_a_part_of_a_storage_may_go(url: str) -> None:
    refuse(url, [])


def test_a_link_weighs_as_a_link_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "f").write_text("x" * 1000)
    (tmp_path / "link").symlink_to("folder")
    for spelled in ("link", "link/", "link/."):
        files, size = _weigh(Target(f"{tmp_path}/{spelled}", recursive=True))
        assert files == 1 and size < 100
