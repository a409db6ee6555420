"""What the machine gives: whole files or none, locks, seeds, the processor; and checks of what is given to us."""
