"""Which pictures go into a bag: some, and those that are asked for, from a bounded memory."""

import pytest

pytest.importorskip("rosbags", reason="see requirements/export.txt")

from emu_planner.bags.pictures import PictureStream


def picture(number: int) -> bytes:
    return bytes([number]) * 100


def stream_of(count: int, rate_hz: float, most_bytes: int = 10_000) -> tuple[PictureStream, list[bytes]]:
    """Pictures 1, 2, ... at 10 Hz, and those that were written at once."""
    stream = PictureStream(rate_hz, most_bytes)
    given = [stream.put(n / 10, n / 10, picture(n)) for n in range(1, count + 1)]
    return stream, [data for data in given if data is not None]


def test_the_rate_is_kept():
    stream, written = stream_of(20, 2.0)
    assert written == [picture(n) for n in (1, 6, 11, 16)]
    assert stream.skipped == 16


def test_all_are_written_when_no_rate_is_set():
    assert len(stream_of(20, 0.0)[1]) == 20


def test_a_picture_that_was_left_out_is_given_once_when_it_is_wanted():
    stream, _ = stream_of(20, 2.0)
    assert stream.want(1.9) == picture(19)
    assert stream.want(1.9) is None
    assert (stream.skipped, stream.missing) == (15, 0)


def test_one_that_is_in_the_bag_is_not_written_again():
    stream, _ = stream_of(20, 2.0)
    assert stream.want(1.6) is None
    assert stream.missing == 0


def test_one_that_comes_after_it_was_wanted_is_written():
    stream, _ = stream_of(20, 2.0)
    assert stream.want(2.1) is None
    assert stream.missing == 1
    assert stream.put(2.1, 2.1, picture(21)) == picture(21)
    assert stream.missing == 0


def test_memory_is_bounded_and_what_it_forgot_is_counted():
    stream, _ = stream_of(50, 2.0, most_bytes=500)
    assert stream.want(4.9) == picture(49)
    assert stream.want(0.2) is None
    assert stream.missing == 1


def test_pictures_without_a_stamp_are_found_by_their_arrival():
    stream = PictureStream(0.5, 10_000)
    for n in range(1, 6):
        stream.put(0.0, n / 10, picture(n))
    assert stream.want(0.35) == picture(3)


def test_a_clock_that_is_set_back_does_not_stop_the_recording():
    stream, _ = stream_of(20, 2.0)
    assert stream.put(0.1, -1000.0, picture(1)) is not None
