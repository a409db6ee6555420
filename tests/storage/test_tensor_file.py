"""Checksums of tensors and metadata: damage is noticed and named, and files from before have none."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from weights_files import refusal

from thimble.errors import UserError
from thimble.models import build_model
from thimble.storage.state import save_state
from thimble.storage.tensor_file import checksum, open_tensors, save_tensors
from thimble.storage.weights import load_weights

TENSORS = {
    "a": torch.arange(6, dtype=torch.float32).view(2, 3),
    "b": torch.tensor(7),
    "c": torch.arange(5, dtype=torch.uint8),
    "d": torch.ones(2, 2, dtype=torch.bfloat16),
    "e": torch.zeros(0, 3),
}


def texts_of(path: Path) -> dict[str, str]:
    with safetensors.safe_open(path, framework="pt") as file:
        texts: dict[str, str] = file.metadata()
    return texts


def with_texts(path: Path, **texts: str | None) -> None:
    """Write a file again, some of the texts of its metadata changed, or left out if None."""
    kept = {name: text for name, text in {**texts_of(path), **texts}.items() if text is not None}
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, kept)


def read(path: Path) -> dict[str, torch.Tensor]:
    with open_tensors(path) as file:
        return {name: file.read(name) for name in file.layouts}


def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "file"
    save_tensors(path, TENSORS, {"x": [1, None, "é"]})
    with open_tensors(path) as file:
        assert file.metadata == {"x": [1, None, "é"]}
        assert {name: str(layout) for name, layout in file.layouts.items()}["d"] == "torch.bfloat16 (2, 2)"
    assert all(torch.equal(tensor, TENSORS[name]) for name, tensor in read(path).items())


def test_the_checksum_is_the_one_that_the_pages_define() -> None:
    content = b"a\ntorch.float32\n2,3\n" + TENSORS["a"].numpy().tobytes()
    assert checksum("a", TENSORS["a"]) == hashlib.sha256(content).hexdigest()[:16]
    assert checksum("b", TENSORS["b"]) == hashlib.sha256(b"b\ntorch.int64\n\n" + b"\7" + bytes(7)).hexdigest()[:16]
    turned = torch.randn(2, 3, 4, 5)
    assert checksum("t", turned) == checksum("t", turned.to(memory_format=torch.channels_last))


def test_every_flipped_bit_of_the_values_is_noticed_and_its_tensor_named(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    for name in ("c1.0.weight", "c1.1.running_mean", "c1.1.num_batches_tracked", "output.1.weight"):
        first, last = header[name]["data_offsets"]
        for place, bit in ((first, 0), ((first + last) // 2, 3), (last - 1, 1)):
            changed = content.copy()
            changed[start + place] ^= 1 << bit
            saved.write_bytes(changed)
            assert f"tensor {name} has checksum " in refusal(saved)


def test_a_digit_of_the_metadata_is_noticed(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes().replace(b"[0.1, 0.2, 0.3]", b"[0.1, 0.2, 0.4]"))
    assert "its metadata has SHA-256 " in refusal(saved)


def test_tensors_that_changed_places_are_noticed(saved: Path) -> None:
    """Each of the two is whole, and of the right shape."""
    tensors = safetensors.torch.load_file(saved)
    one, other = "c1.1.bias", "c1.1.running_mean"
    tensors[one], tensors[other] = tensors[other], tensors[one]
    safetensors.torch.save_file(tensors, saved, texts_of(saved))
    with pytest.raises(UserError, match=rf"tensor {one} has checksum"):
        load_weights(saved)


def test_a_tensor_that_was_taken_out_or_put_in_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    save_tensors(path, TENSORS, {})
    texts = texts_of(path)
    safetensors.torch.save_file({name: TENSORS[name] for name in "abcd"}, path, texts)
    with pytest.raises(UserError, match="lacks the tensor e, which it was saved with"):
        read(path)
    safetensors.torch.save_file({**TENSORS, "f": torch.zeros(1)}, path, texts)
    with pytest.raises(UserError, match=r"tensor f has checksum \w+, expected None"):
        read(path)


def test_a_file_from_before_has_no_checksums_and_loads(saved: Path) -> None:
    expected = load_weights(saved)[0].state_dict()
    with_texts(saved, thimble_sha256=None)
    found, metadata = load_weights(saved)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.state_dict().items())
    assert "thimble_sha256" not in metadata


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"metadata": 3}', '{"metadata": "", "tensors": 3}', "[" * 9999])
def test_checksums_that_are_none(saved: Path, text: str) -> None:
    with_texts(saved, thimble_sha256=text)
    assert "damaged checksums" in refusal(saved)


@pytest.mark.parametrize("tensors", [{}, {"c1.0.weight": None}, {"c1.0.weight": ["x"]}])
def test_checksums_of_other_types(saved: Path, tensors: Any) -> None:
    described = json.loads(texts_of(saved)["thimble_sha256"])["metadata"]
    with_texts(saved, thimble_sha256=json.dumps({"metadata": described, "tensors": tensors}))
    assert "has checksum" in refusal(saved)


def test_checksums_cost_next_to_nothing(tmp_path: Path) -> None:
    """Beside a write to the disk. (Of the state of thimble-150k: about 5 ms.)"""
    tensors = build_model("thimble-150k").state_dict()
    started = time.perf_counter()
    for name, tensor in tensors.items():
        checksum(name, tensor)
    assert time.perf_counter() - started < 0.5
    save_state(tmp_path, tensors, {})
