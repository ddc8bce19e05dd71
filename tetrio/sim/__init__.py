"""Is an exchange: a book, an engine, a market, and Binance's faces before them."""
