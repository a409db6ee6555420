"""Fail unless the tests run enough of the code: ``require_coverage.py FILE TOTAL EACH``.

FILE is what ``coverage json`` wrote, of lines and branches together; TOTAL and EACH are the least percentages, of all
code and of each of its files. coverage itself has no floor for each file.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

EXTRAS = {"exporting/executorch_file.py": "executorch"}
"""Files that no test can run where a package is not installed."""


def main() -> int:
    """Print the files below the floor; return 0 if there are none and the total is reached, else 1."""
    path, total, each = Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    report = json.loads(path.read_text(encoding="utf-8"))
    files = {name: file["summary"]["percent_covered"] for name, file in report["files"].items()}
    for ending, package in EXTRAS.items():
        for name in [name for name in files if name.endswith(ending) and not importlib.util.find_spec(package)]:
            print(f"{name}: {files.pop(name):.1f}%, not judged, as {package} is not installed")
    low = sorted((percent, name) for name, percent in files.items() if percent < each)
    for percent, name in low:
        print(f"{name}: {percent:.1f}%, required {each:g}%")
    found = report["totals"]["percent_covered"]
    print(f"lines and branches: {found:.2f}%, required {total:g}%; the least of a file: {min(files.values()):.1f}%")
    return 1 if low or found < total else 0


if __name__ == "__main__":
    sys.exit(main())
