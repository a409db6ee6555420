"""What lies on disk: weights, training states, run folders and their logs. Nothing is ever unpickled."""
