"""`otelmon collect`, run as a command: what it writes, keeps, removes and refuses."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import brotli
import pytest

from otelmon.errors import OtelmonError
from otelmon.hardening import collect as module
from otelmon.hardening import manifest
from otelmon.hardening.collect import collect
from tests.tmpfs import PAGE, mounted
from tests.waiting import until


CSS = "a { color: red }\n" * 100


@pytest.fixture(name="source")
def _source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    source.mkdir()
    return source


def run(*arguments: str | Path, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Run `otelmon collect`; return its status and what it said on both streams."""
    command = [sys.executable, "-m", "otelmon", "collect", *map(str, arguments)]
    done = subprocess.run(
        command,
        env={**os.environ, **(env or {})},  # noqa: TID251 - a child needs its PATH
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def files(root: Path) -> dict[str, tuple[bytes, int]]:
    """Return content and time of everything below *root*."""
    found = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in found
    }


def listed(root: Path) -> Any:  # noqa: ANN401 - JSON
    """Return the list."""
    return json.loads((root / "manifest.json").read_bytes())


def name_of(content: str | bytes, stem: str, end: str) -> str:
    """Return the hashed name of a file with this content."""
    content = content.encode() if isinstance(content, str) else content
    return f"{stem}.{hashlib.sha256(content).hexdigest()[:12]}{end}"


def test_files_are_there_under_both_names_and_listed(source: Path, tmp_path: Path) -> None:
    """Each file is there as it was and under the hash of its content, with its time, and compressed."""
    (source / "deep").mkdir()
    (source / "deep" / "jquery.min.js").write_text(CSS)
    (source / "LICENSE").write_text("short")
    (source / "a.png").write_bytes(b"png" * 1000)
    os.utime(source / "LICENSE", ns=(10**18, 10**18))
    root = tmp_path / "deep" / "root"

    status, said, errors = run(source, env={"STATIC_ROOT": str(root)})

    hashed = name_of(CSS, "deep/jquery.min", ".js")
    assert (status, errors) == (0, "")
    assert said == f"3 files in {root}: 11 written, 0 removed.\n"
    found = files(root)
    assert {*found} == {
        *("deep/jquery.min.js", hashed),
        *(f"{name}{end}" for name in ("deep/jquery.min.js", hashed) for end in (".gz", ".br")),
        *("LICENSE", name_of("short", "LICENSE", "")),
        *("a.png", name_of(b"png" * 1000, "a", ".png"), "manifest.json"),
    }
    assert gzip.decompress(found[f"{hashed}.gz"][0]).decode() == CSS
    assert brotli.decompress(found[f"{hashed}.br"][0]).decode() == CSS
    assert found["LICENSE"] == (b"short", 10**18) == found[name_of("short", "LICENSE", "")]
    assert listed(root)["files"]["deep/jquery.min.js"] == hashed
    assert (root / "LICENSE").stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_second_run_changes_nothing(source: Path, tmp_path: Path) -> None:
    """Without a change no file is written again, the list included."""
    (source / "a.css").write_text(CSS)
    root = tmp_path / "root"
    run(source, "--root", root)
    before = {name: (root / name).stat() for name in files(root)}

    status, said, _ = run(source, "--root", root)

    assert (status, said) == (0, f"1 files in {root}: 0 written, 0 removed.\n")
    assert {name: (root / name).stat().st_ino for name in files(root)} == {
        name: each.st_ino for name, each in before.items()
    }


