"""Explain predictions: show which parts of an image support a class."""
