"""Features of a large catalogue: one job from a folder to one matrix, in blocks, resumed, over many processes."""