def test_references_lead_to_the_hashed_names(source: Path, tmp_path: Path) -> None:
    """url(), @import and source maps of what is collected are rewritten, and nothing else is."""
    for name in ("css", "img"):
        (source / name).mkdir()
    (source / "img" / "a b.png").write_bytes(b"png")
    (source / "img" / "x.svg").write_text("<svg/>")
    (source / "css" / "base.css").write_text("b { background: url( '../img/x.svg#icon' ) }")
    (source / "app.js.map").write_text("{}")
    (source / "app.js").write_text("run()\n//# sourceMappingURL=app.js.map\n")
    (source / "dos.js").write_bytes(b"run()\r\n//# sourceMappingURL=app.js.map\r\n")
    png, svg = name_of(b"png", "a%20b", ".png"), name_of("<svg/>", "x", ".svg")
    base = f"b {{ background: url( '../img/{svg}#icon' ) }}"
    kept = (
        "/* url(../img/x.svg) */ q::before { content: 'url(../img/x.svg)' }\n"
        "i { a: url(data:image/png;base64,AA==); b: url(//cdn/x.svg); c: url(https://cdn/x.svg);\n"
        "d: url(#x); e: url(/elsewhere/x.svg); f: url(); g: curl(../img/x.svg) }\r\n"
    )
    changed = (
        '@import "base.css" screen; @IMPORT url(base.css);\n@import"base.css";'
        'u {{ a: url("../img/a%20b.png?v=1"); b: URL(/static/img/x.svg) }}\n'
        "/*# sourceMappingURL=../app.js.map */"
    )
    (source / "css" / "app.css").write_text(kept + changed.format(), newline="")

    done = collect([source], tmp_path / "root")

    to = listed(tmp_path / "root")["files"]
    base_name = name_of(base, "base", ".css")
    assert to["css/base.css"] == f"css/{base_name}"
    wanted = (
        f'@import "{base_name}" screen; @IMPORT url({base_name});\n@import"{base_name}";'
        f'u {{ a: url("../img/{png}?v=1"); b: URL(/static/img/{svg}) }}\n'
        f"/*# sourceMappingURL=../{to['app.js.map']} */"
    )
    got = (tmp_path / "root" / to["css/app.css"]).read_bytes().decode()
    assert got == kept + wanted
    assert (tmp_path / "root" / "css" / "app.css").read_bytes().decode() == kept + changed.format()
    script = f"run()\n//# sourceMappingURL={to['app.js.map']}\n".encode()
    assert (tmp_path / "root" / to["app.js"]).read_bytes() == script
    assert (tmp_path / "root" / to["dos.js"]).read_bytes() == script.replace(b"\n", b"\r\n")
    assert done.notes == ()


def test_a_change_below_changes_the_names_above(source: Path, tmp_path: Path) -> None:
    """A stylesheet gets another name when what it refers to does, over several steps."""
    (source / "a.css").write_text("@import 'b.css';")
    (source / "b.css").write_text("b { c: url(c.png) }")
    (source / "c.png").write_bytes(b"1")
    collect([source], tmp_path / "root")
    before = listed(tmp_path / "root")["files"]
    (source / "c.png").write_bytes(b"2")
    collect([source], tmp_path / "root")
    after = listed(tmp_path / "root")["files"]
    assert all(before[name] != after[name] for name in ("a.css", "b.css", "c.png"))


def test_what_refers_to_itself_or_to_nothing_is_collected(source: Path, tmp_path: Path) -> None:
    """Circles end, files that are no text stay as they are, and what is missing is said."""
    (source / "a.css").write_text("@import 'b.css';")
    (source / "b.css").write_text("@import 'a.css'; @import 'b.css'; @import '../../etc/passwd';")
    (source / "latin.css").write_bytes(b"a { content: '\xe9'; b: url(a.css) }")

    status, _, errors = run(source, "--root", tmp_path / "root")

    assert status == 0
    assert errors == "otelmon: b.css refers to ../../etc/passwd, which is in no source.\n"
    to = listed(tmp_path / "root")["files"]
    assert (tmp_path / "root" / to["a.css"]).read_text() == f"@import '{to['b.css']}';"
    assert b"\xe9" in (tmp_path / "root" / to["latin.css"]).read_bytes()


