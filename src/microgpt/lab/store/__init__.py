"""Where runs are kept: one SQLite file, and a run as a record."""
