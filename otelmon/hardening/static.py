"""`Static`: static files before the application, and `static_url`, which names them."""

from __future__ import annotations

import functools
import importlib.util
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from otelmon.errors import ConfigError
from otelmon.hardening import manifest
from otelmon.hardening.problem import problem, refuse
from otelmon.middleware.routes import set_route
from otelmon.settings.arguments import is_encodable, problems_of
from otelmon.settings.arguments import refuse as refuse_arguments
from otelmon.settings.text import shown
from otelmon.stack import settings_for


if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from otelmon.hardening.static_files import StaticFiles
    from otelmon.settings import Settings


_PHRASES: Final = {
    200: "200 OK",
    206: "206 Partial Content",
    304: "304 Not Modified",
    405: "405 Method Not Allowed",
    412: "412 Precondition Failed",
    416: "416 Range Not Satisfiable",
}
_BLOCK: Final = 65536
_SHOWN: Final = 80


class Static:
    """Serves a directory's files to GET and HEAD below a prefix; *app* gets all other requests.

    *root* is the directory, *prefix* the path before its files; STATIC_ROOT and STATIC_PREFIX
    unless given. Clients keep a file whose name has a hash in it for *max_age* seconds
    (STATIC_MAX_AGE, a year) and do not ask for it again. These names are those that `otelmon
    collect` or Django's ManifestStaticFilesStorage lists, and those that the regular expression
    *hashed* finds, if it is given. Clients keep all other files for an hour.

    Dotfiles and links that lead out of *root* get a 404, also those that are made later. *app* is
    not asked for them: it may serve static files by laxer rules. In the metrics all of this is one
    route, the prefix.

    Raises:
        ConfigError: there is no directory, WhiteNoise is not installed, or a value is none.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        root: str | os.PathLike[str] | None = None,
        prefix: str | None = None,
        max_age: int | None = None,
        hashed: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Wrap *app*, and look at all files."""
        refuse_arguments(problems_of(app, settings))
        own = settings_for(settings).static()
        self.app = app
        self.prefix = own.prefix if prefix is None else prefix
        max_age = own.max_age if max_age is None else max_age
        directory = _directory(root, own.root)
        refuse_arguments(_problems(self.prefix, max_age, hashed))
        # As a server hands paths on.
        self._start = self.prefix.encode().decode("latin-1")
        self._names = Names(directory, self.prefix)
        self._files = _files(self._names.root, self.prefix, max_age, hashed)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer with a file or a refusal, or have the application answer."""
        path = environ.get("PATH_INFO", "")
        if not path.startswith(self._start):
            return self.app(environ, start_response)
        return self._serve(path, environ, start_response)

    def url(self, name: str, environ: WSGIEnvironment | None = None) -> str:
        """Return the path of a file, as `static_url` does."""
        return self._names.url(name, environ)

    def _serve(
        self, path: str, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        from otelmon.hardening.static_file import ChangedError

        url = path.encode("latin-1", "replace").decode("utf-8", "replace")
        file = self._files.at(url)
        for _ in range(2):
            if file is None:
                break
            try:
                answer = file.get_response(environ["REQUEST_METHOD"], environ)
            except ChangedError:
                file = self._files.renewed(url)
                continue
            set_route(environ, self.prefix)
            start_response(_PHRASES[answer.status], [*answer.headers])
            return [] if answer.file is None else _sent(answer.file, environ)
        if not self._files.refuses(path[len(self._start) :]):
            return self.app(environ, start_response)
        set_route(environ, self.prefix)
        return refuse(problem("404 Not Found", "There is no such file."), environ, start_response)


class Names:
    """The URLs of the files of one root."""

    def __init__(self, root: str | None, prefix: str) -> None:
        """Read nothing yet."""
        self.root = root or ""
        self._prefix = prefix
        self._known: manifest.Manifest | None = None

    def url(self, name: str, environ: WSGIEnvironment | None = None) -> str:
        """Return the path of a file; with *environ* below that request's SCRIPT_NAME."""
        name = name.lstrip("/")
        if self._known is None and self.root:
            self._known = manifest.read(Path(self.root))
        if self._known is not None:
            name = self._known.files.get(name, name)
        mount = "" if environ is None else environ.get("SCRIPT_NAME", "")
        return quote(mount.encode("latin-1")) + quote(self._prefix + name)


def static_url(name: str, environ: WSGIEnvironment | None = None) -> str:
    """Return the path of the static file *name*, such as `/static/app.0123456789ab.css`.

    It has the hash that the list in STATIC_ROOT has for it, else none: that still leads to the file.
    The list is read once, so a process names the files that it was started with. With *environ* the
    path is below that request's SCRIPT_NAME.

    Raises:
        ConfigError: STATIC_ROOT or STATIC_PREFIX cannot be used.
    """
    return _default().url(name, environ)


@functools.cache
def _default() -> Names:
    settings = settings_for().static()
    return Names(settings.root, settings.prefix)


def _directory(root: object, setting: str | None) -> str:
    chosen = setting if root is None else root
    if chosen is None:
        raise ConfigError("Static has no directory: set STATIC_ROOT, or give root.")
    chosen = os.fspath(chosen) if isinstance(chosen, os.PathLike) else chosen
    # An empty one would be the working directory, with all that is in it.
    if not isinstance(chosen, str) or not chosen or not is_encodable(chosen):
        raise ConfigError(f"root is {shown(chosen)}: give the path of a directory.")
    # Unlike Path's it does not raise for what cannot be looked at.
    if not os.path.isdir(chosen):  # noqa: PTH112 - see above
        name = "STATIC_ROOT" if root is None else "root"
        raise ConfigError(
            f"{name} is {shown(chosen)}, which is no directory: name one, or make it with "
            f"`otelmon collect SOURCE --root {chosen[:_SHOWN]}`."
        )
    return str(Path(chosen).absolute())


def _problems(prefix: object, max_age: object, hashed: object) -> Iterable[str]:
    is_text = isinstance(prefix, str) and is_encodable(prefix)
    if not is_text or not re.fullmatch(r"/(\S*/)?", str(prefix)):
        yield f"prefix is {shown(prefix)}: give a path like '/static/'."
    if not isinstance(max_age, int) or isinstance(max_age, bool) or max_age < 0:
        yield f"max_age is {shown(max_age)}: give a whole number of seconds from 0 up."
    if hashed is not None:
        yield from _no_pattern(hashed)


def _no_pattern(hashed: object) -> Iterable[str]:
    if not isinstance(hashed, str):
        yield f"hashed is {shown(hashed)}: give a regular expression as text."
        return
    try:
        re.compile(hashed)
    except (re.error, OverflowError, RecursionError) as error:
        yield f"hashed is {shown(hashed)}, which is no regular expression: {error}."


def _files(root: str, prefix: str, max_age: int, hashed: str | None) -> StaticFiles:
    absent = [name for name in ("werkzeug", "whitenoise") if importlib.util.find_spec(name) is None]
    if absent:
        raise ConfigError(
            f"Static needs {', '.join(absent)}, which is not installed: "
            "pip install 'otelmon[hardening]'."
        )
    # Here, because only who serves files is to pay for the import.
    from otelmon.hardening.static_files import StaticFiles

    return StaticFiles(root, prefix, max_age=max_age, hashed=hashed)


def _sent(file: object, environ: WSGIEnvironment) -> Iterable[bytes]:
    from wsgiref.util import FileWrapper

    wrapper = environ.get("wsgi.file_wrapper", FileWrapper)
    return wrapper(file, _BLOCK)  # type: ignore[no-any-return]
