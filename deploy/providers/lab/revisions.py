"""The revisions of the lab's sample repository: the good releases of two nodes, and what can be wrong with one."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Clause = Literal["revision", "converge", "hypervisor", "runtime"]
FAILS_BESIDE: Final = "nightly-report"
"""The unit of broken/new-unit-failing that fails beside the contract's, without `.service`."""


class Edit(msgspec.Struct, frozen=True):
    """A replacement in one file: `old` must stand there exactly once. An empty `old` makes a new file."""

    path: str
    old: str
    new: str


class Revision(msgspec.Struct, frozen=True):
    """A commit that a branch or a tag of the sample repository names.

    Attributes:
        ref: the full name of the branch or tag.
        title: the commit's subject.
        edits: what the commit changes in its parent's files.
        parent: the ref of the commit that it is based on; `None` starts from the sample directory's files.
        clause: the clause of the contract that a deploy of this revision fails; `None` when it is a good one.
        says: a fragment of what the host or git says about the failure.
        annotated: whether the tag is an object of its own.
    """

    ref: str
    title: str
    edits: tuple[Edit, ...] = ()
    parent: str | None = "refs/heads/main"
    clause: Clause | None = None
    says: str = ""
    annotated: bool = False

    @property
    def name(self) -> str:
        """The name to ask for it by: the ref without refs/heads/ or refs/tags/."""
        return self.ref.split("/", 2)[2]


def _release(version: str, before: str = "v2") -> Edit:
    return Edit("settings.nix", f'version = "{before}";', f'version = "{version}";')


def _broken(slug: str, title: str, clause: Clause, says: str, *edits: Edit) -> Revision:
    return Revision(f"refs/heads/broken/{slug}", title, edits, clause=clause, says=says)


_GOOD: Final = (
    Revision("refs/tags/v1", "Serve ChoirOS on two nodes", parent=None, annotated=True),
    Revision("refs/heads/main", "Release v2", (_release("v2", "v1"),), "refs/tags/v1"),
    Revision("refs/tags/v3", "Release v3", (_release("v3"),)),
)


def _good(slug: str, title: str, *edits: Edit) -> Revision:
    return Revision(f"refs/tags/{slug}", title, (_release(f"v2-{slug}"), *edits))


def _restarting(*units: str) -> tuple[Edit, ...]:
    """What makes a switch to a revision, and the way back from it, restart units of the host, one after the other."""
    restarts = [f"/usr/bin/systemctl try-restart {unit}" for unit in units]
    begin = "\n    ".join(f"ExecStart={restart}" for restart in restarts)
    end = "\n    ".join(f"ExecStop=-{restart}" for restart in restarts)
    module = f"""\
# Starts the host's own services again when they come with another release of the system.
{{ ... }}:
{{
  wanted = [ "host-services.service" ];
  units."host-services.service" = ''
    [Unit]
    Description=ChoirOS host services

    [Service]
    Type=oneshot
    RemainAfterExit=yes
    {begin}
    {end}
  '';
}}
"""
    return (
        Edit("modules/host-services.nix", "", module),
        Edit(
            "system/default.nix",
            "    ../modules/hypervisor.nix\n",
            "    ../modules/hypervisor.nix\n    ../modules/host-services.nix\n",
        ),
    )


_UPDATING_THE_HOST: Final = (
    _good(
        "systemd-upgrade",
        "Update nixpkgs: systemd",
        Edit("system/default.nix", "DefaultTimeoutStopSec=90s", "DefaultTimeoutStopSec=60s"),
    ),
    # logind does not connect to another dbus by itself, and every login would wait for it.
    _good("dbus-restart", "Update nixpkgs: dbus", *_restarting("dbus.service", "systemd-logind.service")),
    _good(
        "journald-restart",
        "Update nixpkgs: journald and logind",
        *_restarting("systemd-journald.service", "systemd-logind.service"),
    ),
)

_SPECIALISATION = """\
# A specialisation for the time of maintenance.
{ lib, ... }:
{
  wanted = [ "maintenance.service" ];
  units."maintenance.service" = ''
    [Unit]
    Description=ChoirOS maintenance

    [Service]
    Type=oneshot
    RemainAfterExit=yes
    ExecStart=${lib.tool "busybox"}/bin/busybox ls %s
  '';
}
"""