def test_the_files_of_some_earlier_runs_stay(source: Path, tmp_path: Path) -> None:
    """The files of --keep earlier runs stay; older ones go, and with --prune all; others' never."""
    root = tmp_path / "root"
    names = []
    for number in range(5):
        (source / "a.css").write_text(f"{number}{CSS}")
        names.append(name_of(f"{number}{CSS}", "a", ".css"))
        collect([source], root, keep=2)
        (root / "own.txt").write_text("not collected")
    (source / "b.css").write_text("b")

    def there() -> set[str]:
        return {name for name in names if (root / name).exists() or (root / f"{name}.gz").exists()}

    assert there() == {*names[2:]}
    (source / "a.css").unlink()
    assert run(source, "--root", root, "--prune")[1].endswith(": 3 written, 4 removed.\n")
    assert there() == set()
    assert {*files(root)} == {"b.css", name_of("b", "b", ".css"), "own.txt", "manifest.json"}


def test_a_server_never_sees_half_a_run(source: Path, tmp_path: Path) -> None:
    """At every moment all names of the list are there, with the content that they promise."""
    root, over = tmp_path / "root", threading.Event()
    for number in range(20):
        (source / f"{number}.txt").write_text("0")
    collect([source], root)
    seen: list[str] = []

    def look() -> None:
        while not over.is_set():
            names = manifest.read(root)
            assert names is not None
            for to in names.files.values():
                assert hashlib.sha256((root / to).read_bytes()).hexdigest()[:12] in to
            seen.append(names.files["0.txt"])

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        try:
            for run_ in range(1, 9):
                for number in range(20):
                    (source / f"{number}.txt").write_text(f"{run_} {number}" * 99)
                looks = len(seen)
                collect([source], root)
                # Who reads a list for longer than some runs take finds its files gone, as is meant.
                assert until(lambda: looking.done() or len(seen) > looks)  # noqa: B023
        finally:
            over.set()
        looking.result()
    assert len(set(seen)) > 1


def test_a_list_removes_nothing_outside(source: Path, tmp_path: Path) -> None:
    """A list with names that lead out of the root, or that nobody lists so, removes nothing there."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "precious.txt").write_text("a")
    (root / ".env").write_text("a")
    (root / "link").symlink_to(tmp_path)
    names = ("../precious.txt", str(tmp_path / "precious.txt"), ".env", "link/precious.txt", "")
    before = [{name: name for name in names}]
    (root / "manifest.json").write_text(json.dumps({"otelmon": 1, "files": {}, "before": before}))
    (source / "a.css").write_text("a")

    collect([source], root, keep=0)

    assert (tmp_path / "precious.txt").exists()
    assert (root / ".env").exists()


def test_hidden_files_and_links_out_are_left_out(source: Path, tmp_path: Path) -> None:
    """Dotfiles, links out of the source and old variants of a file are not collected."""
    (tmp_path / "secret").write_text("secret")
    (source / ".env").write_text("secret")
    (source / ".git").mkdir()
    (source / ".git" / "config").write_text("secret")
    (source / "link").symlink_to(tmp_path / "secret")
    (source / "a.txt").write_text("a")
    (source / "a.txt.gz").write_text("old")
    (source / "b.txt").symlink_to("a.txt")
    collect([source], tmp_path / "root")
    assert {*listed(tmp_path / "root")["files"]} == {"a.txt", "b.txt"}
    assert not (tmp_path / "root" / "b.txt").is_symlink()
    assert "a.txt.gz" not in files(tmp_path / "root")


def test_brotli_is_used_where_it_is(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the package brotli there is gzip alone."""
    monkeypatch.setattr(module, "brotli_installed", False)
    (source / "a.css").write_text(CSS)
    collect([source], tmp_path / "root")
    assert {Path(name).suffix for name in files(tmp_path / "root")} == {".css", ".gz", ".json"}


def test_the_first_source_goes_before(source: Path, tmp_path: Path) -> None:
    """Of two files of one name that of the first source is collected."""
    other = tmp_path / "other"
    other.mkdir()
    for place, content in ((source, "first"), (other, "second")):
        (place / "a.txt").write_text(content)
    (other / "b.txt").write_text("b")
    assert collect([source, other], tmp_path / "root").files == 2
    assert (tmp_path / "root" / "a.txt").read_text() == "first"


