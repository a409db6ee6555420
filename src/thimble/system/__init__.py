"""What the machine gives, and what may be wrong with it: files, and names as a terminal can show them."""
