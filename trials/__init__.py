"""Faults and bad input, each tried many times: `python -m trials` fills the table of docs/RELIABILITY.md."""
