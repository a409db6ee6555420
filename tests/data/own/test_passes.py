"""A sample decides how images are fitted; where it was wrong, all are decoded once more, and the result is the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from own_folders import folder_listing, watched
from own_pictures import deep, encoded, photos, soft, write

from thimble.data.image_files import read_image
from thimble.data.own import passes, survey
from thimble.data.own.scan import Scan, scan
from thimble.data.own.settings import ImagesConfig
from thimble.data.pixels import to_input
from thimble.errors import UserError

pytestmark = pytest.mark.usefixtures("own_cache")

AUTO = ImagesConfig()


def counted(root: Path, config: ImagesConfig = AUTO) -> tuple[Scan, Counter[str]]:
    """A scan, and how often it read each file."""
    times: Counter[str] = Counter()
    return scan(watched(root, lambda name: times.update([name])), config), times


def pixels_are_right(found: Scan, root: Path) -> bool:
    expected = [to_input(read_image(root / entry.name, found.fitting), found.fitting) for entry in found.entries]
    return torch.equal(found.images, torch.stack(expected))


def grey_rgb(count: int) -> dict[str, bytes]:
    """Colour files of grey pixels."""
    return {f"a/{n:03}.png": encoded(soft(40, 40, n).convert("L").convert("RGB"), "PNG") for n in range(count)}


def test_a_colour_dataset_is_read_twice_and_decoded_once(tmp_path: Path) -> None:
    root = write(tmp_path / "data", photos(20))
    found, times = counted(root)
    assert found.fitting.channels == 3
    assert sorted(times.values()) == [2] * 19 + [3]  # headers, pixels; and of one image, whether it has colour


def test_settings_leave_nothing_to_look_for(tmp_path: Path) -> None:
    root = write(tmp_path / "data", grey_rgb(20))
    assert counted(root, ImagesConfig(channels=3))[0].fitting.channels == 3
    assert set(counted(root, ImagesConfig(channels=1, image_size=9, fit="crop"))[1].values()) <= {1, 2}


def test_grey_files_are_grey_whatever_their_mode(tmp_path: Path) -> None:
    root = write(tmp_path / "data", grey_rgb(20))
    found, _ = counted(root)
    assert found.fitting.channels == 1
    assert found.reasons["channels"] == "1: all images are grey."
    assert pixels_are_right(found, root)


@pytest.mark.parametrize("place", [0, 77, 139])
def test_one_coloured_image_among_many_is_found(tmp_path: Path, place: int) -> None:
    files = grey_rgb(140)
    files[f"a/{place:03}.png"] = encoded(soft(40, 40), "PNG")
    found, times = counted(write(tmp_path / "data", files))
    assert found.fitting.channels == 3
    assert len(found.entries) == 140
    assert pixels_are_right(found, tmp_path / "data")
    assert max(times.values()) <= 4


def test_what_the_sample_did_not_show_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tenth image is large; the others are small, deep or in colour."""
    monkeypatch.setattr(survey, "NUM_SAMPLED", 5)
    small = {f"a/{n:02}.png": encoded(soft(60, 40, n).convert("L"), "PNG") for n in range(41)}
    small |= {f"a/{n:02}.png": encoded(soft(200, 200, n).convert("L"), "PNG") for n in range(0, 41, 10)}
    small |= {"a/07.png": encoded(deep(60, 40), "PNG"), "a/33.png": encoded(soft(60, 40), "PNG")}
    root = write(tmp_path / "data", small)
    found, _ = counted(root)
    monkeypatch.setattr(survey, "NUM_SAMPLED", 1000)
    monkeypatch.setenv("THIMBLE_CACHE", str(tmp_path / "other"))
    expected, _ = counted(root)
    assert (found.fitting.size, found.fitting.channels, found.fitting.fit) == ((32, 32), 3, "pad")
    assert found.fitting == expected.fitting
    assert found.reasons == expected.reasons
    assert torch.equal(found.images, expected.images)
    assert pixels_are_right(found, root)


def test_a_sample_without_an_image_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "NUM_SAMPLED", 2)
    files = {**photos(11), "a/0.png": b"text", "z/z.png": b"text"}
    found = scan(folder_listing(write(tmp_path / "data", files)), AUTO)
    assert len(found.entries) == 11


def test_truncated_images_decide_nothing(tmp_path: Path) -> None:
    """By their headers they would be large, and in colour."""
    cut = encoded(soft(3000, 100), "PNG")[:300]
    grey = {f"a/{n}.png": encoded(soft(40, 40, n).convert("L"), "PNG") for n in range(5)}
    root = write(tmp_path / "data", {**grey, "a/8.png": cut, "a/9.png": cut})
    found, _ = counted(root)
    assert (found.fitting.size, found.fitting.channels, found.fitting.fit) == ((32, 32), 1, "crop")
    assert list(found.unreadable) == ["a/8.png", "a/9.png"]


def test_a_dataset_that_never_rests_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "_MOST_PASSES", 1)
    files = grey_rgb(140)
    files["a/077.png"] = encoded(soft(40, 40), "PNG")
    with pytest.raises(UserError, match="data keeps changing: expected images that stay as they are"):
        scan(folder_listing(write(tmp_path / "data", files)), AUTO)


def test_a_new_coloured_image_changes_the_channels(tmp_path: Path) -> None:
    root = write(tmp_path / "data", grey_rgb(9))
    assert counted(root)[0].fitting.channels == 1
    write(root, {"a/new.png": encoded(soft(40, 40), "PNG")})
    found, times = counted(root)
    assert found.fitting.channels == 3
    assert pixels_are_right(found, root)
    (root / "a" / "new.png").unlink()
    found, times = counted(root)
    assert found.fitting.channels == 1
    assert times == {}
