"""Ways to change how replicas run, one folder each."""
