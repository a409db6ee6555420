"""What lies on disk and is read back, whatever it holds by then: tensors, and what a weights file says of its model."""
