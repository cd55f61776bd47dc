"""Faults of the cloud: credentials, permissions, the endpoint of SSM, and its agent on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from switchproof.deploy.providers.lab.ssm.endpoint import SsmEndpoint
from switchproof.deploy.providers.lab.ssm.faults import Fault as Wrong
from tests.deploys.parity import PACE
from tests.faults.scene import Fault, Scene, canonical, each, inconclusive, refused

ALWAYS: Final = 10_000
_LOOK: Final = "DescribeInstanceInformation"
_NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")


def _reach(scene: Scene, **host: str) -> SsmEndpoint:
    """Reach the host through an SSM of its own."""
    assert scene.lab is not None
    assert scene.host is not None
    endpoint = scene.undo.enter_context(SsmEndpoint.serve(scene.lab, pace=PACE))
    values = {"instance": f'"{endpoint.instance_ids[scene.host.name]}"', **host}
    lines = "".join(f"{name} = {value}\n" for name, value in values.items() if value)
    scene.provider = "aws"
    scene.edit('provider = "lab"', 'provider = "aws"')
    scene.edit('flake_attr = "choiros-a"\n', f'flake_attr = "choiros-a"\n{lines}')
    scene.environ |= {
        **endpoint.environment,
        "AWS_CONFIG_FILE": str(scene.folder / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(scene.folder / "no-credentials"),
    }
    return endpoint


def _planned(wrong: Wrong, operation: str = "SendCommand", times: int = 1) -> Callable[[Scene], None]:
    return lambda scene: _reach(scene).faults.plan(wrong, operation=operation, times=times)


def _environment(**values: str | None) -> Callable[[Scene], None]:
    def arrange(scene: Scene) -> None:
        _reach(scene)
        scene.environ |= values

    return arrange


def _host(**values: str) -> Callable[[Scene], None]:
    def arrange(scene: Scene) -> None:
        _reach(scene, **values)

    return arrange


def _ssm(text: str) -> Callable[[Scene], None]:
    def arrange(scene: Scene) -> None:
        _reach(scene)
        scene.append(f"\n[ssm]\n{text}\n")

    return arrange


def _offline(scene: Scene) -> None:
    assert scene.host is not None
    _reach(scene).set_online(scene.host.name, online=False)


def _in_vain(name: str, arrange: Callable[[Scene], None]) -> Fault:
    return Fault("cloud", name, arrange, each(inconclusive))


def _refused(name: str, arrange: Callable[[Scene], None]) -> Fault:
    return Fault("cloud", name, arrange, each(refused))


def _no_matter(name: str, arrange: Callable[[Scene], None]) -> Fault:
    return Fault("cloud", name, arrange, each(canonical))


FAULTS: Final = (
    _refused("there are no credentials", _environment(**dict.fromkeys(_NAMES))),
    _refused("there is no region", _environment(AWS_REGION=None, AWS_DEFAULT_REGION=None)),
    _refused("the profile does not exist", _environment(AWS_PROFILE="no-such-profile")),
    _refused("the endpoint is not a URL", _environment(AWS_ENDPOINT_URL_SSM="not a url")),
    _refused("the instance's id is not one", _host(instance='"prod-1"')),
    _in_vain("AWS does not know the access key", _environment(AWS_ACCESS_KEY_ID="AKIA0000000000000000")),
    _in_vain("the secret is wrong", _environment(AWS_SECRET_ACCESS_KEY="0" * 40)),
    _in_vain("the credentials have expired", _planned(Wrong.EXPIRE, _LOOK, ALWAYS)),
    _in_vain("the credentials expire before a command is sent", _planned(Wrong.EXPIRE, times=ALWAYS)),
    _in_vain("the endpoint cannot be reached", _environment(AWS_ENDPOINT_URL_SSM="http://127.0.0.1:2")),
    _in_vain("SSM does not know the instance", _host(instance='"i-0123456789abcdef0"')),
    _in_vain("no instance has the tags", _host(instance="", tags='{ Name = "no-such-instance" }')),
    _in_vain("the agent cannot be reached", _offline),
    _in_vain("instances may not be looked at", _planned(Wrong.DENY, _LOOK, ALWAYS)),
    _in_vain("commands may not be sent", _planned(Wrong.DENY, times=ALWAYS)),
    _in_vain("SSM throttles every look at instances", _planned(Wrong.THROTTLE, _LOOK, ALWAYS)),
    _in_vain("no command ever starts", _planned(Wrong.DELIVERY_TIMEOUT, times=ALWAYS)),
    _in_vain("the document does not exist", _ssm('document = "NoSuchDocument"')),
    _no_matter("SSM throttles two commands", _planned(Wrong.THROTTLE, times=2)),
    _no_matter("a command is accepted and answered with HTTP 500", _planned(Wrong.ERROR_AFTER_ACCEPTING)),
    _no_matter("a command's output is cut", _planned(Wrong.CUT_OUTPUT)),
    _no_matter("every command is delivered twice", _planned(Wrong.RUN_TWICE, times=ALWAYS)),
)
