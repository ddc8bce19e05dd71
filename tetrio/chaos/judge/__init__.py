"""The judges of a run: one for each story, each told what its story is made of. `chaos.referee` puts them together."""
