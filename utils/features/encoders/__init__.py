"""phi: the encoders of pictures, words and sounds, each under its name in the registry."""
