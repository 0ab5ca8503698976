"""Strategies of Hypothesis for odd messages to the service: what tools/fuzz_wire.py sends.

Knows no channel and no service: it makes bytes.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Any

from google.protobuf import duration_pb2, timestamp_pb2
from hypothesis import strategies as st

from emu_planner.wire import codec
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire.images import Encoding, ImageConfig, encode_image
from emu_planner.wire.status import RESUME
from tests.fakes import fake_observation

_NUMBERS = st.one_of(st.integers(0, 3), st.sampled_from([2**31, 2**32 - 1]))
_LONG_NUMBERS = st.one_of(_NUMBERS, st.sampled_from([2**63, 2**64 - 1]))
_REALS = st.one_of(st.floats(0, 2), st.floats())
_WORDS = st.one_of(
    st.sampled_from(
        ["", "front", "side", "stack the blocks", "x" * 2001, "a\nforged line", "../../etc/passwd"]
    ),
    st.text(max_size=20),
)
# few, so that conversations meet each other's sessions
_SOUND_IDS = st.one_of(st.sampled_from(["a", "b", "c", "d"]), st.uuids().map(str))
_IDS = st.one_of(_SOUND_IDS, _SOUND_IDS, _WORDS)
_GOOD = codec.observation_to_proto(fake_observation(), ImageConfig(encoding=Encoding.PNG))
_SEEDS = tuple(
    encode_image(frame.rgb, encoding) for frame in fake_observation().frames for encoding in Encoding
)


@dataclass(frozen=True)
class Talk:
    """One conversation: messages as bytes, and how it ends."""

    messages: tuple[bytes, ...]
    ending: str  # "half-close", "cancel" or "hang"


def talks() -> st.SearchStrategy[Talk]:
    """Conversations, most of which begin well enough to get somewhere."""
    sent = _messages().map(_packed)
    # by number: a plain choice of strategies would take each branch equally often
    first = st.integers(0, 9).flatmap(lambda n: _openings() if n < 8 else sent if n == 8 else st.binary())
    later = st.integers(0, 9).flatmap(lambda n: sent if n < 8 else _torn() if n == 8 else st.binary())
    endings = st.sampled_from(["half-close"] * 6 + ["cancel"] * 3 + ["hang"])
    return st.builds(
        lambda head, tail, end: Talk((head, *tail), end),
        first,
        st.lists(later, min_size=1, max_size=6),
        endings,
    )


def pictures() -> st.SearchStrategy[tuple[bytes, Encoding, int, int]]:
    """Data, what it is said to be, and the size that it is said to have."""
    sizes = st.one_of(
        st.just((32, 24)), st.just((32, 24)), st.tuples(st.integers(0, 70_000), st.integers(0, 70_000))
    )
    false = st.sampled_from(list(Encoding))
    return st.builds(
        lambda data, other, lies, size: (data, other if lies else _looks_like(data), *size),
        _picture_bytes(),
        false,
        st.sampled_from([False, False, False, True]),
        sizes,
    )


def requests() -> st.SearchStrategy[bytes]:
    """What GeneratePlan may be sent."""
    sessions, observations = _opening_messages(), st.lists(_observation_messages(), max_size=3)
    whole = st.builds(
        lambda session, several: pb.GeneratePlanRequest(
            session=session, observations=several
        ).SerializeToString(),
        sessions,
        observations,
    )
    return st.one_of(whole, whole, st.binary(max_size=200))


def noise() -> st.SearchStrategy[bytes]:
    """Bytes that are no HTTP/2, or soon none."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    starts = st.sampled_from([b"", b"GET / HTTP/1.1\r\n\r\n", preface, preface[:10], b"\x16\x03\x01"])
    return st.builds(bytes.__add__, starts, st.binary(max_size=100))


def _packed(request: pb.PlanRequest) -> bytes:
    return request.SerializeToString()


def _torn() -> st.SearchStrategy[bytes]:
    """A message that ends too early."""
    return st.builds(
        lambda data, part: data[: int(len(data) * part)], _messages().map(_packed), st.floats(0, 1)
    )


