"""Faults and bad input, each tried many times: `python -m bench.faults` fills the table of docs/RELIABILITY.md."""
