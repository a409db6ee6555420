"""The scripts that decide in CI: what they let through and what they do not."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
from places import ROOT


@pytest.mark.parametrize(
    ("total", "files", "code"),
    [(96.0, {"a.py": 99.0, "b.py": 85.0}, 0), (96.0, {"a.py": 99.0, "b.py": 84.9}, 1), (94.9, {"a.py": 94.9}, 1)],
)
def test_coverage_has_a_floor_in_all_and_for_each_file(
    total: float, files: dict[str, float], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def summary(percent: float) -> dict[str, dict[str, float]]:
        return {"summary": {"percent_covered": percent}}

    report = {"totals": {"percent_covered": total}, "files": {name: summary(each) for name, each in files.items()}}
    (tmp_path / "coverage.json").write_text(json.dumps(report))
    script = ROOT / "scripts" / "require_coverage.py"
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path / "coverage.json"), "95", "85"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name="__main__")
    assert end.value.code == code
    out = capsys.readouterr().out
    assert ("b.py: 84.9%, required 85%" in out) == (files.get("b.py") == 84.9)
    assert f"{total:.2f}%, required 95%" in out
