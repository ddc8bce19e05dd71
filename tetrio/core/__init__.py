"""Decides. Pure: no await, no clock, no socket, no logging, no randomness."""
