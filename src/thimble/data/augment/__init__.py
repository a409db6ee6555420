"""What is done to training images before the network sees them."""
