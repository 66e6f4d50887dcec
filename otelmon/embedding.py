"""What servers that hold Python inside them tell of themselves, by a module of their own.

Of most servers the listening sockets say enough. uWSGI and Apache's mod_wsgi are programs in C:
they may run no threads of Python's, or several interpreters in one process.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from typing import Any, Final


# The first uWSGI that runs Python's threads without being asked to.
_THREADED_UWSGI: Final = (2, 0, 27)


def runs_threads() -> bool:
    """Tell whether threads go on between requests; uWSGI may stop them all."""
    uwsgi: Any = sys.modules.get("uwsgi")
    options = getattr(uwsgi, "opt", None)
    if options is None or tuple(uwsgi.version_info[:3]) >= _THREADED_UWSGI:
        return True
    return "enable-threads" in options or "threads" in options


def daemon_group() -> str | None:
    """Return the name of the mod_wsgi daemons that this process is one of; None if it is none.

    Apache gives them a new socket at every reload, so that only their name and their parent last.
    """
    return getattr(sys.modules.get("mod_wsgi"), "process_group", None) or None


def interpreter() -> str:
    """Return what tells this interpreter from others in the process; empty for the first.

    An application in an interpreter of its own has its own copy of otelmon, which cannot share a
    slot with another's. uWSGI numbers them alike in all of its processes, mod_wsgi names them.
    """
    group = getattr(sys.modules.get("mod_wsgi"), "application_group", None)
    if group is not None:
        return hashlib.sha256(group.encode()).hexdigest()[:8] if group else ""
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            current = importlib.import_module(name).get_current()
        except ImportError:
            continue
        number = int(current[0] if isinstance(current, tuple) else current)
        return str(number) if number else ""
    return ""
