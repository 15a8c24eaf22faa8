"""The live path: which cells a lecture shows, how long they take, and whether the lecturer's machine is ready."""
