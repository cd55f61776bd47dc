"""Files that the script writes are there whole or not at all, and for root alone."""

from __future__ import annotations

from pathlib import Path

from tests.host_functions import run


def test_what_the_script_writes_is_for_root_alone(tmp_path: Path) -> None:
    """X-6: files and folders that it makes are closed to others, also by hand."""
    text = f"echo x >{tmp_path}/file; mkdir {tmp_path}/folder; stat -c %a {tmp_path}/f*"
    assert run(text).split() == ["600", "700"]


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    """Where the new text cannot be put on the disk, the earlier one stays."""
    text = """
      cd "$DIR"
      echo old >file
      sync() { return 1; }
      keep file new || echo "no: $(cat file)"
      sync() { :; }
      keep file new
      cat file
    """
    assert run(text, "files", values={"DIR": str(tmp_path)}) == "no: old\nnew\n"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_first_of_several_writers_wins(tmp_path: Path) -> None:
    """Who comes second is told so, and leaves nothing behind; nobody wins where nothing can be written."""
    text = """
      cd "$DIR"
      decide() { bash -c "$(declare -f keep_first); keep_first decided $1 && echo $1 >>won"; }
      for who in a b c d; do decide "$who" & done
      wait
      [ "$(cat won)" = "$(cat decided)" ] && echo one
      keep_first none/decided x || echo none
    """
    assert run(text, "files", values={"DIR": str(tmp_path)}) == "one\nnone\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decided", "won"]


def test_fields_and_sections_are_read_by_their_whole_name(tmp_path: Path) -> None:
    """A name that begins alike is another one, and a file that is not there says nothing."""
    (tmp_path / "fields").write_text("run r1\nruns 7\nwhy not confirmed in time\n")
    (tmp_path / "before").write_text("system.running 5\n/nix/store/a\nsystem.runningx 1\nb\n")
    text = f"""
      cd {tmp_path}
      field fields run; field fields why; field fields none; field gone run
      section before system.running; section before system.run; section gone x
    """
    assert run(text, "files").splitlines() == ["r1", "not confirmed in time", "/nix/store/a"]


def test_what_programs_write_for_everybody_is_for_everybody(tmp_path: Path) -> None:
    """Only the program itself is let write openly, as systemd would start it."""
    text = f"cd {tmp_path}; openly touch open; touch closed; stat -c %a open closed"
    assert run(text, "files").split() == ["644", "600"]


def test_a_private_folder_goes_with_the_script() -> None:
    """It is made once, for root alone, and is gone when the script ends."""
    text = 'make_scratch; one=$SCRATCH; make_scratch; [ "$one" = "$SCRATCH" ]; stat -c "%a %n" "$SCRATCH"'
    mode, path = run(text, "files").split()
    assert mode == "700"
    assert not Path(path).exists()
