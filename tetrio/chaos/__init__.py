"""The whole bot and its exchange in virtual time, from a seed, while everything goes wrong around them."""
