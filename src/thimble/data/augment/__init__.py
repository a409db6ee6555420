"""Augment training images: random flips, shifts, colour changes and covered rectangles."""
