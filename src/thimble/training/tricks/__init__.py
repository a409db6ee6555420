"""What makes a small network better than plain training does: one trick to a file."""
