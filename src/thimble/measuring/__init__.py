"""Compute predictions, metrics, comparisons, model sizes and receptive fields."""
