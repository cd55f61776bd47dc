"""Which system runs, and what belongs to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.host_functions import run

PATH = f"/nix/store/{'a' * 32}-prog"


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (":", ["absent", ""]),
        (f"ln -s {PATH}/bin/p $AT", ["gone", f"{PATH}/bin/p"]),
        ("mkdir -p $DIR$STORE/bin; touch $DIR$STORE/bin/p; ln -s $DIR$STORE/bin/p $AT", ["store", ""]),
        ("touch $AT", ["other", ""]),
        ("ln -s /usr/bin/env $AT", ["other", "/usr/bin/env"]),
        ("ln -s nowhere $AT", ["other", "nowhere"]),
    ],
)
def test_what_stands_where_a_program_is_installed(made: str, told: list[str], tmp_path: Path) -> None:
    """A link into the store is told from one that leads nowhere, from a file and from nothing."""
    text = f"""
      DIR={tmp_path} AT={tmp_path}/at STORE={PATH} BELONGS={tmp_path}/belongs
      BRIDGE="prog${{US}}bin/p${{US}}$AT${{US}}u"
      {made}
      say_installed /nix/store/x-system
      echo "${{said[system.installed]}}"
    """
    replace = {"/nix/store/*/*": f"*{PATH}/*"} if told[0] == "store" else {}
    output = run(text, "answer", "system", replace=replace)
    name, state, target, belongs = output.rstrip("\n").split("\x1f")
    assert (name, state, belongs) == ("prog", told[0], "")
    assert target == told[1] or told[0] == "store"


def test_units_of_which_systemd_does_not_tell_are_not_called_well() -> None:
    """Where systemctl gave no answer, an empty list of failed units says that it is none."""
    text = """
      failing_before() { return 1; }
      exec {told}< <(failing_before && printf .)
      tell() { payload='' said=(); say_failed "$1"; echo "${said[units.failed]}|${said[units.problem]:-}"; }
      failed='' silent=yes; tell ''
      silent=''; tell "$told"
      failed=a.service; tell ''
    """
    silent = "|systemctl did not answer which units failed"
    assert run(text, "answer", "system").splitlines() == [silent, silent, "a.service|"]


def test_a_folder_of_links_to_a_system_is_that_system(tmp_path: Path) -> None:
    """A profile that wraps the running system, as deploy-rs makes one, counts only if every file is the system's."""
    text = f"""
      cd {tmp_path}
      mkdir -p top/bin wrapped/bin
      touch top/init top/activate top/bin/switch; chmod +x top/init
      for file in init activate bin/switch; do ln -s "$PWD/top/$file" "wrapped/$file"; done
      touch top/new
      PROFILE=$PWD/wrapped
      echo "<$(wrapped "$PWD/top" "$PROFILE")>"
      ln -s "$PWD/top/new" wrapped/new
      echo "<$(wrapped "$PWD/top" "$PROFILE")>"
      PROFILE=$PWD/top
      echo "<$(wrapped "$PWD/top" "$PROFILE")>"
    """
    assert run(text, "system").splitlines() == ["<>", f"<{tmp_path}/top>", "<>"]


def test_what_runs_is_told_by_its_name_among_the_specialisations_of_a_system(tmp_path: Path) -> None:
    """Another system, the system itself and a system without any are none of them."""
    text = f"""
      cd {tmp_path}
      mkdir -p base/specialisation quiet loud plain
      ln -s "$PWD/quiet" base/specialisation/quiet; ln -s "$PWD/loud" base/specialisation/loud
      ln -s base profile; ln -s loud running
      for each in running quiet base other ''; do
        find_special "$each" profile && echo "$special" || echo "none<$special>"
      done
      find_special running plain || echo "none<$special>"
    """
    assert run(text, "system").splitlines() == ["loud", "quiet", *(["none<>"] * 4)]


def test_what_waits_for_a_reboot_is_told_by_part(tmp_path: Path) -> None:
    """A kernel or initrd that was booted and is not the running system's waits; the same words of a kernel do not."""
    text = f"""
      cd {tmp_path}
      mkdir -p run/booted-system/kernel-modules/lib/modules/6.1 run/current-system/kernel-modules/lib/modules/6.2
      echo a >k1; echo b >k2
      ln -s "$PWD/k1" run/booted-system/kernel; ln -s "$PWD/k2" run/current-system/kernel
      ln -s "$PWD/k1" run/booted-system/initrd; ln -s "$PWD/k1" run/current-system/initrd
      echo quiet >run/booted-system/kernel-params; echo quiet >run/current-system/kernel-params
      say_reboot_parts
      echo "${{said[system.reboot]}}|${{said[system.kernels]}}"
    """
    replace = {
        f"{at}{path}": f"{at}{tmp_path}{path}"
        for at, path in (("=", "/run/booted-system"), (":-", "/run/current-system"))
    }
    assert run(text, "answer", "system", replace=replace) == "kernel kernel-modules |6.1 6.2\n"
    planned = (
        f'say_reboot_parts {tmp_path}/run/booted-system; echo "${{said[system.reboot]}}|${{said[system.kernels]}}"'
    )
    assert run(planned, "answer", "system", replace=replace) == "|6.1 6.1\n"
