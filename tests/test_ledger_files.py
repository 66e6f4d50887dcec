"""Where ledgers lie: in the first directory that can be had and is nobody else's."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from otelmon.errors import LedgerError
from otelmon.ledger.files import candidates, first_usable, open_private, prepare
from tests.forks import Child
from tests.tmpfs import make_read_only, mounted


if TYPE_CHECKING:
    from collections.abc import Iterator


NOBODY = 65534


@pytest.fixture
def public() -> Iterator[Path]:
    """Yield a directory that every user may enter, unlike tmp_path."""
    place = Path(tempfile.mkdtemp(prefix="otelmon-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


def test_a_directory_that_was_chosen_is_the_only_one() -> None:
    """OTELMON_DIR stands for itself: nothing is tried beside it."""
    assert candidates(chosen="/a", runtime_dir="/b", tmp_dir="/c") == [Path("/a")]


def test_memory_is_preferred_to_disk() -> None:
    """The runtime directory comes first, then shared memory, then the temporary directory."""
    own = f"otelmon-{os.geteuid()}"

    found = candidates(chosen=None, runtime_dir="/run/user/1", tmp_dir="/var/tmp")

    assert found == [Path("/run/user/1/otelmon"), Path("/dev/shm") / own, Path("/var/tmp") / own]
    assert candidates(chosen=None, runtime_dir=None, tmp_dir="/var/tmp") == found[1:]


def test_the_first_directory_that_can_be_used_is_taken(tmp_path: Path) -> None:
    """What cannot be used is passed over, and what comes behind the one taken is not touched."""
    (tmp_path / "file").touch()
    places = [tmp_path / "file", tmp_path / "file" / "below", tmp_path / "good", tmp_path / "rest"]

    assert first_usable(places) == tmp_path / "good"
    assert not (tmp_path / "rest").exists()


def test_where_no_directory_can_be_used_the_message_says_why_for_each(tmp_path: Path) -> None:
    """Nothing usable is one LedgerError that names every directory and its fault."""
    file, link = tmp_path / "file", tmp_path / "link"
    file.touch()
    link.symlink_to(tmp_path)

    with pytest.raises(LedgerError) as caught:
        first_usable([file, link])

    assert f"{file}: " in str(caught.value)
    assert f"{link}: " in str(caught.value)


def test_a_directory_is_made_for_its_user_alone(tmp_path: Path) -> None:
    """The directory and those above it are made, and nobody else may look into it."""
    place = tmp_path / "a" / "b"

    prepare(place)

    assert stat.S_IMODE(place.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    """Somebody who names /tmp gets a reason, and /tmp keeps its mode."""
    tmp_path.chmod(mode)

    with pytest.raises(LedgerError, match="Others can write"):
        prepare(tmp_path)

    assert stat.S_IMODE(tmp_path.stat().st_mode) == mode


def test_a_directory_that_others_can_read_is_used_as_it_is(tmp_path: Path) -> None:
    """The files in it are private by themselves."""
    tmp_path.chmod(0o755)

    prepare(tmp_path)

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_planted_link_is_no_directory(tmp_path: Path) -> None:
    """A symbolic link where the directory should be is refused, and its target left as it is."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.mkdir(mode=0o755)
    link.symlink_to(target)

    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        prepare(link)

    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def test_another_users_directory_is_refused(public: Path) -> None:
    """A directory that somebody else has made first is refused, also by root, and left as it is."""
    place = public / "otelmon"
    place.mkdir(mode=0o777)
    os.chown(place, NOBODY, NOBODY)
    place.chmod(0o777)

    with pytest.raises(LedgerError, match=f"belongs to user {NOBODY}"):
        prepare(place)

    assert stat.S_IMODE(place.stat().st_mode) == 0o777


def test_a_read_only_file_system_is_refused(tmp_path: Path) -> None:
    """Where not even root may write, the directory is refused before it is relied on."""
    with mounted(tmp_path / "small", pages=16) as place:
        make_read_only(place)

        with pytest.raises(LedgerError, match="cannot be written"):
            prepare(place)
        with pytest.raises(OSError, match="Read-only"):
            prepare(place / "below")


def test_a_directory_without_the_right_to_write_is_refused(public: Path) -> None:
    """A user whose own directory is closed to him is told so, as is one who may make none."""
    place = public / "otelmon"
    place.mkdir(mode=0o500)
    os.chown(place, NOBODY, NOBODY)

    with Child(lambda: os.setuid(NOBODY)) as nobody:
        with pytest.raises(LedgerError, match="cannot be written"):
            nobody.call(_prepare, place)
        with pytest.raises(PermissionError):
            nobody.call(_prepare, public / "other")


def test_the_rights_that_count_are_those_a_process_has_now(public: Path) -> None:
    """A server that was started by a user without the right to write may have it all the same."""
    place = public / "closed" / "otelmon"
    place.parent.mkdir(mode=0o700)

    with Child(lambda: os.setresuid(NOBODY, 0, 0)) as server:
        server.call(_prepare, place)


def _prepare(_: None, place: Path) -> None:
    prepare(place)


def test_a_file_is_made_for_its_user_alone(tmp_path: Path) -> None:
    """A new file has mode 0600 and is not handed to programs that are started."""
    fd = open_private(tmp_path / "file", os.O_RDWR | os.O_CREAT)

    assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o600
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_a_planted_link_is_no_file(tmp_path: Path) -> None:
    """A symbolic link is refused, whether or not there is anything behind it."""
    (tmp_path / "link").symlink_to(tmp_path / "target")

    with pytest.raises(OSError, match="symbolic links"):
        open_private(tmp_path / "link", os.O_RDWR | os.O_CREAT)

    assert not (tmp_path / "target").exists()


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    """A FIFO is refused at once: nobody waits for its other end."""
    os.mkfifo(tmp_path / "pipe")
    before = set(Path("/proc/self/fd").iterdir())

    for flags in (os.O_RDONLY, os.O_RDWR):
        with pytest.raises(LedgerError, match="is not a regular file"):
            open_private(tmp_path / "pipe", flags)

    # Of those that other tests left open, one may be closed meanwhile.
    assert set(Path("/proc/self/fd").iterdir()) <= before


def test_another_users_file_is_refused(tmp_path: Path) -> None:
    """A file that is somebody else's is refused, also by root."""
    (tmp_path / "file").touch()
    os.chown(tmp_path / "file", NOBODY, NOBODY)

    with pytest.raises(LedgerError, match=f"is not a regular file of user {os.geteuid()}"):
        open_private(tmp_path / "file", os.O_RDWR)
