"""The live path (the room of the lecture): which cells are shown, how long they take, and whether the room is ready."""
