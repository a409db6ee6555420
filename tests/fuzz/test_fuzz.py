"""What comes from outside, whatever it is: read, or refused in a line. ``make fuzz`` does it for minutes.

Few examples, always the same; and every file that once was a finding (tests/corpus).
"""

from __future__ import annotations

import gzip
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fuzz_forging import forged, mutated
from fuzz_inputs import KINDS, good
from fuzz_readers import outcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CORPUS = sorted(Path(__file__).parent.parent.joinpath("corpus").glob("*/*.gz"))
RESULTS = ("taken", "refused", "failed")

few = settings(derandomize=True, deadline=None, max_examples=8, database=None, suppress_health_check=list(HealthCheck))
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


def read(kind: str, content: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return outcome(kind, content, Path(folder))


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_file_is_taken(kind: str) -> None:
    assert [read(kind, content) for content in good(kind)[:1]] == ["taken"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@few
@given(seed=st.integers(0, 2**32))
def test_a_damaged_or_forged_file_is_read_or_refused(kind: str, seed: int) -> None:
    rng = random.Random(seed)
    content = mutated(rng.choice(good(kind)), rng) if seed % 2 else forged(kind, rng)
    assert read(kind, content) in RESULTS


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["config", "environment"])
@few
@given(data=st.data())
def test_whatever_stands_in_a_json_file(kind: str, data: st.DataObject) -> None:
    values = json.loads(good(kind)[0])
    values[data.draw(st.sampled_from(sorted(values)) | st.text(max_size=5))] = data.draw(anything)
    assert read(kind, json.dumps(values).encode()) in RESULTS


@pytest.mark.slow
@few
@given(data=st.data())
def test_whatever_weights_say_of_their_model(data: st.DataObject) -> None:
    content = good("weights")[1]
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    values: dict[str, Any] = json.loads(header["__metadata__"]["thimble"])
    values[data.draw(st.sampled_from(sorted(values)))] = data.draw(anything)
    header["__metadata__"] = {"thimble": json.dumps(values)}
    packed = json.dumps(header).encode()
    assert read("weights", len(packed).to_bytes(8, "little") + packed + content[start:]) in RESULTS


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_once_was_a_finding(path: Path) -> None:
    assert read(path.parent.name, gzip.decompress(path.read_bytes())) in RESULTS