_SPECIALISED: Final = (
    _good(
        "specialised",
        "Add specialisations for maintenance and repair",
        Edit("modules/maintenance.nix", "", _SPECIALISATION % "/var/lib/choiros"),
        Edit("modules/repair.nix", "", _SPECIALISATION % "/var/lib/choiros/backup"),
        Edit("system/default.nix", "revision, settings }:", "revision, settings, special ? null }:"),
        Edit(
            "system/default.nix",
            "(shared ++ shapes.${shape});",
            "(shared ++ shapes.${shape} ++ own);\n"
            '  own = if special == null then [ ] else [ (../modules + "/${special}.nix") ];\n'
            "  specialise = special: (import ./. { inherit name shape revision settings special; })"
            ".config.system.build.toplevel;\n"
            '  specialisations = if special == null then [ "maintenance" "repair" ] else [ ];',
        ),
        Edit(
            "system/default.nix",
            '    mkdir -p "$out/specialisation"\n',
            '    mkdir -p "$out/specialisation"\n'
            '    ${lib.each (map (one: "ln -s ${specialise one} $out/specialisation/${one}\\n") specialisations)}\n',
        ),
    ),
)

_FILE = """\
# The nodes without a flake. Their systems do not know which commit they are of.
let
  settings = import ./settings.nix;
  node =
    name:
    import ./system {
      inherit name settings;
      shape = "ovh";
      revision = "none";
    };
in
{
  hosts.a = node "choiros-a";
  hosts.b = node "choiros-b";
  hosts.unpinned = import <nixpkgs> { };
}
"""

_FROM_A_FILE: Final = (_good("from-file", "Describe the nodes without a flake, too", Edit("default.nix", "", _FILE)),)

_SERVES = 'echo "hypervisor'

_GETTING_WELL: Final = (
    _good(
        "warming-up",
        "Fill the cache of sessions first",
        Edit(
            "programs/hypervisor-start.sh", _SERVES, f"@busybox@/bin/busybox date +%s >/run/choiros-began\n{_SERVES}"
        ),
        Edit(
            "programs/hypervisor-answer.sh",
            "read_request\n",
            "read_request\n"
            "read -r began </run/choiros-began\n"
            "if [ $(($(@busybox@/bin/busybox date +%s) - began)) -lt 60 ]; then\n"
            "  answer '503 Service Unavailable' 'text/plain' 'the cache of sessions is being filled'\n"
            "  exit\n"
            "fi\n",
        ),
    ),
    _good(
        "three-crashes",
        "Require the session store",
        Edit(
            "programs/hypervisor-start.sh",
            _SERVES,
            "crashes=0\n"
            "[ ! -e /run/choiros-crashes ] || read -r crashes </run/choiros-crashes\n"
            'if [ "$crashes" -lt 3 ]; then\n'
            "  echo $((crashes + 1)) >/run/choiros-crashes\n"
            "  @busybox@/bin/busybox sleep 2\n"
            '  echo "the session store is not there yet" >&2\n'
            "  exit 1\n"
            f"fi\n{_SERVES}",
        ),
    ),
    _good(
        "slow-notify",
        "Tell systemd when the hypervisor is ready",
        Edit("modules/hypervisor.nix", "Type=exec\n", "Type=notify\n    NotifyAccess=all\n"),
        Edit(
            "programs/hypervisor-start.sh",
            _SERVES,
            f"@busybox@/bin/busybox sleep 50\n/usr/bin/systemd-notify --ready\n{_SERVES}",
        ),
    ),
)
"""What gets well within the time that an endpoint is waited for."""

_AMBIGUOUS: Final = (
    Revision("refs/heads/both", "Release v2-branch", (_release("v2-branch"),), clause="revision", says="ambiguous"),
    Revision("refs/tags/both", "Release v2-tag", (_release("v2-tag"),), clause="revision", says="ambiguous"),
)

