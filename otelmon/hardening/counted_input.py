"""A request's body that hands out no more bytes than it may, whatever length was declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otelmon.errors import OtelmonError


if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed.wsgi import InputStream


class BodyTooLargeError(OtelmonError):
    """The request's body has more bytes than it may have; `BodyLimit` answers 413."""


class CountedInput:
    """`wsgi.input` with a limit: all that PEP 3333 lets an application call, and nothing else.

    Where the length was declared, the body ends there, also under a server that would read on.
    Else one byte more than the limit is asked for, never two, so a body that is exactly as long passes,
    also where the application reads until nothing comes. That byte reaches nobody: what it came
    with is dropped. Nothing is kept here; what the application does not ask for is not read.
    """

    __slots__ = ("_input", "_left", "_more", "error")

    def __init__(self, stream: InputStream, limit: int, *, ends: bool = False) -> None:
        """Let *limit* bytes of *stream* pass; *ends* says that there are no more."""
        self._input = stream
        self._left = limit
        self._more = 0 if ends else 1
        self.error: BodyTooLargeError | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to *size* bytes; all that are left for None or a negative *size*.

        Raises:
            BodyTooLargeError: more came than may; from then on at every call.
        """
        if size is None or size < 0:
            return self._rest()
        asked = self._asked(size)
        return self._counted(self._input.read(asked)) if asked else b""

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return a line, or *size* bytes of it; raises as `read` does."""
        asked = self._asked(self._left + 1 if size is None or size < 0 else size)
        return self._counted(self._input.readline(asked)) if asked else b""

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        """Return the lines that are left, or enough of them for *hint* bytes; raises as above."""
        lines: list[bytes] = []
        enough = hint if hint is not None and hint > 0 else None
        read = 0
        while line := self.readline():
            lines.append(line)
            read += len(line)
            if enough is not None and read >= enough:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        """Begin to read lines."""
        return self

    def __next__(self) -> bytes:
        """Return the next line; raises as `read` does."""
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def _rest(self) -> bytes:
        pieces = []
        # More than once: only nothing is the end, whatever was asked for.
        while piece := self.read(self._left + 1):
            pieces.append(piece)
        return b"".join(pieces)

    def _asked(self, size: int) -> int:
        """Return what to ask the server for; nothing more once there was too much."""
        if self.error is not None:
            raise self.error
        return min(size, self._left + self._more)

    def _counted(self, piece: bytes) -> bytes:
        self._left -= len(piece)
        if self._left < 0:
            self.error = BodyTooLargeError(
                "The request's body is longer than it may be; MAX_CONTENT_LENGTH and the limits "
                "given to BodyLimit say how long."
            )
            raise self.error
        return piece
