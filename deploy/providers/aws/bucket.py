"""The bucket for long output: whether the instance can write there, found out once in a run, and what it wrote."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from switchproof.deploy.host import limits
from switchproof.deploy.providers.aws.carrier import TooLong
from switchproof.deploy.providers.aws.clients import explain

SLOW_S = 70.0
"""Seconds that the agent takes longer when it cannot reach the bucket: 30 for each of two streams."""


@dataclass
class Bucket:
    """What is known of one instance and the target file's bucket. Safe to use from several threads.

    Attributes:
        name: The bucket; empty for none.
        prefix: Below which output is put.
        client: Makes a client of S3.
        say: Told, once, that the bucket is not used any more, and why.
    """

    name: str
    prefix: str
    client: Callable[[], Any]
    say: Callable[[str], None]
    _proved: bool = False
    _given_up: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def usable(self) -> bool:
        """Whether output may go there."""
        return bool(self.name) and not self._given_up

    @property
    def extra_s(self) -> float:
        """Seconds by which an answer may come later, until it is known that the instance reaches the bucket."""
        return 0.0 if self._proved else SLOW_S

    def check(self, command: str, instance: str) -> None:
        """See whether a command's output came into the bucket; if not, no later command gets one."""
        if self._proved or self._given_up:
            return
        try:
            if self._keys(command, instance):
                self._proved = True
                return
            why = f"{instance} stored nothing there: check that its role allows s3:PutObject and that it can reach S3"
        except Exception as error:  # noqa: BLE001 - whatever it is, the output comes without the bucket
            why = " ".join(explain(error))
        self._give_up(why)

    def fetch(self, command: str, instance: str) -> str | None:
        """Take a command's output from the bucket; None if it cannot be had, and then the bucket is left out.

        Raises:
            TooLong: It has more bytes than a run takes in.
        """
        try:
            s3 = self.client()
            keys = [key for key in self._keys(command, instance) if key.endswith("/stdout")]
            body: bytes = (
                s3.get_object(Bucket=self.name, Key=keys[0])["Body"].read(limits.OUTPUT + 1) if keys else b""
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the output comes without the bucket
            self._give_up(" ".join(explain(error)))
            return None
        if not keys:
            self._give_up(f"no output of {command} exists under {self.prefix}")
            return None
        if len(body) > limits.OUTPUT:
            raise TooLong(f"more than {limits.OUTPUT} bytes came in one answer")
        return body.decode("utf-8", "replace")

    def _keys(self, command: str, instance: str) -> list[str]:
        where = f"{self.prefix}/{command}/{instance}/"
        listed = self.client().list_objects_v2(Bucket=self.name, Prefix=where)
        return [str(entry.get("Key", "")) for entry in listed.get("Contents", [])]

    def _give_up(self, why: str) -> None:
        with self._lock:
            if not self._given_up:
                self._given_up = True
                self.say(f"the bucket {self.name} is not used from now on, and output is fetched in pieces: {why}")