def _openings() -> st.SearchStrategy[bytes]:
    return _opening_messages().map(lambda opening: pb.PlanRequest(open=opening).SerializeToString())


def _opening_messages() -> st.SearchStrategy[pb.OpenSession]:
    plain = st.builds(
        pb.OpenSession,
        session_id=_SOUND_IDS,
        instruction=st.just("stack the blocks"),
        generation=st.sampled_from([pb.GenerationConfig(keyframes=True, seed=n) for n in range(3)]),
        resume=st.sampled_from([None] * 9 + [pb.ResumePoint(last_response_seq=1)]),
        client_capabilities=st.sampled_from([[], [RESUME]]),
    )
    odd = st.builds(
        pb.OpenSession,
        session_id=_IDS,
        instruction=_WORDS,
        cameras=st.lists(_cameras(), max_size=2),
        generation=_generations(),
        client_wire_minor=_NUMBERS,
        client_capabilities=st.lists(st.one_of(st.just(RESUME), _WORDS), max_size=2),
        resume=st.one_of(st.none(), st.none(), _resume_points()),
        model=st.one_of(st.just(""), st.just(""), _WORDS),
        history=st.lists(_pasts(), max_size=6),
    )
    return st.integers(0, 9).flatmap(lambda n: plain if n < 8 else odd)


def _resume_points() -> st.SearchStrategy[pb.ResumePoint]:
    return st.builds(pb.ResumePoint, epoch=_NUMBERS, next_index=_NUMBERS, last_response_seq=_LONG_NUMBERS)


def _cameras() -> st.SearchStrategy[pb.CameraSpec]:
    return st.builds(
        pb.CameraSpec, name=_WORDS, width=_NUMBERS, height=_NUMBERS, k=st.lists(_REALS, max_size=9)
    )


def _generations() -> st.SearchStrategy[pb.GenerationConfig]:
    durations = st.one_of(st.none(), _durations())
    return st.builds(
        pb.GenerationConfig,
        max_subgoals=_NUMBERS,
        keyframes=st.booleans(),
        seed=st.one_of(st.none(), _LONG_NUMBERS),
        temperature=st.one_of(st.none(), _REALS),
        top_k=st.one_of(st.none(), _NUMBERS),
        top_p=st.one_of(st.none(), _REALS),
        guidance_scale=st.one_of(st.none(), _REALS),
        first_subgoal_timeout=durations,
        subgoal_timeout=durations,
    )


def _durations() -> st.SearchStrategy[duration_pb2.Duration]:
    edges = st.sampled_from([-(2**63), -1, 0, 1, 2**31, 2**63 - 1])
    return st.builds(
        duration_pb2.Duration, seconds=edges, nanos=st.sampled_from([-(2**31), -1, 0, 1, 2**31 - 1])
    )


def _timestamps() -> st.SearchStrategy[timestamp_pb2.Timestamp]:
    return _durations().map(lambda one: timestamp_pb2.Timestamp(seconds=one.seconds, nanos=one.nanos))


def _messages() -> st.SearchStrategy[pb.PlanRequest]:
    """Any message but `open`, and sometimes that too."""
    outcomes = st.sampled_from([0, 1, 2, 3, 4, 99])
    step = {"epoch": _NUMBERS, "index": _NUMBERS}
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "observation": _observation_messages(),
        "replan": st.builds(
            pb.Replan,
            base_epoch=_NUMBERS,
            instruction=_WORDS,
            reason=outcomes,
            history=st.lists(_pasts(), max_size=6),
        ),
        "review": st.builds(pb.SubgoalReview, **step, decision=outcomes, instruction=_WORDS),
        "outcome": st.builds(pb.SubgoalOutcome, **step, outcome=outcomes, detail=_WORDS),
        "interrupt": st.builds(pb.Interrupt, epoch=_NUMBERS),
        "ping": st.builds(pb.Ping, id=_LONG_NUMBERS, client_time=_timestamps()),
        "received": st.builds(pb.Received, seq=_LONG_NUMBERS),
        "close": st.just(pb.CloseSession()),
        "open": _opening_messages(),
    }
    assert set(kinds) == {f.name for f in pb.PlanRequest.DESCRIPTOR.fields}, "a message has no strategy"
    made: list[st.SearchStrategy[pb.PlanRequest]] = [
        st.builds(pb.PlanRequest, **{kind: strategy}) for kind, strategy in kinds.items()
    ]
    # what does not end a session comes more often, so that a conversation gets somewhere
    sound = st.sampled_from(
        [
            pb.PlanRequest(observation=_GOOD),
            pb.PlanRequest(observation=_GOOD),
            pb.PlanRequest(replan=pb.Replan()),
            pb.PlanRequest(interrupt=pb.Interrupt()),
            pb.PlanRequest(received=pb.Received()),
        ]
    )
    return st.integers(0, 9).flatmap(lambda n: sound if n < 7 else st.one_of(*made))


