"""What a model answers, and how good, how large and how costly it is."""
