"""A target file of AWS names one instance in one way, and a mistake in it is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from switchproof.deploy.errors import UsageError
from switchproof.deploy.providers import load
from switchproof.deploy.providers.aws.table import AwsHost
from switchproof.deploy.settings import TARGETS
from switchproof.deploy.target.types import Target

INSTANCE = "i-0123456789abcdef0"
SHIPPED = (TARGETS / "aws.toml").read_text(encoding="utf-8")
BY_ENVIRONMENT = 'instance = { env = ["DEPLOY_INSTANCE_ID", "EC2_INSTANCE_ID"] }'


def read(folder: Path, text: str, **environ: str) -> Target:
    """Read a target file."""
    path = folder / "aws.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ)


@pytest.mark.parametrize("name", ["DEPLOY_INSTANCE_ID", "EC2_INSTANCE_ID"])
def test_the_old_entry_point_s_environment_works(tmp_path: Path, name: str) -> None:
    """Either variable names the instance, WORKDIR the checkout; DEPLOY_INSTANCE_ID comes first."""
    target = read(tmp_path, SHIPPED, **{"EC2_INSTANCE_ID": "i-00000000", name: INSTANCE, "WORKDIR": "/srv/choiros"})
    assert (target.hosts[0].part(AwsHost).instance, target.repository.checkout) == (INSTANCE, "/srv/choiros")


def test_a_missing_instance_id_is_one_sentence(tmp_path: Path) -> None:
    """Without any of the variables the error names both, and nothing was sent."""
    with pytest.raises(UsageError, match="DEPLOY_INSTANCE_ID and EC2_INSTANCE_ID are not set"):
        read(tmp_path, SHIPPED)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ('instance = "web-1"', r"hosts\[0\].instance"),
        (
            f'instance = "{INSTANCE}"\ntags = {{ Name = "prod" }}',
            "already names the instance; remove one of them",
        ),
        ("", r"hosts\[0\].instance: missing; set the instance's id, or tags that only this instance has"),
        ("tags = { a = '1', b = '2', c = '3', d = '4', e = '5', f = '6' }", r"hosts\[0\].tags"),
        (f'instance = "{INSTANCE}"\naddress = "10.0.0.1"', "provider 'aws' does not use addresses"),
    ],
    ids=["no id", "id and tags", "neither", "too many tags", "address"],
)
def test_a_host_is_named_in_one_way(tmp_path: Path, host: str, words: str) -> None:
    """An id or up to five tags, and no address."""
    with pytest.raises(UsageError, match=words):
        read(tmp_path, SHIPPED.replace(BY_ENVIRONMENT, host))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("region", '"Paris"'),
        ("role", '"deploy"'),
        ("bucket", '"Outputs of choiros"'),
        ("document", '"no document"'),
        ("document_version", '"newest"'),
        ("start_s", "10.0"),
        ("colour", '"red"'),
    ],
)
def test_a_wrong_table_is_told_by_its_key(tmp_path: Path, key: str, value: str) -> None:
    """What AWS would refuse, or does not know, is refused here, with the key."""
    with pytest.raises(UsageError, match=rf"ssm.*{key}|{key}.*ssm"):
        read(tmp_path, f"{SHIPPED}\n[ssm]\n{key} = {value}\n", DEPLOY_INSTANCE_ID=INSTANCE)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://ci:hunter22@example.org/choiros.git", "contains a password"),
        ("ssh://ci:hunter22@example.org/choiros.git", "contains a password"),
        ("https://hunter22@example.org/choiros.git", "contains a user, which over HTTP is a token"),
        ("HTTPS://hunter22:@example.org/choiros.git", "contains a user"),
        ("https://example.org/choiros.git?private_token=hunter22", r"has a query \(private_token\)"),
        ("https://example.org/choiros.git?hunter22", r"has a query \(without a key\)"),
        ("https://[hunter22/choiros.git", "is not a URL"),
    ],
)
def test_a_secret_is_not_sent_where_others_read_it(tmp_path: Path, url: str, problem: str) -> None:
    """A repository's URL with a password, a token or a query would stand in ListCommands and CloudTrail."""
    text = SHIPPED.replace("[repository]\n", f'[repository]\nurl = "{url}"\n')
    with pytest.raises(UsageError, match=rf"repository\.url: {problem}.*such as a deploy key") as caught:
        read(tmp_path, text, DEPLOY_INSTANCE_ID=INSTANCE)
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/choiros.git",
        "https://git@example.org/choiros.git",
        "ssh://deploy@example.org/choiros.git",
        "git@example.org:choiros.git",
        "file:///srv/choiros.git",
    ],
)
def test_a_url_without_a_secret_is_sent(tmp_path: Path, url: str) -> None:
    """The user of an SSH login is no secret."""
    text = SHIPPED.replace("[repository]\n", f'[repository]\nurl = "{url}"\n')
    assert read(tmp_path, text, DEPLOY_INSTANCE_ID=INSTANCE).repository.url == url


def test_only_aws_has_instances(tmp_path: Path) -> None:
    """Another provider's host with an instance is a mistake."""
    text = (TARGETS / "lab.toml").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="only hosts of the provider 'aws' have instance"):
        read(tmp_path, text.replace('name = "a"\n', f'name = "a"\ninstance = "{INSTANCE}"\n'))
