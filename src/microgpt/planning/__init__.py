"""A training on paper: sizes, memory, time and price, before anything is run."""
