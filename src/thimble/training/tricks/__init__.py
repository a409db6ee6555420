"""Training tricks that improve a small network, one per file."""