_NOT_CONVERGING: Final = (
    _broken(
        "evaluation-error",
        "Name the system after its release",
        "converge",
        "attribute 'verison' missing",
        Edit("system/default.nix", "25.11.${settings.version}", "25.11.${settings.verison}"),
    ),
    _broken(
        "build-failure",
        "Compress the kernel",
        "converge",
        "zstd: cannot compress bzImage",
        Edit(
            "system/default.nix",
            'touch "$out/bzImage"\n',
            'touch "$out/bzImage"\n    echo "zstd: cannot compress bzImage" >&2\n    exit 1\n',
        ),
    ),
    _broken(
        "pre-switch-check",
        "Ask for a newer boot loader",
        "converge",
        "Pre-switch checks failed",
        Edit(
            "system/pre-switch-check.sh",
            "firmware() {\n  return 0\n",
            'firmware() {\n  echo "the boot loader is too old for this system" >&2\n  return 1\n',
        ),
    ),
    _broken(
        "inhibitor",
        "Move to dbus-broker",
        "converge",
        "dbus-implementation : dbus -> broker",
        Edit("system/default.nix", 'dbus-implementation = "dbus"', 'dbus-implementation = "broker"'),
    ),
    _broken(
        "incompatible-init",
        "Move to the next init interface",
        "converge",
        "won't take effect until you reboot the system",
        Edit("system/default.nix", '"systemd 2"', '"systemd 3"'),
    ),
    _broken(
        "activation-failure",
        "Keep state on the data volume",
        "converge",
        "Activation script snippet 'state' failed (1)",
        Edit("system/activate.sh", "/var/lib/choiros", "/proc/choiros"),
    ),
    _broken(
        "new-unit-failing",
        "Report every night",
        "converge",
        "the following units failed: nightly-report.service",
        Edit(
            "modules/nightly-report.nix",
            "",
            """\
# What happened during the day.
{ lib, ... }:
{
  wanted = [ "nightly-report.service" ];
  units."nightly-report.service" = ''
    [Unit]
    Description=ChoirOS nightly report

    [Service]
    Type=oneshot
    ${lib.logWord "nightly-report"}
    ExecStart=${lib.tool "busybox"}/bin/busybox ls /var/lib/choiros/report
  '';
}
""",
        ),
        Edit(
            "system/default.nix",
            "    ../modules/hypervisor.nix\n",
            "    ../modules/hypervisor.nix\n    ../modules/nightly-report.nix\n",
        ),
    ),
    _broken(
        "reload-failing",
        "Raise the quota",
        "converge",
        "Failed to reload choiros-quota.service",
        Edit("modules/quota.nix", "X-Reload-Triggers=80", "X-Reload-Triggers=95"),
        Edit("system/quota.sh", 'echo "quota applied"', 'echo "there is no quota of 95 %" >&2\nexit 1'),
    ),
    _broken(
        "user-unit-failing",
        "Greet users who log in",
        "converge",
        "Failed to start nixos-activation.service",
        Edit("system/user-activation.sh", "exit 0", 'echo "there is no greeting" >&2\nexit 1'),
    ),
    _broken(
        "stale-process",
        "Keep sessions over a release",
        "converge",
        "NOT restarting the following changed units: hypervisor.service",
        _release("v2-stale"),
        Edit("modules/hypervisor.nix", "RestartSec=1\n", "RestartSec=1\n    X-RestartIfChanged=false\n"),
    ),
    _broken(
        "hypervisor-not-starting",
        "Store sessions on disk",
        "hypervisor",
        "cannot open the session store",
        Edit(
            "programs/hypervisor-start.sh",
            'echo "hypervisor',
            # What a careless program logs, for the tests of redaction.
            'echo "session store: postgres://choiros:s3ssion-st0re@10.0.0.2/sessions, PASSWORD=s3ssion-st0re" >&2\n'
            "echo 'session store: Authorization: Bearer c2Vzc2lvbi1zdG9yZS10b2tlbg' >&2\n"
            'echo "cannot open the session store: /var/lib/choiros/sessions" >&2\nexit 1\necho "hypervisor',
        ),
    ),
)

