"""The lab: benchmarks of accuracy and speed, and the tables that are rendered from result files."""
