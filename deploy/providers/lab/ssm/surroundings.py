"""The environment in which every client of AWS calls the endpoint, and nothing outside this machine (pure)."""

from __future__ import annotations

from collections.abc import Mapping

from switchproof.deploy.providers.lab.ssm.signature import Key

_ONE_SERVICE = "AWS_ENDPOINT_URL_"
_KEPT = "AWS_ENDPOINT_URL_S3"
"""A stub of S3 is the user's own; the endpoint has none."""


def environment(url: str, key: Key, region: str, own: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that lead a client of AWS to the endpoint, whichever service it calls.

    Args:
        url: The endpoint's URL, on loopback.
        key: The access key; it is equivalent to root on the lab's hosts.
        region: The region.
        own: The environment of the caller, whose exceptions from proxies stay.
    """
    # The name in small letters counts if both are set.
    direct = ",".join(dict.fromkeys(["127.0.0.1", *(own.get("no_proxy") or own.get("NO_PROXY", "")).split(",")]))
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ENDPOINT_URL_SSM": url,
        "AWS_ENDPOINT_URL_STS": url,
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "AWS_EC2_METADATA_DISABLED": "true",
        # Some operations put an account before the host's name, which would then be looked up elsewhere.
        "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "NO_PROXY": direct.rstrip(","),
        "no_proxy": direct.rstrip(","),
    }


def misleading(own: Mapping[str, str]) -> list[str]:
    """Return the names of variables that would take a client elsewhere, sorted; they must be unset.

    Args:
        own: The environment of the caller.
    """
    elsewhere = {name for name in own if name.startswith(_ONE_SERVICE)} - {_KEPT}
    always = {"AWS_DEFAULT_PROFILE", "AWS_PROFILE", "AWS_SESSION_TOKEN"}
    return sorted(always | elsewhere - {f"{_ONE_SERVICE}SSM", f"{_ONE_SERVICE}STS"})
