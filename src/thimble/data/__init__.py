"""Load, read, split and augment labelled images."""
