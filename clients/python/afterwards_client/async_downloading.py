"""Verbs for the files of tasks. `downloading` is their twin."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import aclosing, closing
from pathlib import Path

from anyio import to_thread

from afterwards_client import artifacts
from afterwards_client.artifacts import Download, PartFile
from afterwards_client.async_sender import AsyncSender
from afterwards_client.tasks import Artifact


class AsyncDownloading(AsyncSender):
    """The files that tasks have made."""

    async def artifacts(self, task_id: str) -> Sequence[Artifact]:
        """The files that a task has made, by name."""
        return await self._perform(artifacts.listing(task_id))

    async def download(self, task_id: str, name: str, to: str | os.PathLike[str] = ".") -> Path:
        """Write an artifact to a file, and give its path.

        The file takes its place once it is whole and its digest is right. A connection that breaks
        is made again, and goes on where it was. What a call has left, the next one goes on with.

        Args:
            to: the file, or a directory in which it gets the artifact's name.

        Raises:
            NotFound: the task, or an artifact of this name, is not there.
            Gone: the task was deleted, or the file was removed from the service.
            UnexpectedAnswer: other bytes came than the task lists.
            OSError: the file cannot be written.
        """
        found = await self.artifacts(task_id)
        artifact = artifacts.named(found, task_id, name)
        # In threads: no event loop waits for a disk.
        with closing(await to_thread.run_sync(PartFile, artifact, to)) as part:
            if part.size < artifact.size:
                download = Download(task_id, artifact, part.size, self._retries)
                async with aclosing(self._follow(download)) as chunks:
                    async for chunk in chunks:
                        await to_thread.run_sync(part.write, chunk)
            return await to_thread.run_sync(part.finish, task_id)