def _observation_messages() -> st.SearchStrategy[pb.Observation]:
    odd = st.builds(
        pb.Observation,
        seq=_LONG_NUMBERS,
        capture_time=st.one_of(st.none(), _timestamps()),
        age=st.one_of(st.none(), _durations()),
        frames=st.lists(_frames(), max_size=3),
        proprioception=st.dictionaries(_WORDS, _REALS, max_size=2),
        task_state=_WORDS,
    )
    return st.one_of(st.just(_GOOD), odd)


def _frames() -> st.SearchStrategy[pb.Frame]:
    return st.builds(
        pb.Frame,
        camera=_WORDS,
        encoding=st.sampled_from([0, 1, 1, 2, 2, 3, 4, 99]),
        data=_picture_bytes(),
        width=st.one_of(st.just(32), st.just(32), _NUMBERS),
        height=st.one_of(st.just(24), st.just(24), _NUMBERS),
        capture_time=st.one_of(st.none(), _timestamps()),
    )


def _pasts() -> st.SearchStrategy[pb.PastSubgoal]:
    keyframes = st.builds(
        pb.Keyframe,
        status=st.sampled_from([0, 1, 1, 2, 3, 99]),
        image=_frames(),
        camera=_WORDS,
        sha256=st.sampled_from([b"", b"", b"\0" * 32]),
        views=st.lists(_WORDS, max_size=3),
    )
    return st.builds(
        pb.PastSubgoal,
        index=_NUMBERS,
        instruction=_WORDS,
        keyframe=st.one_of(st.none(), keyframes),
        outcome=st.sampled_from([0, 1, 2, 3, 4, 99]),
        detail=_WORDS,
        confidence=st.one_of(st.none(), _REALS),
    )


def _picture_bytes() -> st.SearchStrategy[bytes]:
    """Good pictures, damaged ones, bombs, and what is none."""
    good = st.sampled_from(_SEEDS)
    cut = st.builds(lambda data, part: data[: int(len(data) * part)], good, st.floats(0, 1))
    bombs = st.builds(_bomb, st.sampled_from([1, 32, 30_000, 2**31 - 1, 2**32 - 1]), st.integers(0, 2**16))
    other = st.sampled_from([b"GIF89a" + b"\0" * 20, b"RIFF\0\0\0\0WEBPVP8 ", b"BM" + b"\0" * 60, b"<svg/>"])
    return st.one_of(
        good, st.builds(_changed, good, st.randoms()), cut, bombs, other, st.binary(max_size=100)
    )


def _looks_like(data: bytes) -> Encoding:
    return Encoding.JPEG if data.startswith(b"\xff\xd8") else Encoding.PNG


def _changed(data: bytes, rng: Any) -> bytes:
    """A few bytes changed; in a PNG also a chunk whose check sum is made right again."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    if rng.random() < 0.5 and data[12:16] == b"IHDR":
        changed[:16] = data[:16]
        changed[29:33] = struct.pack(">I", zlib.crc32(changed[12:29]))
    return bytes(changed)


def _bomb(side: int, extra: int) -> bytes:
    """A small PNG that says that it is huge, and whose rows are one long run."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * extra)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
