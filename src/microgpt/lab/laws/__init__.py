"""Scaling laws: fitted to runs, with intervals that cover, warnings that say what the runs can't carry, and scores."""
