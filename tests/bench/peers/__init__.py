"""Other people's ways to read a market stream, each by itself.

They print the same line of JSON as `tests.bench.feed` does. They run in an environment of their own and know nothing
of the bot.
"""
