"""Task runners: just, make and the package managers of JavaScript."""

from __future__ import annotations

import json
import posixpath
from typing import TYPE_CHECKING

from switchproof.deploy.paths.programs import on_host
from switchproof.deploy.paths.programs.shells import inline
from switchproof.deploy.paths.values import shown

if TYPE_CHECKING:
    from switchproof.deploy.paths.call import Call
    from switchproof.deploy.paths.walk import Walker


def recipe_tool(walker: Walker, call: Call) -> None:
    """Follow a recipe of just or make."""
    walker.recipe("make" if call.name == "gmake" else call.name, call)


def package_script(walker: Walker, call: Call) -> None:
    """Follow a script of package.json."""
    match call.plain:
        case ["run" | "run-script", name, *_]:
            pass
        case [("test" | "start" | "stop" | "restart") as name, *_]:
            pass
        case _:
            on_host.installs(walker, call)
            return
    path = posixpath.normpath(posixpath.join(call.scope.folder, "package.json"))
    try:
        package = json.loads(walker.files.text(path) or "{}")
        script = package.get("scripts", {}).get(name)
    except (ValueError, AttributeError):
        script = None
    if not isinstance(script, str):
        walker.trail.unknown(call.place, f"{call.name} {shown(name)}: package.json has no such script")
        return
    walker.files.followed.add(script_key(path, name))
    inline(walker, call, (script,))


def script_key(path: str, name: str) -> str:
    """Return how a followed script of a package.json is noted."""
    return f"{path}:{name}"
