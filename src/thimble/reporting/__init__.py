"""The report of a model: one HTML file, its sections and its drawings."""
