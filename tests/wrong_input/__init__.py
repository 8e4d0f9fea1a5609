"""The public entry points, by where they are, with valid and wrong arguments of each."""
