"""Fail unless an evaluation reached an accuracy: ``require_accuracy.py FILE MINIMUM``.

FILE is what ``thimble evaluate MODEL --json`` printed; MINIMUM is in 0..1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main() -> int:
    """Return 0 if the accuracy is at least the minimum, else 1."""
    path, minimum = Path(sys.argv[1]), float(sys.argv[2])
    evaluation = json.loads(path.read_text(encoding="utf-8"))
    found = evaluation["accuracy"]
    print(f"{evaluation['data']}: accuracy {found:.2%} of {evaluation['num_images']:,}, required {minimum:.0%}")
    return 0 if found >= minimum else 1


if __name__ == "__main__":
    sys.exit(main())
