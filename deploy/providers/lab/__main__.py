"""The lab's command line: `switchproof lab up|status|ssh|logs|console|break|mend|…`."""

import argparse
import contextlib
import os
import shlex
import signal
import stat
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from switchproof.deploy.command_line import Parser
from switchproof.deploy.contract import ExitCode
from switchproof.deploy.errors import SwitchproofError, UsageError
from switchproof.deploy.extras import require
from switchproof.deploy.providers.lab import image, lab, preflight, state
from switchproof.deploy.providers.lab.errors import LabError, LabMisused
from switchproof.deploy.providers.lab.faults import break_host, faults_of, find, mend_host
from switchproof.deploy.providers.lab.host import ENVIRONMENT, SANDBOXES, LabHost, plain
from switchproof.deploy.providers.lab.lab import Lab
from switchproof.deploy.providers.lab.real import look
from switchproof.deploy.providers.lab.ssm.faults import Fault

PROGRAM = "switchproof lab"
CHECKOUT = "/opt/choiros/workspace"
PROFILE = "/nix/var/nix/profiles/system"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        return _do(arguments)
    except (SwitchproofError, OSError) as error:
        _say(str(error))
        return ExitCode.USAGE if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        _say("Interrupted. Unfinished work was removed.")
        return 130


def _do(arguments: argparse.Namespace) -> int:
    preflight.require()
    match arguments.command:
        case "up":
            return _up(arguments)
        case "status":
            return _status()
        case "ssh":
            return _ssh(arguments)
        case "logs":
            return _logs(arguments)
        case "console":
            return _console(arguments)
        case "break":
            return _break(arguments)
        case "mend":
            return _mend(arguments)
        case "ssm":
            return _ssm(arguments)
        case "down":
            return _down(arguments)
        case _:
            sys.stdout.write(f"{image.ensure(_say)}\n")
            return 0


def _up(arguments: argparse.Namespace) -> int:
    hosts = tuple(arguments.hosts.split(","))
    started = Lab.up(
        hosts,
        name=arguments.name,
        keep=True,
        shape=arguments.shape,
        runtime=arguments.runtime,
        suite=arguments.lab_suite,
        programs=look(arguments.lab_nixos_rebuild, arguments.lab_switch, arguments.lab_ssm_agent),
        progress=_say,
    )
    for host in started.hosts.values():
        sys.stdout.write(f"{host.name}  {host.address}  {host.hostname}\n")
    named = _named(arguments)
    _say(f"Next:  {PROGRAM} ssh{named} {hosts[0]}    {PROGRAM} status    {PROGRAM} down{named}")
    return 0


def _status() -> int:
    lab.clean()
    table = Table(
        "lab", "host", "address", "state", "up since (UTC)", "sandboxes", "generation", "current system", box=None
    )
    for written in state.every():
        kind = written.runtime if written.runtime == "netns" else f"{written.runtime} ({written.accelerator})"
        since = datetime.fromtimestamp(written.started, UTC).strftime("%Y-%m-%d %H:%M:%S")
        for host in Lab(written).hosts.values():
            running = "up" if host.running() else "off"
            system = _current_system(host).removeprefix("/nix/store/")
            table.add_row(written.name, host.name, host.address, running, since, kind, _generation(host), system)
    if table.row_count:
        Console(width=None if sys.stdout.isatty() else 200).print(table)
    else:
        _say(f"No lab is up: start one with `{PROGRAM} up`.")
    return 0


def _ssh(arguments: argparse.Namespace) -> int:
    attached = Lab.attach(arguments.name)
    host = _host(attached, arguments.host)
    options = {
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(attached.known_hosts),
    }
    command = ["ssh", "-F", "none", "-i", str(host.identity_file), "-p", str(host.port)]
    command += [f"-o{option}={value}" for option, value in options.items()]
    command += [f"{host.user}@{host.address}", *arguments.remote]
    os.execvp("ssh", command)  # noqa: S606 - ssh replaces this process


