"""The surfaces: each turns its own wire into calls on the pipeline or on the gate, and decides nothing."""
