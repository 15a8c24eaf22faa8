"""The helpers of the course, one module for each room of the schema."""

import os

# Threads that wait for each other give their core back: on two busy cores a spinning one makes small operations many times
# slower. Read when torch is loaded, so it stands here, before any module of the course can import it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
