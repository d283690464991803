"""The task that is measured."""

from __future__ import annotations

from typing import Final

from loadtests.connection import post

PAYLOAD: Final = {
    "email": "johndoe@example.com",
    "message": "Your submission was received.",
}
SUBMIT: Final = post("/notify/", PAYLOAD)
"""A notification, as both sides accept it; `post.lua` sends the same body."""