def _logs(arguments: argparse.Namespace) -> int:
    host = _host(Lab.attach(arguments.name), arguments.host)
    unit = ["--unit", arguments.unit] if arguments.unit else []
    try:
        done = host.run(["journalctl", "--boot", "--no-pager", "--quiet", *unit], timeout_s=30)
    except LabError as error:
        _say(f"{error} This is its console:")
    else:
        if done.returncode == 0:
            if arguments.unit and not done.stdout:
                _require_unit(host, arguments.unit)
            sys.stdout.write(done.stdout)
            return 0
        _say(f"{done.stderr.strip()} This is the console:")
    sys.stdout.write(plain(host.console.read_text("utf-8", errors="replace")))
    return 0


def _require_unit(host: LabHost, unit: str) -> None:
    """Refuse a unit that the host does not have; a unit without log lines gets another message.

    Raises:
        LabMisused: The host knows no such unit, and has no log of it.
    """
    known = host.run(["systemctl", "show", "--property=LoadState", "--value", "--", unit], timeout_s=30)
    if known.stdout.strip() in {"", "not-found", "bad-setting"}:
        raise LabMisused(f"Host {host.name} has no unit {unit!r}, and no log of such a unit since it started.")
    _say(f"{unit} of host {host.name} has not logged anything since the host started.")


def _console(arguments: argparse.Namespace) -> int:
    host = _host(Lab.attach(arguments.name), arguments.host)
    follow = ["--follow"] if sys.stdout.isatty() else []
    journal = ["journalctl", "--quiet", "--no-pager", "--no-hostname", "--output=short-precise", *follow]
    journal += [f"--lines={arguments.lines}"]
    if host.shape == "aws":
        inside = ["nixos-container", "run", f"sandbox-{arguments.unit}", "--"]
        command = host.inside([*inside, *journal, "_SYSTEMD_UNIT=sandbox.service"])
    else:
        command = host.inside([*journal, f"_SYSTEMD_UNIT=cloud-hypervisor@{arguments.unit}.service"])
    os.execvpe(command[0], command, ENVIRONMENT)  # noqa: S606 - Control-C ends it


def _break(arguments: argparse.Namespace) -> int:
    host = _host(Lab.attach(arguments.name), arguments.host)
    fault = find(arguments.fault, host.shape)
    break_host(host, fault.name, arguments.unit)
    named = _named(arguments)
    _say(f"{arguments.unit} of {arguments.host}: {fault.about}.")
    _say(f"A deploy or an audit should say: {fault.expected_report}.")
    _say(
        f"Next:  {PROGRAM} console{named} {arguments.host} {arguments.unit}    {PROGRAM} mend{named} {arguments.host}"
    )
    return 0


def _mend(arguments: argparse.Namespace) -> int:
    mend_host(_host(Lab.attach(arguments.name), arguments.host))
    _say(f"All faults on {arguments.host} are undone; both sandboxes answer.")
    return 0


def _ssm(arguments: argparse.Namespace) -> int:
    """Serve SSM until interrupted; the output lets a shell deploy through it as to AWS."""
    require("aws", "switchproof lab ssm")
    from switchproof.deploy.providers.lab.ssm.endpoint import SsmEndpoint

    attached = Lab.attach(arguments.name)
    _require_aws(attached)
    _require_stand_in(attached, arguments.fault)
    host = _host(attached, arguments.host or next(iter(attached.hosts)))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for each in attached.hosts.values():
        _give_checkout(each)
    with contextlib.suppress(KeyboardInterrupt), SsmEndpoint.serve(attached, port=arguments.port) as endpoint:
        for fault in arguments.fault:
            endpoint.faults.plan(fault)
        endpoint.set_online(host.name, online=not arguments.offline)
        values = endpoint.environment | {
            "DEPLOY_INSTANCE_ID": endpoint.instance_ids[host.name],
            "FLAKE_ATTR": host.attr,
        }
        _keep_private(sys.stdout.fileno())
        lines = [f"unset {' '.join(endpoint.misleading)}"]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()
        for name, instance in endpoint.instance_ids.items():
            _say(f"{name} is {instance}.")
        _say(
            "Serving until Control-C. The lines above, in a shell, let `just deploy-aws-ssm main` deploy to the lab."
        )
        threading.Event().wait()
    return 0