_HYPERVISOR_AMISS: Final = (
    _broken(
        "hypervisor-500",
        "Lock the session store",
        "hypervisor",
        "the session store is locked",
        Edit(
            "programs/hypervisor-answer.sh",
            "answer '200 OK' 'text/html; charset=utf-8' \"$page\"",
            "answer '500 Internal Server Error' 'text/plain' 'the session store is locked'",
        ),
    ),
    _broken(
        "check-on-the-way-back",
        "Store sessions in format 2",
        "hypervisor",
        "the session store is of format 2",
        Edit("system/activate.sh", "echo 1 >", "echo 2 >"),
        Edit("system/pre-switch-check.sh", "[[ $format == 1 ]] ||", "[[ $format == [12] ]] ||"),
        Edit(
            "programs/hypervisor-answer.sh",
            "answer '200 OK' 'text/html; charset=utf-8' \"$page\"",
            "answer '500 Internal Server Error' 'text/plain' 'the session store is of format 2'",
        ),
    ),
    _broken(
        "hypervisor-redirect",
        "Welcome users before they log in",
        "hypervisor",
        "/welcome",
        Edit(
            "programs/hypervisor-answer.sh",
            "/login) answer",
            "/login) answer '303 See Other' 'text/plain' '' 'Location: /welcome' ;;\n/welcome) answer",
        ),
    ),
)

_RUNTIME_AMISS: Final = (
    _broken(
        "live-degraded",
        "Warm the model cache in live",
        "runtime",
        "degraded",
        Edit(
            "guest/answer.sh",
            "health=healthy\n",
            'health=healthy\n[ "$INSTANCE" = dev ] || health=degraded\n',
        ),
    ),
    _broken(
        "live-crash-loop",
        "Limit the memory of live",
        "runtime",
        "out of memory",
        Edit(
            "guest/start.sh",
            'if [ -e "$STATE/crash" ]; then\n',
            '[ "$INSTANCE" = dev ] || echo 12 >"$STATE/crash"\nif [ -e "$STATE/crash" ]; then\n',
        ),
    ),
    _broken(
        "live-old-image",
        "Keep the image of live over a release",
        "runtime",
        "the image of live is there already",
        _release("v2-image"),
        Edit(
            "machine/run.sh",
            '  target=$state/$($bb basename "$1")\n',
            '  target=$state/$($bb basename "$1")\n'
            '  if [ "$name" = live ] && [ -e "$target" ]; then\n'
            '    echo "the image of live is there already"\n'
            "    return\n"
            "  fi\n",
        ),
        Edit(
            "modules/containers.nix",
            "    SuccessExitStatus=133\n",
            "    SuccessExitStatus=133\n    X-RestartIfChanged=false\n",
        ),
    ),
    _broken(
        "dev-not-listening",
        "Move the forward of dev",
        "runtime",
        "18081",
        Edit("modules/sandboxes.nix", "PORT=8081", "PORT=18081"),
        Edit("modules/containers.nix", '(inside "dev" "8080")', '(inside "dev" "18081")'),
    ),
    _broken(
        "dev-workload-dead",
        "Wait for the volume of dev",
        "runtime",
        "waits for its volume",
        Edit(
            "guest/start.sh",
            "# Every l is",
            'if [ "$INSTANCE" = dev ]; then\n'
            '  echo "sandbox dev waits for its volume"\n'
            "  exec @busybox@/bin/busybox sleep 1000000\n"
            "fi\n"
            "# Every l is",
        ),
    ),
    _broken(
        "forwards-crossed",
        "Name the forwards' addresses",
        "runtime",
        '"instance_role":"dev"',
        Edit("modules/sandboxes.nix", "PORT=8080 GUEST_ADDRESS=10.0.0.100", "PORT=8080 GUEST_ADDRESS=10.0.0.101"),
        Edit("modules/sandboxes.nix", "PORT=8081 GUEST_ADDRESS=10.0.0.101", "PORT=8081 GUEST_ADDRESS=10.0.0.100"),
        Edit("modules/containers.nix", '"sandbox-live" (inside "live"', '"sandbox-live" (inside "dev"'),
        Edit("modules/containers.nix", '"sandbox-dev" (inside "dev"', '"sandbox-dev" (inside "live"'),
    ),
)

# A parent stands before the revisions that are based on it.
REVISIONS: Final = (
    *_GOOD,
    *_UPDATING_THE_HOST,
    *_GETTING_WELL,
    *_AMBIGUOUS,
    *_NOT_CONVERGING,
    *_HYPERVISOR_AMISS,
    *_RUNTIME_AMISS,
    *_SPECIALISED,
    *_FROM_A_FILE,
)
