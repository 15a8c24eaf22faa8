"""Studies: one experiment a file, whose numbers notebooks show and result files keep."""
