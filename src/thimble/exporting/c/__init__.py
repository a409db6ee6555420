"""Generate the C99 file: the integer network, its memory plan, its tables and its source code."""
