"""Finding the groups of a process, and what their files and those of pressure say."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelmon.instruments import cgroup
from otelmon.instruments.cgroup import UNIFIED, Cgroups
from otelmon.instruments.pressure import Pressure, shares
from otelmon.instruments.processes import Processes
from tests.cgroups import PRESSURE, mounted, plant
from tests.test_instruments import Bench, Reports, World


if TYPE_CHECKING:
    from pathlib import Path


def membership(member: str, *mounts: tuple[str, str, str]) -> dict[str, str]:
    """Return what `/proc` says of a process in one group."""
    return {"proc/self/cgroup": member, "proc/self/mountinfo": mounted(*mounts)}


@pytest.mark.parametrize(
    ("member", "root", "directory"),
    [
        ("/a/b", "/", "a/b"),
        ("/docker/1", "/docker/1", "."),
        ("/docker/1/inner", "/docker/1", "inner"),
        ("/", "/docker/1", "."),
        ("/docker/10", "/docker/1", "."),
    ],
)
def test_the_root_of_the_mount_is_stripped(
    tmp_path: Path, member: str, root: str, directory: str
) -> None:
    """What is mounted may be a part of the tree; its path on the machine leads nowhere here."""
    plant(tmp_path, membership(f"0::{member}\n", ("/sys/fs/cgroup", root, "")))
    plant(tmp_path, {f"sys/fs/cgroup/{directory}/cgroup.type": "domain\n"})
    group = Cgroups(tmp_path).group("memory")
    assert group is not None
    assert group.version == 2
    assert group.path[0] == tmp_path / "sys/fs/cgroup" / directory
    assert group.path[-1] == tmp_path / "sys/fs/cgroup"


@pytest.mark.parametrize(("member", "root"), [("/../other", "/"), ("/", "/../.."), ("/gone", "/")])
def test_a_group_that_cannot_be_seen_is_none(tmp_path: Path, member: str, root: str) -> None:
    """It lies outside of the namespace, or its directory is not there: no other one is taken."""
    plant(tmp_path, membership(f"0::{member}\n", ("/sys/fs/cgroup", root, "")))
    plant(tmp_path, {"sys/fs/cgroup/cgroup.type": "domain\n", "sys/fs/other/x": ""})
    assert Cgroups(tmp_path).group("memory") is None


@pytest.mark.parametrize("controllers", ["", "cpu,cpuacct"])
def test_the_first_group_of_the_machine_is_no_container(tmp_path: Path, controllers: str) -> None:
    """Everything runs in it, so what it has used says nothing of this process."""
    line = f"1:{controllers}:/\n" if controllers else "0::/\n"
    plant(tmp_path, membership(line, ("/sys/fs/cgroup", "/", controllers)))
    plant(tmp_path, {"sys/fs/cgroup/release_agent": "\n"} if controllers else {})
    plant(tmp_path, {"sys/fs/cgroup/cpu.stat": "usage_usec 5\n"})
    assert Cgroups(tmp_path).group("cpu") is None


def test_a_group_of_a_namespace_may_be_called_as_the_first(tmp_path: Path) -> None:
    """In a container of version 2 the own group is "/", and known by the file it has."""
    plant(tmp_path, membership("0::/\n", ("/sys/fs/cgroup", "/", "")))
    plant(tmp_path, {"sys/fs/cgroup/cgroup.type": "domain\n"})
    assert Cgroups(tmp_path).group("cpu") is not None


def test_version_1_goes_before_version_2_where_it_is_mounted(tmp_path: Path) -> None:
    """A controller that version 1 has, and of which nothing is mounted, is asked of version 2."""
    plant(
        tmp_path,
        membership(
            "2:memory:/a\n1:pids:/a\n0::/a\n",
            ("/sys/fs/cgroup/memory", "/", "memory"),
            ("/sys/fs/cgroup/unified", "/", ""),
        ),
    )
    plant(tmp_path, {"sys/fs/cgroup/memory/a/tasks": "", "sys/fs/cgroup/unified/a/cgroup.type": ""})
    groups = Cgroups(tmp_path)
    found = [groups.group(name) for name in ("memory", "pids", UNIFIED)]
    assert [None if group is None else group.version for group in found] == [1, 2, 2]


def test_numbers_are_whole_and_not_negative() -> None:
    """What is none is refused, whatever else Python would take for a number."""
    assert cgroup.count(" 12\n") == 12
    for said in ("", "-1", "1.5", "1_000", "0x10", "max", "١٢", "9" * 5000):
        with pytest.raises(ValueError, match="A count is expected"):
            cgroup.count(said)


def test_what_the_kernel_does_not_have_is_absent(tmp_path: Path) -> None:
    """No file and no directory are None; a file that may not be read is an error."""
    (tmp_path / "file").write_text("7\n")
    assert cgroup.text(tmp_path / "file") == "7\n"
    assert cgroup.text(tmp_path / "none") is None
    assert cgroup.text(tmp_path / "file" / "below") is None
    with pytest.raises(IsADirectoryError):
        cgroup.text(tmp_path)


class Refusing:
    """A path that is there, and of which the kernel says something else than its words."""

    def __init__(self, number: int) -> None:
        self._number = number

    def read_bytes(self) -> bytes:
        raise OSError(self._number, os.strerror(self._number))


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENODEV, errno.ENOENT])
def test_what_is_switched_off_is_absent(number: int) -> None:
    """As pressure can be, or a group that was removed at this moment."""
    assert cgroup.text(Refusing(number)) is None


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_what_cannot_be_read_is_an_error(number: int) -> None:
    """Something that is there is not taken for absent."""
    with pytest.raises(OSError, match=os.strerror(number)):
        cgroup.text(Refusing(number))


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_rubbish_in_proc_never_raises(cgroups: bytes, mountinfo: bytes) -> None:
    """Whatever the two files hold, there is a group or none."""
    said, where = (words.decode("utf-8", "surrogateescape") for words in (cgroups, mountinfo))
    found = cgroup.memberships(said)
    assert all(path.startswith("/") for path in found.values())
    for mount in cgroup.mounts(where):
        assert isinstance(cgroup.relative("/a", mount.root), str | None)


_WORDS = st.lists(
    st.sampled_from(["0", "::", ":", "/", "/..", " - ", "cgroup", "cgroup2", " ", "\n", "\\000"])
    | st.text(max_size=5),
    max_size=40,
).map("".join)


@given(_WORDS, _WORDS)
def test_words_in_a_wrong_order_never_raise(said: str, where: str) -> None:
    """Lines that are nearly right are as harmless as those that are not."""
    cgroup.memberships(said)
    for mount in cgroup.mounts(where):
        cgroup.relative(said, mount.root)


@given(_WORDS | st.text(max_size=200))
def test_rubbish_in_a_file_is_a_number_or_a_value_error(said: str) -> None:
    """Nothing else comes out of any of the parsers."""
    with suppress(ValueError):
        assert 0 <= cgroup.count(said) < 10**20
    with suppress(ValueError):
        found = cgroup.entry(said, "usage_usec")
        assert found is None or found >= 0
    with suppress(ValueError):
        assert all(0 <= share < 10 for share in shares(said).values())


@given(st.floats(0, 100).map(lambda share: f"{share:.2f}"), st.booleans())
def test_pressure_is_read_as_it_is_written(share: str, full: bool) -> None:
    """The averages of ten seconds, of both lines or of the one that there is."""
    said = PRESSURE.format(some=share, full="0.50")
    found = shares(said if full else said.splitlines(keepends=True)[0])
    expected = {"some": float(share) / 100} | ({"full": 0.005} if full else {})
    assert found == expected


def test_pressure_is_the_hosts_where_no_group_tells_it(tmp_path: Path) -> None:
    """With `/proc/pressure` alone, its figures; without that either, none and no failure."""
    reports = Reports()
    plant(tmp_path, {"proc/pressure/io": PRESSURE.format(some="1.50", full="0.50")})
    observed = Bench(Pressure(reports, root=tmp_path)).collect()
    assert observed == {("system.pressure", "iosome"): 0.015, ("system.pressure", "iofull"): 0.005}
    assert Bench(Pressure(reports, root=tmp_path / "none")).collect() == {}
    assert reports.heard == []


@pytest.mark.parametrize(("namespace", "threads"), [(4026531836, 486), (4026532999, 7)])
def test_threads_are_of_the_namespace(tmp_path: Path, namespace: int, threads: int) -> None:
    """The kernel's word is about the machine; where that is not to be seen, the group's counts."""
    plant(tmp_path, {"loadavg": "0.61 0.48 0.40 3/486 2217\n"})
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to(f"pid:[{namespace}]")
    source = Processes(Reports(), pids=World([1, 2]), proc=tmp_path, of_group=lambda: 7)
    assert Bench(source).collect()["system.thread.count", ""] == threads


def test_threads_of_a_namespace_without_a_count_are_unknown(tmp_path: Path) -> None:
    """The machine's number is not made the container's."""
    plant(tmp_path, {"loadavg": "0.61 0.48 0.40 3/486 2217\n"})
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to("pid:[4026532999]")
    reports = Reports()
    observed = Bench(Processes(reports, pids=World([1, 2]), proc=tmp_path)).collect()
    assert observed == {("system.process.count", ""): 2}
    assert reports.heard == []