def test_what_cannot_be_collected_is_said(source: Path, tmp_path: Path) -> None:
    """One sentence and status 1 where a source or the root cannot be used."""
    root = tmp_path / "root"
    assert re.search("no place to collect to", run(source, env={"STATIC_ROOT": ""})[2])
    (tmp_path / "own.env").write_text("STATIC_ROOT=/proc/nowhere\n")
    (source / "a.txt").write_text("a")
    for arguments, said in (
        ((tmp_path / "nothing", "--root", root), "is no directory"),
        ((tmp_path, "--root", root), "lie in one another"),
        ((source, "--env-file", tmp_path / "own.env"), "'/proc/nowhere'"),
    ):
        status, _, errors = run(*arguments)
        assert (status, errors.count("\n")) == (1, 1)
        assert said in errors
    assert not root.exists()


def test_a_run_that_stops_says_where_and_leaves_nothing_behind(
    source: Path, tmp_path: Path
) -> None:
    """A full disk, and a directory in the way of a file, are said; no temporary file stays."""
    (source / "a.txt").write_bytes(os.urandom(5 * PAGE))
    with mounted(tmp_path / "small", pages=4) as small:
        with pytest.raises(OtelmonError, match=r"^collect stopped: No space left on device\."):
            collect([source], small / "root")
        assert [*files(small / "root")] == []
    (tmp_path / "root" / "a.txt").mkdir(parents=True)
    with pytest.raises(OtelmonError, match=r"^collect stopped at '\S+/root/a\.txt': Is a dir"):
        collect([source], tmp_path / "root")
    assert [*files(tmp_path / "root")] == [name_of((source / "a.txt").read_bytes(), "a", ".txt")]


def test_no_hashed_name_gets_another_content(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that is written to after it was hashed ends the run; the files of the last one stay."""
    (source / "a.txt").write_text("old")
    collect([source], tmp_path / "root")
    before = files(tmp_path / "root")

    def disturbed(file: Any, kind: str) -> Any:  # noqa: ANN401 - as hashlib has it
        digest = hashlib.new(kind, file.read())
        (source / "a.txt").write_text("newer")
        return digest

    monkeypatch.setattr(hashlib, "file_digest", disturbed)
    with pytest.raises(OtelmonError, match="was written to while it was collected"):
        collect([source], tmp_path / "root")
    assert files(tmp_path / "root") == before


def test_a_directory_that_may_not_be_read_is_said(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends the run as a file does that may not be read, before anything is written."""
    (source / "deep").mkdir()
    (source / "a.txt").write_text("a")
    scandir = os.scandir

    def forbidding(path: str) -> Any:  # noqa: ANN401 - as os has it; root may read everything
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidding)
    with pytest.raises(OtelmonError, match=r"/source/deep' may not be read"):
        collect([source], tmp_path / "root")
    assert files(tmp_path / "root") == {}


def test_a_list_that_is_another_is_neither_lost_nor_made(source: Path, tmp_path: Path) -> None:
    """A manifest.json of a web application is an error, in a source and in the root."""
    root = tmp_path / "root"
    (source / "manifest.json").write_text("{}")
    with pytest.raises(OtelmonError, match=r"manifest\.webmanifest"):
        collect([source], root)
    (source / "manifest.json").rename(source / "a.txt")
    root.mkdir()
    (root / "manifest.json").write_text('{"name": "an app"}')
    with pytest.raises(OtelmonError, match="no list of an earlier run"):
        collect([source], root)
    assert (root / "manifest.json").read_text() == '{"name": "an app"}'


def test_nothing_is_written_elsewhere(source: Path, tmp_path: Path) -> None:
    """A root that is a file, or a directory of it that is a link out, is an error."""
    root = tmp_path / "root"
    root.write_text("in the way")
    (source / "deep").mkdir()
    (source / "deep" / "a.txt").write_text("a")
    with pytest.raises(OtelmonError, match="collect stopped at"):
        collect([source], root)
    root.unlink()
    root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (root / "deep").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OtelmonError, match="leads out of the root"):
        collect([source], root)
    assert not [*(tmp_path / "elsewhere").iterdir()]
    assert not (root / "manifest.json").exists()
