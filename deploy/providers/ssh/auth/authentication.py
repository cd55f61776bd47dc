"""Logs in to a host whose key was checked: offers keys one by one, and reports the result of each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import paramiko

from switchproof.deploy.connection import AuthenticationFailed, Unreachable
from switchproof.deploy.providers.ssh.auth.agent import Agent, AgentError
from switchproof.deploy.providers.ssh.auth.identities import Offer, offers
from switchproof.deploy.providers.ssh.auth.login import Authentication, Reply
from switchproof.deploy.providers.ssh.hop import Hop
from switchproof.deploy.providers.ssh.transport import Transport

_USUAL = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk")


def authenticate(hop: Hop, transport: Transport, timeout_s: float, say: Callable[[str], None]) -> None:
    """Log in as the hop's user.

    Args:
        hop: The machine, with the keys that are offered to it.
        transport: A transport to it, with its key checked.
        timeout_s: Seconds for each answer.
        say: Receives a line that says what the run waits for.

    Raises:
        AuthenticationFailed: The host rejected the login; the message has the result of each key.
        Unreachable: The connection was lost meanwhile.
    """
    notes: list[str] = []
    with ExitStack() as stack:
        try:
            login = Authentication(transport, hop.user, timeout_s)
            _log_in(hop, login, notes, lambda: _open_agent(hop, notes, stack, timeout_s, say))
        except (EOFError, TimeoutError, OSError, paramiko.SSHException) as error:
            if transport.farewell:
                raise _failed(hop, f"ended the attempt ({transport.farewell})", notes) from error
            raise Unreachable(
                hop.host, f"lost during authentication: {error or type(error).__name__}", "See the host's sshd log."
            ) from error


def _log_in(hop: Hop, login: Authentication, notes: list[str], open_agent: Callable[[], Agent | None]) -> None:
    reply = login.begin()
    if reply.accepted:
        return
    if "publickey" not in reply.methods:
        methods = ", ".join(reply.methods) or "nothing"
        raise AuthenticationFailed(
            hop.host,
            f"{hop.user}@{hop.address} does not accept a key as the first method; it asks for {methods}",
            "Let this user log in with a key alone: set AuthenticationMethods publickey in the host's sshd_config.",
        )
    agent = open_agent()
    accepted, asked_for = "", ""
    for offer in offers(
        hop.identity_files, hop.certificate_files, agent, only_files=hop.identities_only, notes=notes
    ):
        notes.append(str(offer))
        answer = _try(login, offer, notes)
        if answer.accepted:
            return
        if answer.partial:
            accepted, asked_for = str(offer), ", ".join(answer.methods)
            if "publickey" not in answer.methods:
                break
            notes.pop()
    else:
        if not accepted:
            raise _failed(hop, "accepts none of", notes)
    raise AuthenticationFailed(
        hop.host,
        f"{hop.user}@{hop.address} accepted the key {accepted}, but asks for a second factor: {asked_for}",
        "A run answers no second question. Let this user in by a key alone: AuthenticationMethods publickey in a "
        "Match block of the host's sshd_config.",
    )


def _try(login: Authentication, offer: Offer, notes: list[str]) -> Reply:
    """Offer one key; sign with it only if it would be accepted."""
    algorithm = login.algorithm(offer.kind)
    if algorithm is None:
        notes[-1] += ": the host accepts no RSA signature with SHA-2"
        return Reply()
    reply = login.query(offer, algorithm)
    if not reply.would_accept:
        return reply
    try:
        reply = login.prove(offer, algorithm)
    except (AgentError, paramiko.SSHException, ValueError) as error:
        if not login.transport.is_active():
            raise EOFError(login.server.farewell or f"the host did not wait for the signature: {error}") from error
        notes[-1] += f": the host would accept it, but nothing was signed: {error}"
        return Reply()
    if not reply.accepted and not reply.partial:
        notes[-1] += ": the host refused the signature"
    return reply


def _open_agent(
    hop: Hop, notes: list[str], stack: ExitStack, timeout_s: float, say: Callable[[str], None]
) -> Agent | None:
    if not hop.agent:
        return None
    try:
        agent = Agent(hop.agent, timeout_s, say)
    except AgentError as error:
        notes.append(f"({error})")
        return None
    stack.callback(agent.close)
    return agent


def _failed(hop: Hop, what: str, notes: list[str]) -> AuthenticationFailed:
    usual = [path for name in _USUAL if (path := Path(f"~/.ssh/{name}").expanduser()).is_file()]
    hint = (
        f" ssh would offer {', '.join(map(str, usual))}, too; a run offers only the keys that the target file names."
        if usual
        else ""
    )
    remedy = "Name the right key in ssh.identity_files, or load it into the agent. The host must authorise that key."
    if "Too many" in what:
        remedy = "Name the right key in ssh.identity_files: it is offered before the other keys of the agent."
    return AuthenticationFailed(
        hop.host,
        f"{hop.user}@{hop.address} {what}: {'; '.join(notes) or 'no key was offered, because none was found'}",
        remedy + ("" if hop.identity_files else hint),
    )
