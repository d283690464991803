"""The shop at work: the programs around it, and customers who use it."""
