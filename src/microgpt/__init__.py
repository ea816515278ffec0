"""MicroGPT: The Art of Symmetry. A GPT reduced to one atom, and a ladder of engines that compute the same function."""

__version__ = "0.1.0"
