"""Verbs for the files of tasks. `async_downloading` is their twin."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from afterwards_client import artifacts
from afterwards_client.artifacts import Download, PartFile
from afterwards_client.sender import Sender
from afterwards_client.tasks import Artifact


class Downloading(Sender):
    """The files that tasks have made."""

    def artifacts(self, task_id: str) -> Sequence[Artifact]:
        """The files that a task has made, by name."""
        return self._perform(artifacts.listing(task_id))

    def download(self, task_id: str, name: str, to: str | os.PathLike[str] = ".") -> Path:
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
        artifact = artifacts.named(self.artifacts(task_id), task_id, name)
        with closing(PartFile(artifact, to)) as part:
            if part.size < artifact.size:
                download = Download(task_id, artifact, part.size, self._retries)
                for chunk in self._follow(download):
                    part.write(chunk)
            return part.finish(task_id)
