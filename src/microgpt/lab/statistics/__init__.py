"""What the runs say: series along an axis, intervals, returns, tables."""
