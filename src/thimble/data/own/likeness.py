"""Find pairs of images that look the same, by a perceptual hash, and verify them by their pixels.

The perceptual hash is that of C. Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010):
of the 8x8 lowest frequencies of the grey image at 32x32 pixels, whether each is above their median. Images whose hashes
differ in at most three of the 64 bits agree in one of four groups of 16 bits, which finds them without comparing all
with all. Equal images are found by a cryptographic hash of their pixels, and only the first of them is compared.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

Hashes = np.ndarray[Any, np.dtype[np.uint64]]
Pairs = np.ndarray[Any, np.dtype[np.int64]]
Values = np.ndarray[Any, np.dtype[np.float32]]

_SIDE, _FREQUENCIES, _BITS = 32, 8, 64
_CHUNK_VALUES = 2**23
"""How many values of pixels are worked on at once: 32 MiB as floats."""
_MOST_BITS = 3
"""Hashes of images that look the same differ in at most so many bits; the four groups of bits find no more."""

_NUM_NEIGHBOURS = 32
"""With how many others of its group of bits, in the order of the hashes, an image is compared: bounds the work where
thousands of images have the same bits, such as drawings on white."""

LEAST_CORRELATION = 0.99
"""Images look the same if the correlation of their pixels is at least this. docs/log.md has what was measured."""

_LEAST_CONTRAST = 2.0
"""Standard deviation of the pixels, in grey levels, below which an image is blank: it looks like no other."""


def look_alikes(images: Tensor, *, least_correlation: float = LEAST_CORRELATION) -> Pairs:
    """Find the pairs of images that look the same; in bounded memory, however many images there are.

    Args:
        images: uint8 (N, channels, height, width).
        least_correlation: of the pixels of two images that look the same, 0..1.

    Returns:
        int64 (number of pairs, 3): the two images, the smaller index first, and 1 if all of their pixels are equal,
        else 0. Of more than two such images, only some pairs are there, which connect them.
    """
    digests, hashes = [np.empty((0, 2), np.uint64)], [np.empty(0, np.uint64)]
    for chunk in _chunks(images):  # one reading for both: the file may be larger than the memory
        digests.append(_digests(chunk))
        hashes.append(perceptual_hashes(chunk))
    _, first, kind = np.unique(np.concatenate(digests), axis=0, return_index=True, return_inverse=True)
    first_equal = first[kind.reshape(-1)]
    copies = np.flatnonzero(first_equal != np.arange(len(images)))
    rows = np.sort(first)
    similar, group = [np.empty((0, 2), np.int64)], np.arange(len(images))
    for candidates in _candidates(np.concatenate(hashes)[rows]):
        chosen = rows[candidates]
        chosen = chosen[
            group[chosen[:, 0]] != group[chosen[:, 1]]
        ]  # the frames of a film are not compared all with all
        similar.append(verified(images, chosen, least_correlation))
        group = _joined(group, similar[-1])
    equal = np.stack([first_equal[copies], copies], 1)
    pairs = np.concatenate([np.insert(np.concatenate(similar), 2, 0, axis=1), np.insert(equal, 2, 1, axis=1)]).astype(
        np.int64
    )
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def perceptual_hashes(images: Tensor) -> Hashes:
    """The hash of each image, uint64 (N,)."""
    basis = _cosines()
    parts = [np.empty(0, np.uint64)]
    for chunk in _chunks(images):
        grey = _thumbnails(chunk).mean(1)
        frequencies = (basis @ grey @ basis.T).reshape(len(grey), _BITS)
        bits = frequencies > np.median(frequencies, 1, keepdims=True)
        parts.append(np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64))
    return np.concatenate(parts)


def verified(images: Tensor, pairs: Pairs, least_correlation: float = LEAST_CORRELATION) -> Pairs:
    """Keep the pairs of images whose pixels correlate enough, at 32x32 pixels, all channels together."""
    kept, length = [], _chunk_length(images)
    for start in range(0, len(pairs), length):
        chosen = pairs[start : start + length]
        one, other = (_standardized(images, chosen[:, column]) for column in (0, 1))
        kept.append(chosen[(one * other).sum(1) >= least_correlation])
    return np.concatenate([*kept, np.empty((0, 2), np.int64)])


def _chunk_length(images: Tensor) -> int:
    return max(1, _CHUNK_VALUES // max(1, images[:1].numel()))


def _chunks(images: Tensor) -> Iterator[Tensor]:
    length = _chunk_length(images)
    return (images[start : start + length] for start in range(0, len(images), length))


def _digests(images: Tensor) -> Hashes:
    """The first 128 bits of the BLAKE2b hash of each image's pixels, uint64 (N, 2)."""
    pixels = images.reshape(len(images), -1).numpy()
    found = b"".join(hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in pixels)
    return np.frombuffer(found, np.uint64).reshape(-1, 2)


def _joined(group: Pairs, pairs: Pairs) -> Pairs:
    """The number of each image's group, int64 (N,), after these pairs have joined theirs."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not len(pairs):
        return group
    ends = group[pairs]
    graph = coo_matrix((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), (len(group), len(group)))
    _, component = connected_components(graph, directed=False)
    joined: Pairs = component[group].astype(np.int64)
    return joined


def _standardized(images: Tensor, rows: Pairs) -> Values:
    """Thumbnails of some rows with mean 0 and length 1, so that products are correlations; zeros for blank ones."""
    import torch

    pixels = _thumbnails(images[torch.from_numpy(rows)]).reshape(len(rows), -1)
    pixels = pixels - pixels.mean(1, keepdims=True)
    lengths = np.sqrt((pixels**2).sum(1, keepdims=True))
    blank = lengths < _LEAST_CONTRAST * math.sqrt(pixels.shape[1])
    result: Values = np.where(blank, 0, pixels / np.maximum(lengths, 1e-9))
    return result


def _thumbnails(images: Tensor) -> Values:
    """Images as float32 (N, channels, 32, 32), 0..255."""
    import torch.nn.functional as F

    small = F.interpolate(images.float(), (_SIDE, _SIDE), mode="area")
    result: Values = small.numpy()
    return result


def _cosines() -> Values:
    """The first rows of the discrete cosine transform, float32 (8, 32)."""
    place, frequency = np.arange(_SIDE), np.arange(_FREQUENCIES)[:, None]
    basis: Values = np.cos(math.pi / _SIDE * (place + 0.5) * frequency).astype(np.float32)
    return basis


def _candidates(hashes: Hashes) -> Iterator[Pairs]:
    """Pairs whose hashes differ in few bits, in pieces; some more than once."""
    width = _BITS // (_MOST_BITS + 1)
    for band in range(_MOST_BITS + 1):
        bits = (hashes >> np.uint64(band * width)) & np.uint64((1 << width) - 1)
        order = np.lexsort((hashes, bits))
        for distance in range(1, min(_NUM_NEIGHBOURS, len(order) - 1) + 1):
            one, other = order[:-distance], order[distance:]
            near = bits[one] == bits[other]
            if not near.any():
                break
            one, other = one[near], other[near]
            near = _num_bits(hashes[one] ^ hashes[other]) <= _MOST_BITS
            yield np.sort(np.stack([one[near], other[near]], 1), 1).astype(np.int64)


def _num_bits(values: Hashes) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The number of bits of each value that are 1."""
    octets = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)
    count: np.ndarray[Any, np.dtype[np.int64]] = np.unpackbits(octets, axis=1).sum(1, dtype=np.int64)
    return count
