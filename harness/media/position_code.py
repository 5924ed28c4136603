"""Position-coded media for transparent codecs: any 16 bytes of it show their offset.

The endless stream is cut into blocks of 8 bytes; block number n holds the 64-bit value mix(n), an
invertible scrambling, so that a payload looks like noise (a codec or a silence detector finds no
pattern in it), yet its block numbers can be computed back. Only for paths that carry the bytes
unchanged (ulaw to ulaw and the like).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BLOCK_BYTES = 8
DECODABLE_BYTES = 2 * BLOCK_BYTES
"""shortest payload from which an offset can be told"""

_MASK = 2**64 - 1
# splitmix64: the increment keeps block 0 from being all zeros, the multipliers scramble.
_INCREMENT = 0x9E3779B97F4A7C15
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9
_MULTIPLIER_2 = 0x94D049BB133111EB
_INVERSE_1 = pow(_MULTIPLIER_1, -1, 2**64)
_INVERSE_2 = pow(_MULTIPLIER_2, -1, 2**64)
_BLOCKS = 2**64 // BLOCK_BYTES


def encode(offset: int, length: int) -> bytes:
    """The ``length`` bytes of the stream that begin at byte ``offset``.

    Raises ValueError unless 0 <= offset, 0 <= length and the end fits in 64 bits.
    """
    if offset < 0 or length < 0 or offset + length > _MASK:
        raise ValueError(f"offset {offset} and length {length} are not a part of a 64-bit stream")
    first = offset // BLOCK_BYTES
    count = -(-(offset + length) // BLOCK_BYTES) - first
    blocks = np.uint64(first) + np.arange(count, dtype=np.uint64)
    skip = offset % BLOCK_BYTES
    return mix(blocks).astype("<u8").tobytes()[skip : skip + length]


def decode(payload: bytes) -> int | None:
    """At which offset of the stream ``payload`` begins, judged by its first 16 bytes.

    None when it is shorter or not from the stream. (2**61 payloads of noise are needed for one to
    be taken for ours.)
    """
    head = payload[:DECODABLE_BYTES]
    if len(head) < DECODABLE_BYTES:
        return None
    for skip in range(BLOCK_BYTES):
        value = int.from_bytes(head[skip : skip + BLOCK_BYTES], "little")
        block = _unmix(value)
        offset = block * BLOCK_BYTES - skip
        if block < _BLOCKS - 2 and offset >= 0 and encode(offset, len(head)) == head:
            return offset
    return None


def offsets_of(heads: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """`decode` of many payloads at once, whose first 16 bytes are the rows.

    Of payloads that begin with a block, and streams shorter than 2^62 bytes; others are -1.
    """
    values = np.ascontiguousarray(heads).view("<u8").astype(np.uint64)
    blocks = _unmixed(values)
    first = blocks[:, 0]
    ours = (blocks[:, 1] == first + np.uint64(1)) & (first < np.uint64(2**59))
    found: npt.NDArray[np.int64] = np.where(ours, first, np.uint64(0)).astype(np.int64)
    found = np.where(ours, found * BLOCK_BYTES, -1)
    return found


def mix(blocks: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Of each number another one that looks random, and can be computed back."""
    x: npt.NDArray[np.uint64] = blocks + np.uint64(_INCREMENT)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(_MULTIPLIER_1)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(_MULTIPLIER_2)
    x = x ^ (x >> np.uint64(31))
    return x


def _unmix(value: int) -> int:
    x = value ^ (value >> 31) ^ (value >> 62)
    x = x * _INVERSE_2 & _MASK
    x = x ^ (x >> 27) ^ (x >> 54)
    x = x * _INVERSE_1 & _MASK
    x = x ^ (x >> 30) ^ (x >> 60)
    return (x - _INCREMENT) & _MASK


def _unmixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x: npt.NDArray[np.uint64] = values ^ (values >> np.uint64(31)) ^ (values >> np.uint64(62))
    x = x * np.uint64(_INVERSE_2)
    x = x ^ (x >> np.uint64(27)) ^ (x >> np.uint64(54))
    x = x * np.uint64(_INVERSE_1)
    x = x ^ (x >> np.uint64(30)) ^ (x >> np.uint64(60))
    x = x - np.uint64(_INCREMENT)
    return x
