"""The engine `array`: the model of symmetry.py in NumPy, with every gradient derived by hand.

It reads in this order: matrices.py (the flat vector by name), batching.py (documents as padded batches), forward.py,
backward.py, adam.py, and engine.py, which puts them behind the contract. docs/MATHEMATICS.md derives each line.
"""

from microgpt.engines.array.engine import ArrayEngine, ArrayRunner

__all__ = ["ArrayEngine", "ArrayRunner"]
