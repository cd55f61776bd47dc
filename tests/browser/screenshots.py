"""Makes the pictures in `docs/`, of real deploys to lab hosts: `python -m tests.browser.screenshots`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.browser.view import view

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LONGEST_S = 600.0

RUNS = (
    ("report-canonical", ["--sha=main"], 0),
    ("report-failed", ["--sha=broken/dev-workload-dead", "--host=b"], 1),
    ("", ["--audit"], 0),
)
"""Each run: its picture, its options and the exit code that it must have."""

# Whose machine made the pictures is nobody's business.
_AS_SOMEBODY = ["unshare", "--uts", "sh", "-c", 'hostname build-7 && exec "$@"', "sh"]


def main() -> int:
    """Deploy, and take a picture of the top of each report, and of the list of runs."""
    lab = f"pictures-{os.getpid()}"
    control = [sys.executable, "-m", "switchproof.deploy.providers.lab"]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        chromium = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        subprocess.run([*control, "up", "--name", lab], cwd=ROOT, check=True, timeout=LONGEST_S)
        try:
            for picture, options, code in RUNS:
                _deploy(lab, Path(folder), options, code)
                if picture:
                    _take(browser, Path(folder) / "latest" / "report.html", picture, 900)
            _take(browser, Path(folder) / "index.html", "index", 1040)
        finally:
            subprocess.run([*control, "down", "--name", lab], cwd=ROOT, check=True, timeout=LONGEST_S)
        browser.close()
    return 0


def _deploy(lab: str, folder: Path, options: list[str], code: int) -> None:
    command = [sys.executable, "-m", "pytest", "--provider=lab", f"--report-dir={folder}", *options]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("CI", "GITHUB", "GITLAB"))}
    environ = plain | {"SWITCHPROOF_LAB": lab}
    done = subprocess.run([*_AS_SOMEBODY, *command], cwd=ROOT, env=environ, check=False, timeout=LONGEST_S)
    if done.returncode != code:
        raise SystemExit(f"{' '.join(options)}: exit code {done.returncode} and not {code}; no picture is of use")


def _take(browser: Browser, page: Path, name: str, height: int) -> None:
    with view(browser, page) as seen:
        seen.page.set_viewport_size({"width": 1200, "height": height})
        seen.page.screenshot(path=DOCS / f"{name}.png")
    sys.stderr.write(f"docs/{name}.png\n")


if __name__ == "__main__":
    sys.exit(main())
