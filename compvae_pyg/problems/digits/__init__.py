"""The digits: images of several handwritten digits, with networks, measures and a figure."""

from compvae_pyg.problems.digits.problem import Digits, build_digits_small

__all__ = ["Digits", "build_digits_small"]
