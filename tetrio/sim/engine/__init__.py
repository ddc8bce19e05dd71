"""Accepts, matches and charges. Pure."""
