"""The bytes of a ledger: what is encoded is decoded, and damage is seen."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otelmon.errors import LedgerError
from otelmon.ledger import layout
from otelmon.ledger.layout import Header


_WORDS = st.integers(0, 2**64 - 1)
_PAYLOADS = st.lists(st.binary(min_size=1, max_size=300), max_size=20)
_HEADER = layout.encode_header(Header(1, bytes(16), 2))


@given(_WORDS, st.binary(min_size=16, max_size=16), _WORDS)
def test_a_header_is_decoded_as_it_was_encoded(created: int, boot: bytes, network: int) -> None:
    """Time of creation, boot and network namespace come back as they were."""
    header = Header(created, boot, network)

    assert layout.decode_header(layout.encode_header(header) + bytes(99)) == header


@pytest.mark.parametrize("length", range(len(_HEADER)))
def test_a_truncated_header_is_refused(length: int) -> None:
    """A file that ends within the header is refused, and its length is named."""
    with pytest.raises(LedgerError, match=f"ends after {length} bytes"):
        layout.decode_header(_HEADER[:length])


@pytest.mark.parametrize(
    ("at", "message"),
    [
        pytest.param(0, "no ledger of otelmon", id="magic"),
        pytest.param(8, "this otelmon reads", id="version"),
        pytest.param(16, "this otelmon reads", id="layout"),
    ],
)
def test_a_header_of_something_else_is_refused(at: int, message: str) -> None:
    """Another magic, version or layout is refused, and the message says which it is."""
    other = bytearray(_HEADER)
    other[at] ^= 0x10

    with pytest.raises(LedgerError, match=message):
        layout.decode_header(bytes(other))


def test_the_layout_hash_is_the_same_in_every_process() -> None:
    """Workers of one instance agree on the layout although their string hashes differ."""
    told = subprocess.run(
        [sys.executable, "-c", "from otelmon.ledger import layout; print(layout.LAYOUT)"],
        capture_output=True,
        check=True,
    )

    assert int(told.stdout) == layout.LAYOUT


def test_the_parts_of_a_file_do_not_overlap_and_lie_on_pages() -> None:
    """Header, key table, board and slots follow one another, each on a page of its own."""
    starts = [
        0,
        layout.KEYS_AT,
        *(twin.at + number * twin.buffer_bytes for twin in layout.TWINS for number in (0, 1)),
        *(ring.at for ring in layout.RINGS),
        *map(layout.slot_at, range(layout.SLOTS)),
    ]

    assert starts == sorted(set(starts))
    assert all(start % layout.PAGE == 0 for start in starts)
    assert layout.BOARD_AT - layout.KEYS_AT == layout.KEYS_BYTES
    assert layout.BOARD.at == layout.BOARD_AT
    assert layout.slot_at(layout.SLOTS) == layout.FILE_BYTES


def test_every_word_of_the_header_has_one_meaning() -> None:
    """No two of the parts that keep a word there keep the same one, and all lie behind the head."""
    named = {name: word for name, word in vars(layout).items() if name.startswith("HEADER_")}
    del named["HEADER_BOARD"]
    words = [*named.values(), *(each.word for each in (*layout.TWINS, *layout.RINGS))]

    assert len(words) == len(set(words))
    assert all(7 < word < layout.PAGE // layout.WORD for word in words)


def test_every_lane_is_aligned_to_its_width() -> None:
    """Counts and values begin at multiples of 8 bytes, so no lane crosses a cache line."""
    starts = (layout.COUNTS_AT, layout.VALUES_AT, layout.SLOT_BYTES, layout.slot_at(1))

    assert [start % layout.WORD for start in starts] == [0, 0, 0, 0]


@given(_PAYLOADS)
def test_records_are_decoded_as_they_were_encoded(payloads: list[bytes]) -> None:
    """Any payloads come back in order, and every record begins at a word."""
    frames = [layout.encode_record(payload) for payload in payloads]

    assert layout.decode_records(b"".join(frames)) == (payloads, sum(map(len, frames)))
    assert all(len(frame) % layout.WORD == 0 for frame in frames)


@given(_PAYLOADS, st.data())
def test_half_a_record_ends_the_list(payloads: list[bytes], data: st.DataObject) -> None:
    """Cut anywhere, the whole records before the cut are read, and the rest once it is there."""
    whole = b"".join(map(layout.encode_record, payloads))
    cut = data.draw(st.integers(0, len(whole)))

    first, length = layout.decode_records(whole[:cut])
    rest, further = layout.decode_records(whole[length:])

    assert first + rest == payloads
    assert length + further == len(whole)


@given(_PAYLOADS.filter(bool), st.data())
def test_a_damaged_record_ends_the_list(payloads: list[bytes], data: st.DataObject) -> None:
    """A wrong bit hides its record and those behind it, until it is mended."""
    frames = [layout.encode_record(payload) for payload in payloads]
    which = data.draw(st.integers(0, len(frames) - 1))
    at = data.draw(st.integers(0, 8 + len(payloads[which]) - 1))
    damaged = bytearray(frames[which])
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    before = sum(map(len, frames[:which]))

    shown = b"".join([*frames[:which], damaged, *frames[which + 1 :]])

    assert layout.decode_records(shown) == (payloads[:which], before)
    assert layout.decode_records(b"".join(frames)[before:])[0] == payloads[which:]


@given(_PAYLOADS, st.integers(1, 200))
def test_bytes_that_were_not_yet_written_are_no_record(payloads: list[bytes], zeros: int) -> None:
    """Zeros end the list, although the crc32 of nothing is zero."""
    whole = b"".join(map(layout.encode_record, payloads))

    assert layout.decode_records(whole + bytes(zeros)) == (payloads, len(whole))
