"""The helpers of the course, one module for each room of the schema."""

import os

# Threads that wait for each other give their core back: on two busy cores a spinning one makes small operations many times
# slower. But waking a sleeping one takes longer than many small operations, so on Linux it first looks out for work some
# ten microseconds long: alone on two cores, an epoch of most models takes about two thirds of the time. Both are read when
# torch is loaded, so they stand here, before any module of the course can import it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
