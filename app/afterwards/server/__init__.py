"""The processes that serve: the master and its web workers; and copies of their journal."""