def _require_aws(attached: Lab) -> None:
    """Refuse a lab whose hosts could never be healthy in a deploy through SSM."""
    if attached.state.shape != "aws":
        other = f"{attached.name}-aws"[:24]
        raise LabMisused(
            f"Lab {attached.name!r} has hosts of the shape {attached.state.shape}; SSM is for hosts of the "
            f"shape aws. Start some: `{PROGRAM} up --shape=aws --name {other}`, then `{PROGRAM} ssm --name {other}`."
        )


def _require_stand_in(attached: Lab, faults: Sequence[Fault]) -> None:
    """Refuse a fault that cannot happen to the lab's real agent."""
    from switchproof.deploy.providers.lab.ssm.real_instance import UNKNOWN_TO_REAL

    for fault in faults:
        if attached.state.programs.ssm_agent is not None and fault in UNKNOWN_TO_REAL:
            raise LabMisused(
                f"--fault={fault}: only the stand-in for the agent has this fault, and lab {attached.name!r} has "
                "a real agent; start a lab without --lab-ssm-agent"
            )


def _keep_private(descriptor: int) -> None:
    """Make a file private before a secret is written to it."""
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.fchmod(descriptor, 0o600)


def _give_checkout(host: LabHost) -> None:
    """Give a host an instance's checkout, unless it has one; deploys fetch from its origin."""
    clone = f"[ -e {CHECKOUT} ] || git clone --quiet {Lab.repository_url} {CHECKOUT}"
    host.run(["sh", "-c", clone], timeout_s=30)


def _down(arguments: argparse.Namespace) -> int:
    lab.clean()
    wanted = [written for written in state.every() if arguments.all or written.name == arguments.name]
    for written in wanted:
        Lab(written).down()
        _say(f"Lab {written.name} is down.")
    if not wanted:
        _say("No lab is up." if arguments.all else f"No lab {arguments.name!r} is up.{state.others(arguments.name)}")
    return 0


def _host(attached: Lab, name: str) -> LabHost:
    if name not in attached.hosts:
        raise LabMisused(f"Lab {attached.name!r} has no host {name!r}; it has {', '.join(attached.hosts)}.")
    return attached.hosts[name]


def _named(arguments: argparse.Namespace) -> str:
    """Return the option with which the next command finds the same lab."""
    return "" if arguments.name == _default_name() else f" --name {arguments.name}"


def _current_system(host: LabHost) -> str:
    try:
        return host.run(["readlink", "--canonicalize", "/run/current-system"], timeout_s=10).stdout.strip()
    except LabError:
        return ""


