"""Bytes to and from disks, over a world that is made for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from otelmon.instruments.disk_io import DiskIo
from tests.test_instruments import Bench, Reports, World


if TYPE_CHECKING:
    from pathlib import Path


class Blocks(NamedTuple):
    """A device."""

    read_bytes: int
    write_bytes: int


def test_disks_are_added_up_and_what_is_made_of_them_is_not(tmp_path: Path) -> None:
    """Partitions, volumes and loop devices would count the same bytes again."""
    reports = Reports()
    for disk in ("sda", "nvme0n1", "cciss!c0d0"):
        (tmp_path / disk / "device").mkdir(parents=True)
    (tmp_path / "dm-0").mkdir()
    read = World(
        {
            "sda": Blocks(1, 2),
            "sda1": Blocks(1_000, 1_000),
            "nvme0n1": Blocks(10, 20),
            "cciss/c0d0": Blocks(100, 200),
            "dm-0": Blocks(1_000, 1_000),
        }
    )
    bench = Bench(DiskIo(reports, read=read, devices=tmp_path))
    assert bench.collect() == {("system.disk.io", "read"): 111, ("system.disk.io", "write"): 222}
    assert bench.units == {"system.disk.io": "By"}
    assert reports.heard == []


def test_without_a_word_of_what_is_a_disk_all_devices_are(tmp_path: Path) -> None:
    """As on macOS; and where there is no device at all nothing is made up."""
    reports = Reports()
    read, none = World({"disk0": Blocks(1, 2)}), tmp_path / "none"
    assert set(Bench(DiskIo(reports, read=read, devices=none)).collect().values()) == {1, 2}
    assert Bench(DiskIo(reports, read=read, devices=tmp_path)).collect() == {}
    nothing: dict[str, Blocks] = {}
    assert Bench(DiskIo(reports, read=World(nothing), devices=none)).collect() == {}
