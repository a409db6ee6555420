"""Training: settings, recipes, the loop, and how a run stops and goes on."""
