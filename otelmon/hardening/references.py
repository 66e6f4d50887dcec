"""What stylesheets and scripts say of other files: each reference, and where it stands."""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote


if TYPE_CHECKING:
    from collections.abc import Callable


# In the order in which they are tried: what stands in a comment or a string is no reference.
_CSS: Final = re.compile(
    r"""/\*[#@]\s*sourceMappingURL=(?P<map>[^\s*]+)\s*\*/
      | /\*.*?\*/
      | @import\s*(?:"(?P<double>[^"\n]*)"|'(?P<single>[^'\n]*)')
      | \burl\(\s*(?:"(?P<quoted>[^"\n]*)"|'(?P<ticked>[^'\n]*)'|(?P<bare>[^\s"'()]*))\s*\)
      | "(?:[^"\\\n]|\\.)*"
      | '(?:[^'\\\n]|\\.)*'
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_SCRIPT: Final = re.compile(r"^//[#@][ \t]*sourceMappingURL=(?P<map>\S+)[ \t\r]*$", re.MULTILINE)
_BY_END: Final = {".css": _CSS, ".js": _SCRIPT, ".mjs": _SCRIPT}
# With a scheme or a host, or a place in the very file.
_ELSEWHERE: Final = re.compile(r"[a-z][a-z0-9+.-]*:|//|\#|\Z", re.IGNORECASE)


def refers(name: str) -> bool:
    """Tell whether a file of this name may refer to others."""
    return posixpath.splitext(name)[1].lower() in _BY_END


def rewritten(
    name: str, content: bytes, *, prefix: str, hashed: Callable[[str], str | None]
) -> bytes:
    """Return the file *name* with its references led to the names that *hashed* returns.

    *hashed* gets a path below the root, and returns another in the same directory, or None to leave
    the reference as it is. So is whatever leads elsewhere, or stands in a file that is not UTF-8.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return content

    def replace(match: re.Match[str]) -> str:
        for group, reference in match.groupdict().items():
            if reference is not None:
                at, to = (each - match.start() for each in match.span(group))
                said = _led(name, reference, prefix, hashed)
                return f"{match[0][:at]}{said}{match[0][to:]}"
        return match[0]

    return _BY_END[posixpath.splitext(name)[1].lower()].sub(replace, text).encode()


def _led(name: str, reference: str, prefix: str, hashed: Callable[[str], str | None]) -> str:
    if _ELSEWHERE.match(reference):
        return reference
    end = min(reference.find(mark) % (len(reference) + 1) for mark in "?#")
    path, rest = reference[:end], reference[end:]
    if not path.startswith("/"):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(path)))
    elif path.startswith(prefix):
        target = unquote(path[len(prefix) :])
    else:
        return reference
    to = hashed(target)
    if to is None:
        return reference
    directory, slash, _ = path.rpartition("/")
    return f"{directory}{slash}{quote(posixpath.basename(to))}{rest}"
