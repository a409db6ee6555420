"""Read and write weights, training states, run folders and their logs. Nothing is ever unpickled."""