def _generation(host: LabHost) -> str:
    try:
        # system-7-link; read from the disk, so that it is known even if the host is off.
        return (host.root / PROFILE.lstrip("/")).readlink().name.split("-")[1]
    except (OSError, IndexError):
        return ""


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=PROGRAM,
        description="Make real hosts on this machine to deploy to, each with its own systemd, SSH and Nix store.",
        epilog=f"Try: {PROGRAM} up, then {PROGRAM} ssh a -- readlink -f /run/current-system.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="start a lab and leave it running")
    _add_name(up)
    up.add_argument("--hosts", default="a,b", metavar="A,B", help="the hosts' names (default: a,b)")
    up.add_argument("--shape", choices=("ovh", "aws"), default="ovh", help="the shape of the hosts (default: ovh)")
    runtimes = "run the sandboxes as microVMs, or as processes in network namespaces (default: microvm)"
    up.add_argument("--runtime", choices=("microvm", "netns"), default="microvm", help=runtimes)

    suites = f"the release of Debian on the hosts (default: ${state.SUITE_VARIABLE}, or trixie)"
    up.add_argument("--lab-suite", choices=("trixie", "forky"), help=suites)
    rebuilds = "run a real nixos-rebuild: an executable, or the folder nixos_rebuild of nixos-rebuild-ng"
    up.add_argument("--lab-nixos-rebuild", metavar="PATH", help=rebuilds)
    up.add_argument("--lab-switch", metavar="PATH", help="run a real switch-to-configuration")
    up.add_argument("--lab-ssm-agent", metavar="DIR", help="run a real amazon-ssm-agent (--shape=aws)")

    commands.add_parser("status", help="show every lab's hosts and what they run")

    ssh = commands.add_parser("ssh", help="open a shell on a host, or run a command there")
    _add_name(ssh)
    ssh.add_argument("host", metavar="HOST")
    ssh.add_argument(
        "remote", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command to run instead of a shell"
    )

    logs = commands.add_parser("logs", help="show a host's journal, or its console if there is no journal")
    _add_name(logs)
    logs.add_argument("host", metavar="HOST")
    logs.add_argument("unit", nargs="?", metavar="UNIT", help="only this systemd unit")

    console = commands.add_parser("console", help="show and follow the console of a sandbox's guest")
    _add_name(console)
    console.add_argument("host", metavar="HOST")
    console.add_argument(
        "unit", nargs="?", choices=tuple(SANDBOXES), default="live", metavar="UNIT", help="live or dev"
    )
    console.add_argument(
        "--lines", type=int, default=40, metavar="N", help="how many earlier lines to show (default: 40)"
    )

    listed = "\n\n".join(
        f"Faults of hosts of the shape {shape}:\n"
        + "\n".join(f"  {fault.name:18} {fault.about}" for fault in faults_of(shape))
        for shape in ("ovh", "aws")
    )
    breaking = commands.add_parser(
        "break",
        help="break a sandbox of a host on purpose, until `mend`",
        description=f"Break a sandbox of a host on purpose, until `mend`.\n\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_name(breaking)
    breaking.add_argument("host", metavar="HOST")
    breaking.add_argument("fault", metavar="FAULT", help="a fault of the list above")
    breaking.add_argument(
        "unit", nargs="?", choices=tuple(SANDBOXES), default="live", metavar="UNIT", help="live (the default) or dev"
    )

    mend = commands.add_parser("mend", help="undo everything that `break` did to a host")
    _add_name(mend)
    mend.add_argument("host", metavar="HOST")

    ssm = commands.add_parser("ssm", help="serve SSM Run Command for a lab's hosts until interrupted")
    _add_name(ssm)
    ssm.add_argument("host", nargs="?", metavar="HOST", help="the host for DEPLOY_INSTANCE_ID (default: the first)")
    ssm.add_argument("--port", type=int, default=0, metavar="N", help="the port on loopback (default: any free one)")
    ssm.add_argument("--offline", action="store_true", help="make the host's agent unreachable")
    faults = "break the next command in this way; repeatable (docs/ssm-endpoint.md)"
    ssm.add_argument("--fault", type=Fault, choices=list(Fault), action="append", default=[], help=faults)

    down = commands.add_parser("down", help="remove a lab and everything that it created")
    _add_name(down)
    down.add_argument("--all", action="store_true", help="remove every lab of every user")

    commands.add_parser("image", help="build the hosts' image if it is missing, and print its path")
    return parser


def _add_name(parser: argparse.ArgumentParser) -> None:
    default = _default_name()
    described = f"which lab (default: {default}; ${state.VARIABLE} selects another)"
    parser.add_argument("--name", default=default, metavar="LAB", help=described)


def _default_name() -> str:
    """Return the lab that a session would use."""
    return os.environ.get(state.VARIABLE) or state.DEFAULT


if __name__ == "__main__":
    sys.exit(main())
