"""The function that follows each program, by the program's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from switchproof.deploy.paths.meaning import AWS_PROGRAMS, HOST_SCRIPT
from switchproof.deploy.paths.programs.aws import aws
from switchproof.deploy.paths.programs.builtins import change_folder, evaluate, source, trap
from switchproof.deploy.paths.programs.git import git
from switchproof.deploy.paths.programs.interpreters import other_interpreter
from switchproof.deploy.paths.programs.nix import (
    deploy_rs,
    nix,
    nix_channel,
    nix_env,
    nix_shell,
    nixos_rebuild,
    switch_to_configuration,
)
from switchproof.deploy.paths.programs.recipes import package_script, recipe_tool
from switchproof.deploy.paths.programs.ssh import cloud_ssh, copies, ssh, ssh_keyscan, ssh_to_many
from switchproof.deploy.paths.programs.switchproof import command, session, unseen_host_script
from switchproof.deploy.paths.programs.systemd import service, systemctl
from switchproof.deploy.paths.programs.tools import DEPLOYERS, UNREAD, deployer, unread
from switchproof.deploy.paths.programs.wrappers import find_exec, in_terminal, other_user

if TYPE_CHECKING:
    from switchproof.deploy.paths.call import Call
    from switchproof.deploy.paths.walk import Walker


HANDLERS: dict[str, Callable[[Walker, Call], None]] = {
    "ssh": ssh,
    "mosh": ssh,
    "pdsh": ssh_to_many,
    "clush": ssh_to_many,
    "scp": copies,
    "gcloud": cloud_ssh,
    "rsync": copies,
    "ssh-keyscan": ssh_keyscan,
    "git": git,
    "nixos-rebuild": nixos_rebuild,
    "nixos-rebuild-ng": nixos_rebuild,
    "switch-to-configuration": switch_to_configuration,
    "nix-channel": nix_channel,
    "nix-env": nix_env,
    "nix": nix,
    "nix-shell": nix_shell,
    "deploy": deploy_rs,
    "systemctl": systemctl,
    "service": service,
    "pytest": session,
    "switchproof": command,
    "py.test": session,
    "just": recipe_tool,
    "make": recipe_tool,
    "gmake": recipe_tool,
    "npm": package_script,
    "pnpm": package_script,
    "yarn": package_script,
    "trap": trap,
    "eval": evaluate,
    "source": source,
    ".": source,
    "cd": change_folder,
    "pushd": change_folder,
    "find": find_exec,
    "node": other_interpreter,
    "ruby": other_interpreter,
    "deno": other_interpreter,
    "bun": other_interpreter,
    "pwsh": other_interpreter,
    "screen": in_terminal,
    "tmux": in_terminal,
    "su": other_user,
    "runuser": other_user,
    HOST_SCRIPT: lambda walker, call: unseen_host_script(walker, call, call.name),
    **dict.fromkeys(UNREAD, unread),
    **dict.fromkeys(AWS_PROGRAMS, aws),
    **dict.fromkeys(DEPLOYERS, deployer),
}
