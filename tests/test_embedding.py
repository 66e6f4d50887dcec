"""What uWSGI and mod_wsgi tell of themselves, and what is told where there is neither."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from otelmon import embedding


@pytest.mark.parametrize(
    ("version", "options", "runs"),
    [
        ((2, 0, 26, 0, b""), {}, False),
        ((2, 0, 26, 0, b""), {"master": True, "processes": b"2"}, False),
        ((2, 0, 26, 0, b""), {"enable-threads": True}, True),
        ((2, 0, 21, 0, b""), {"threads": b"2"}, True),
        ((2, 0, 27, 0, b""), {}, True),
        ((2, 1, 0, 0, b""), {}, True),
    ],
)
def test_an_old_uwsgi_runs_threads_if_it_is_asked_to(
    monkeypatch: pytest.MonkeyPatch,
    version: tuple[object, ...],
    options: dict[str, object],
    *,
    runs: bool,
) -> None:
    """Before 2.0.27 it takes one of two options, from then on none."""
    fake = SimpleNamespace(version_info=version, opt=options)
    monkeypatch.setitem(sys.modules, "uwsgi", fake)
    assert embedding.runs_threads() is runs


def test_under_other_servers_threads_run() -> None:
    """Here, and under a server that is written in Python, they do."""
    assert embedding.runs_threads()


def test_a_daemon_of_mod_wsgi_knows_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of Apache itself have none, and outside of Apache there is none."""
    assert embedding.daemon_group() is None
    for group, found in (("shop", "shop"), ("", None)):
        fake = SimpleNamespace(process_group=group)
        monkeypatch.setitem(sys.modules, "mod_wsgi", fake)
        assert embedding.daemon_group() == found


def test_the_first_interpreter_has_no_name() -> None:
    """Where there is one interpreter, nothing is to be told apart."""
    assert embedding.interpreter() == ""


def test_mod_wsgi_names_its_interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two groups are told apart by what can stand in a file's name; the global one is the first."""
    names = []
    for group in ("", "host:80|/shop", "host:80|/blog"):
        fake = SimpleNamespace(application_group=group)
        monkeypatch.setitem(sys.modules, "mod_wsgi", fake)
        names.append(embedding.interpreter())
    assert names[0] == ""
    assert len(set(names)) == 3
    assert all(name.isalnum() for name in names[1:])


def test_without_interpreters_to_ask_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python that does not tell which interpreter runs is taken to have one."""
    for name in ("_interpreters", "_xxsubinterpreters"):
        monkeypatch.setitem(sys.modules, name, None)
    assert embedding.interpreter() == ""


@pytest.mark.parametrize("answer", [3, (3, 2)])
def test_interpreters_are_told_apart_by_their_numbers(
    monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    """Python 3.13 answers with two numbers, of which the first counts."""
    fake = SimpleNamespace(get_current=lambda: answer)
    monkeypatch.setitem(sys.modules, "_interpreters", fake)
    assert embedding.interpreter() == "3"
