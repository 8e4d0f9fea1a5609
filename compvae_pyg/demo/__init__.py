"""A demo to play with in a browser (extra ``demo``): ``python -m compvae_pyg.demo``."""
