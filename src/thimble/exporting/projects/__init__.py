"""Projects around the C file that a microcontroller's own tools build and flash."""
