"""Two rows, or two runs, set against each other with the statistics of the tables."""
