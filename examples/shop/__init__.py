"""A small shop whose work after the answer is done by Afterwards."""
