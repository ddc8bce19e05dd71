"""A Binance Spot bot on trio, and an exchange to try it on."""

__version__ = "0.1.0"
