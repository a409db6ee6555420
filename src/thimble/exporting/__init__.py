"""Export a network to a file that runs without Thimble, after checking that the file computes the same.

Each format is one module with ``build`` and ``load``; ``formats`` lists them. ``deployment`` prepares the network,
``parity`` compares a file with PyTorch, ``export`` combines these, and ``exported`` reads an ONNX file back to evaluate
it. Nothing heavy is imported here.
"""
