"""From weights to a file that a product can use without Thimble, proved to be the same network.

One format to a file, each with ``build`` and ``load``, and ``formats`` is the table of them. ``deployment`` makes what
they start from, ``parity`` compares, ``export`` puts them together, and ``exported`` reads an ONNX file back to measure
it. Nothing heavy is imported here.
"""
