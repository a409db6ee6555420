"""The .tflite file: its binary format, its layers, its metadata."""
