"""Refuse a commit whose subject is too long: ``check_subject.py FILE``, where git has put the message in FILE."""

from __future__ import annotations

import sys
from pathlib import Path

LETTERS = 72
"""As many as ``git log --oneline`` shows on a line of 80."""


def main() -> int:
    """Return 0 if the subject has at most ``LETTERS`` letters, else 1."""
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    subject = next((line.strip() for line in lines if line.strip() and not line.startswith("#")), "")
    if len(subject) > LETTERS:
        print(f"the subject has {len(subject)} letters: expected at most {LETTERS}; say the rest below an empty line")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
