"""The bucket for long output: checks once per run that the instance can write there, and fetches output."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from switchproof.deploy.host import limits
from switchproof.deploy.providers.aws.carrier import TooLong
from switchproof.deploy.providers.aws.clients import explain

SLOW_S = 70.0
"""Additional seconds of the agent if it cannot reach the bucket: 30 for each of two streams."""


class Bucket(msgspec.Struct):
    """The state of the target file's bucket for one instance. Thread-safe.

    Attributes:
        name: The bucket; empty for none.
        prefix: The prefix of the output's keys.
        client: Makes a client of S3.
        say: Receives once why the bucket is no longer used.
    """

    name: str
    prefix: str
    client: Callable[[], Any]
    say: Callable[[str], None]
    _proved: bool = False
    _given_up: bool = False
    _lock: threading.Lock = msgspec.field(default_factory=threading.Lock)

    @property
    def usable(self) -> bool:
        """Whether to send output there."""
        return bool(self.name) and not self._given_up

    @property
    def extra_s(self) -> float:
        """Seconds by which an answer may be later, until the instance has reached the bucket once."""
        return 0.0 if self._proved else SLOW_S

    def check(self, command: str, instance: str) -> None:
        """Check that a command's output arrived in the bucket; if not, later commands do not use it."""
        if self._proved or self._given_up:
            return
        try:
            if self._keys(command, instance):
                self._proved = True
                return
            why = f"{instance} stored nothing there: check that its role allows s3:PutObject and that it can reach S3"
        except Exception as error:  # noqa: BLE001 - after any failure the output comes without the bucket
            why = " ".join(explain(error))
        self._give_up(why)

    def fetch(self, command: str, instance: str) -> str | None:
        """Fetch a command's output from the bucket; if that fails, return None and stop to use the bucket.

        Raises:
            TooLong: The output has more bytes than a run accepts.
        """
        try:
            s3 = self.client()
            keys = [key for key in self._keys(command, instance) if key.endswith("/stdout")]
            body: bytes = (
                s3.get_object(Bucket=self.name, Key=keys[0])["Body"].read(limits.OUTPUT + 1) if keys else b""
            )
        except Exception as error:  # noqa: BLE001 - after any failure the output comes without the bucket
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
