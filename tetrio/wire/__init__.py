"""Speaks Binance. Pure: text and bytes to values and back, for both sides of the wire."""
