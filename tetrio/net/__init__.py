"""The real and the simulated network, clock and entropy: the only rooms that may touch them."""
