"""Train models: settings, recipes, the training loop, stopping and resuming."""
