"""The user's own images: list the files, split them, decode them once, and find duplicates."""
