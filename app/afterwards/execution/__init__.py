"""What a worker does with its claims: hand them to executors, run one attempt, report."""
