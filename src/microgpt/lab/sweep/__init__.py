"""From a design to runs: specifications, plans, workers, and the coordinator that hands runs out."""
