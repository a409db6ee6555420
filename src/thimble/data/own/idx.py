"""TEMPORARY."""


def is_idx(path):
    return False


def idx_listing(path, config): ...
