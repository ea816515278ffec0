"""A sweep on a Ray cluster: `executor.py` talks to a driver process, which alone talks to Ray."""
