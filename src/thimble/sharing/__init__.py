"""A model among people: its card, and the Hugging Face Hub."""
