"""The task that is measured."""

from __future__ import annotations

from typing import Final

from loadtests.connection import post

SUBMIT: Final = post(
    "/notify/", {"email": "johndoe@example.com", "message": "Your submission was received."}
)
"""A notification, as both sides accept it; `post.lua` sends the same body."""
