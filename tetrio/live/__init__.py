"""Does: the trio tasks of a running bot."""
