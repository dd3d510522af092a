"""The page of `emforce serve`: the parameter database in a browser, on this machine, read-only, without the network."""
