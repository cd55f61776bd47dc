"""Programs of the store path bridge: what is given, what is put in place, and what comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.host_functions import run

FRAGMENTS = ("files", "jobs", "contract", "system", "bridge")
STORE, NEW = f"/nix/store/{'a' * 32}-prog", f"/nix/store/{'b' * 32}-new"


@pytest.mark.parametrize(
    ("path", "good"),
    [
        (STORE, True),
        ("", True),
        ("/srv/prog", False),
        (f"{STORE}/bin/prog", False),
        (f"/nix/store/{'a' * 31}-prog", False),
        (f"{STORE} x", False),
        (f"/nix/store/../store/{'a' * 32}-x", False),
    ],
)
def test_only_a_store_path_is_taken(path: str, good: bool) -> None:
    """A path that is none is named before anything is touched; a program without one is left as it is."""
    values = {"SWITCHPROOF_BRIDGE": "prog\x1fbin/prog\x1f/opt/prog\x1fweb.service\x1f", "PROG_STORE_PATH": path}
    told = run("bridge_problem", *FRAGMENTS, values=values)
    assert told == ("" if good else f"'{path}', given for prog, is not a store path\n")


def test_units_inside_are_named_by_their_container_s_unit() -> None:
    """A job, which knows no endpoints, finds the container of each unit in the table that it is given."""
    values = {
        "SWITCHPROOF_ENDPOINTS": "\x1f".join(["live", "box/app.service", *[""] * 9, "container@box.service"]),
        "SWITCHPROOF_BRIDGE": "prog\x1fbin/prog\x1f/opt/prog\x1fbox/app.service\x1eweb.service\x1fpkgs#x",
        "PROG_STORE_PATH": STORE,
    }
    (row,) = run("bridge_table", *FRAGMENTS, values=values).splitlines()
    assert row.split("\x1f") == [
        "prog", STORE, "bin/prog", "/opt/prog", "container@box.service/app.service web.service", "pkgs#x"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("was", "kind"),
    [
        (":", "gone"),
        ("echo mine >at; chmod 640 at", "file mine 640"),
        ("ln -s /etc/passwd at", "link /etc/passwd"),
        ("ln -s nowhere at", "link nowhere"),
        (f"ln -s {STORE}/bin/prog at", f"link {STORE}/bin/prog"),
    ],
)
def test_what_was_there_comes_back(tmp_path: Path, was: str, kind: str) -> None:
    """Whatever stood where a program is installed, a file, a link or nothing, is there again after the way back."""
    text = f"""
      cd {tmp_path}
      BELONGS={tmp_path}/belongs
      sync() {{ :; }}
      invocation() {{ echo i; }}
      ran_before() {{ echo /nix/store/before; }}
      mkdir -p "$RUN_DIR/$JOB"
      {was}
      row=(prog {NEW} bin/prog {tmp_path}/at web.service)
      (IFS=$US; echo "${{row[*]}}") >"$RUN_DIR/$JOB/realised"
      install_programs /nix/store/new >/dev/null
      readlink at
      as_before && echo same || echo other
      bring_programs_back
      as_before && echo same || echo other
      if [ -L at ]; then echo "link $(readlink at)"; elif [ ! -e at ]; then echo gone; else
        echo "file $(cat at) $(stat -c %a at)"
      fi
    """
    assert run(text, *FRAGMENTS, folder=tmp_path).splitlines() == [
        f"{NEW}/bin/prog",
        "other",
        "same",
        kind,
    ]


@pytest.mark.parametrize(
    ("realise", "allowed", "build", "told"),
    [
        ("0", "false", "", "rc 0"),
        ("1", "false", "pkgs#x", "rc 1"),
        ("1", "true", "", "rc 1"),
        ("1", "true", "pkgs#x", "rc 0"),
        ("1", "true", "two", "rc 1"),
    ],
)
def test_a_path_that_cannot_be_had_fails_before_the_switch(
    tmp_path: Path, realise: str, allowed: str, build: str, told: str
) -> None:
    """The host builds a program only where that is allowed and its flake is known, and into one path."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "prog").touch(mode=0o755)
    text = f"""
      ROOTS={tmp_path}/roots NIX=(nix) ALLOW_HOST_BUILD_FALLBACK={allowed}
      mkdir -p "$RUN_DIR/$JOB"; echo build >"$RUN_DIR/$JOB/stage"
      nix-store() {{ return {realise}; }}
      nix() {{ echo {tmp_path}; [[ $* != *two* ]] || echo /other; }}
      row=(prog {tmp_path} bin/prog /opt/prog web.service '{build}')
      (IFS=$US; echo "${{row[*]}}") >"$RUN_DIR/$JOB/bridge"
      rc=0
      realise_programs >"$RUN_DIR/$JOB/log" || rc=$?
      echo "rc $rc"
    """
    assert run(text, *FRAGMENTS, folder=tmp_path) == f"{told}\n"


def test_services_that_two_systems_define_differently_are_found(tmp_path: Path) -> None:
    """Their file and their overrides count, all units of a template are meant, and what is the same is left out."""
    text = f"""
      cd {tmp_path}
      define() {{ mkdir -p "$1/etc/systemd/system/${{2%/*}}"; ln -sfn "$3" "$1/etc/systemd/system/$2"; }}
      for system in was is; do
        define $system ./same.service text
        define $system ./changed.service $system
        define $system ./of@.service $system
        define $system ./kept.service text
        define $system kept.service.d/overrides.conf $system
      done
      define was ./gone.service text
      define is ./new.service text
      redefined=()
      find_redefined was is
      printf '%s\\n' "${{redefined[@]}}" | sort
      redefined=()
      find_redefined was was
      echo "${{#redefined[@]}} of one system"
    """
    assert run(text, "bridge").splitlines() == [
        "changed.service",
        "gone.service",
        "kept.service",
        "new.service",
        "of@*.service",
        "0 of one system",
    ]
