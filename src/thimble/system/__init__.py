"""Files, locks, seeds, the processor, and checks of arguments: what every other room needs from the machine."""
