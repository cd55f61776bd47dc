"""The document that gives no shell takes nothing but what its patterns allow, and carries the shipped script."""

from __future__ import annotations

import json
import re

import msgspec
import pytest

from switchproof.deploy.connection import Question
from switchproof.deploy.errors import Inconclusive
from switchproof.deploy.host.program import question
from switchproof.deploy.providers import load
from switchproof.deploy.providers.aws import carrier
from switchproof.deploy.providers.aws.carrier import Load
from switchproof.deploy.providers.aws.document import VALUES, document, fixed_values, parameters, text
from switchproof.deploy.providers.lab.ssm import documents
from switchproof.deploy.providers.lab.ssm.documents import Script
from switchproof.deploy.providers.lab.ssm.errors import Refused
from switchproof.deploy.settings import TARGETS
from tests.deploys.sessions import ROOT

TARGET = load(TARGETS / "aws.toml", {"DEPLOY_INSTANCE_ID": "i-00000000"})
FIXED = fixed_values(TARGET)
MADE = documents.read_document("Switchproof", text(document(TARGET)))


def given(values: dict[str, str], verb: str = "observe") -> dict[str, list[str]]:
    """The parameters of a question."""
    asked = Question("true", verb, values)
    errand = carrier.ask("0" * 16, Load.of(asked), whole=True, limit=carrier.PIECE, patience_s=5)
    return parameters(errand, FIXED, 30)


def script(**changed: str) -> Script:
    """What an agent runs of a good question, with some parameters changed."""
    return MADE.script({**given({"RELEASE_SHA": "main"}), **{name: [value] for name, value in changed.items()}})


def test_the_published_document_is_the_one_that_would_be_made() -> None:
    """docs/ssm-document.json carries today's script; `just schema` writes it."""
    published = json.loads((ROOT / "docs" / "ssm-document.json").read_text(encoding="utf-8"))
    assert published == document(TARGET)


def test_it_is_below_the_limit_of_a_document() -> None:
    """SSM takes documents of up to 64 KB."""
    assert len(text(document(TARGET)).encode()) < documents.MAX_CONTENT


def test_no_parameter_becomes_text_of_a_shell() -> None:
    """Parameters arrive as environment variables; only the time limit is filled in, which has digits only."""
    published = (ROOT / "docs" / "ssm-document.json").read_text(encoding="utf-8")
    assert re.findall(r"\{\{.*?\}\}", published) == ["{{ ExecutionTimeout }}"]
    ran = script(ReleaseSha="v1.0")
    assert ran.environment["SSM_ReleaseSha"] == "v1.0"
    assert "v1.0" not in ran.text
    assert ran.limit_s == 30


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ReleaseSha", "$(reboot)"),
        ("ReleaseSha", "main\nreboot"),
        ("ReleaseSha", "-delete"),
        ("Question", "../../etc"),
        ("Argument", "deploy; reboot"),
        ("SwitchproofTo", "/srv/evil"),
        ("SwitchproofRun", "../x"),
        ("Digest", "z" * 64),
        ("ExecutionTimeout", "0"),
        ("RepoUrl", "https://evil.example"),
        ("Workdir", "/srv"),
    ],
)
def test_a_caller_gives_nothing_else(name: str, value: str) -> None:
    """What does not match is refused by SSM itself, and so are parameters that the document does not have."""
    with pytest.raises(Refused, match=r"must match|no parameter"):
        script(**{name: value})


def test_every_value_of_the_script_has_its_place() -> None:
    """A whole question of a run fits into the document; what does not match is told here, before it is sent."""
    values = {**dict.fromkeys(VALUES, ""), **FIXED, "RELEASE_SHA": "main"}
    assert set(given(values)) >= {"ReleaseSha", "SwitchproofNonce", "ReadyS"}
    with pytest.raises(Inconclusive, match=r"does not take 'a b' for RELEASE_SHA; allowed"):
        given({"RELEASE_SHA": "a b"})
    with pytest.raises(Inconclusive, match="does not take PATH"):
        given({"PATH": "/srv"})
    with pytest.raises(Inconclusive, match="does not take WORKDIR"):
        given({"WORKDIR": "/srv"})


def test_a_question_as_runs_ask_it_fits() -> None:
    """Nonce and verb of a real question match their patterns."""
    asked = question("observe", "0123456789abcdef", {**FIXED, "SOAK_S": "15.0", "ANSWERS": "5"})
    errand = carrier.ask("0" * 16, Load.of(asked), whole=True, limit=carrier.PIECE, patience_s=5)
    assert MADE.script(parameters(errand, FIXED, 30)).environment["SSM_SwitchproofNonce"] == "0123456789abcdef"


def test_another_target_file_is_told_apart() -> None:
    """A document that was made for other fixed values answers that it lacks the program."""
    other = msgspec.structs.replace(TARGET.repository, checkout="/srv/else")
    elsewhere = fixed_values(msgspec.structs.replace(TARGET, repository=other))
    assert elsewhere != FIXED
    errand = carrier.look("0" * 16)
    assert parameters(errand, FIXED, 30)["Fixed"] != parameters(errand, elsewhere, 30)["Fixed"]
