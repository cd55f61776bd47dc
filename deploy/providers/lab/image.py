"""Builds the image that all lab hosts share, once for each recipe, and keeps it in the cache."""

import os
import shlex
import shutil
import time
from collections.abc import Callable, Collection
from pathlib import Path

from switchproof.deploy.cache import cache_folder
from switchproof.deploy.providers.lab import folders, mounts, process, recipe, sample
from switchproof.deploy.providers.lab.errors import CommandFailedError, LabError
from switchproof.deploy.providers.lab.recipe import Recipe

BUILD_TIMEOUT_S = 900.0
SEED_TIMEOUT_S = 300.0
# An image of another recipe stays this long after its last use: somebody may be switching between branches.
KEEP_UNUSED_S = 3600.0

STANDARD = Recipe()

Progress = Callable[[str], None]


def path(kind: Recipe) -> Path:
    """Return where the image of a recipe is, or will be."""
    return cache_folder() / f"image-{kind.digest()[:12]}"


def ensure(progress: Progress, kind: Recipe = STANDARD) -> Path:
    """Return the image's root folder, building it when it is not there yet (about 45 s).

    Raises:
        LabError: It could not be built, or another process has been building it for too long.
    """
    image = path(kind)
    if not image.exists():
        with folders.locked("image", timeout_s=BUILD_TIMEOUT_S):
            _remove_unfinished()
            if not image.exists():
                try:
                    _build(image, kind, progress)
                finally:
                    _remove_unfinished()
    _used(image).touch()
    return image


def prune(in_use: Collection[str]) -> None:
    """Remove images of other recipes that no lab uses."""
    keep = {path(STANDARD).name, f"packages-{STANDARD.packages_digest()[:12]}", *in_use}
    for folder in [*cache_folder().glob("image-*"), *cache_folder().glob("packages-*")]:
        if not folder.is_dir() or folder.name in keep or folder.suffix:
            continue
        used = _used(folder)
        if used.exists() and time.time() - used.stat().st_mtime < KEEP_UNUSED_S:
            continue
        mounts.delete(folder)
        used.unlink(missing_ok=True)
        used.unlink(missing_ok=True)
        for known in cache_folder().glob(f"{folder.name}.kvm-*"):
            known.unlink()


def _build(image: Path, kind: Recipe, progress: Progress) -> None:
    started = time.monotonic()
    packages = _packages(kind, progress)
    progress("Preparing the image of the lab's hosts…")
    unfinished = image.with_name(f"{image.name}.unfinished")
    process.check(["cp", "--archive", "--reflink=auto", str(packages), str(unfinished)], timeout_s=BUILD_TIMEOUT_S)
    _finish(unfinished)
    for tree in kind.trees:
        copy_tree(tree, unfinished)
    _seed(unfinished)
    _nothing_to_update(unfinished)
    unfinished.rename(image)
    progress(f"The image is ready ({time.monotonic() - started:.0f} s).")


def _packages(kind: Recipe, progress: Progress) -> Path:
    """Return a folder with Debian and the packages in it, and nothing of ours yet."""
    folder = cache_folder() / f"packages-{kind.packages_digest()[:12]}"
    if not folder.exists():
        limit = f"{BUILD_TIMEOUT_S / 60:g} minutes"
        progress(f"Installing Debian {kind.suite} for the lab's hosts, once; it may take up to {limit}…")
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        sources = folder.with_suffix(".list")
        sources.write_text("\n".join(kind.sources) + "\n", "utf-8")
        options = ["--variant=minbase", "--mode=root", "--format=directory", "--quiet"]
        options.append(f"--include={','.join(kind.packages)}")
        # What is under development is not always signed anew in time.
        if kind.suite == "forky":
            options.append('--aptopt=Acquire::Check-Valid-Until "false"')
        options += [f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.NOT_UNPACKED]
        options.append(f'--customize-hook=bash {shlex.quote(str(recipe.HOOK))} "$1"')
        command = ["mmdebstrap", *options, kind.suite, str(unfinished), str(sources)]
        try:
            process.check(process.tied(command), timeout_s=BUILD_TIMEOUT_S)
        except CommandFailedError as error:
            raise LabError(
                f"Debian could not be installed for the lab; check that {recipe.ARCHIVE} can be reached.\n{error}"
            ) from error
        finally:
            sources.unlink()
        unfinished.rename(folder)
    _used(folder).touch()
    return folder


def _finish(root: Path) -> None:
    """Take out what every host has for itself, and what would slow its start."""
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    for name in ("hostname", "machine-id", "resolv.conf"):
        (root / "etc" / name).unlink(missing_ok=True)
        (root / "etc" / name).touch()
    for unit in recipe.MASKED_UNITS:
        link = root / "etc/systemd/system" / unit
        link.unlink(missing_ok=True)
        link.symlink_to("/dev/null")


def copy_tree(tree: Path, root: Path) -> None:
    """Copy our files into an image, never through a symbolic link that leads out of it.

    Raises:
        LabError: A folder in the image leads elsewhere.
    """
    real = root.resolve()
    for file in recipe.files(tree):
        target = root / file.relative_to(tree)
        target.parent.mkdir(parents=True, exist_ok=True)
        if real not in target.parent.resolve().parents and target.parent.resolve() != real:
            raise LabError(f"{file} is not copied, because its folder in the image leads out of it.")
        target.unlink(missing_ok=True)
        if file.is_symlink():
            target.symlink_to(file.readlink())
            continue
        shutil.copyfile(file, target)
        target.chmod(0o755 if recipe.is_executable(file) else 0o644)


def _seed(root: Path) -> None:
    """Give the image the system that every host starts with."""
    repository = root / "srv/sample.git"
    sample.build_repository(repository)
    script = 'mount --types proc proc "$1/proc" && mount --rbind /dev "$1/dev" && exec chroot "$1" "$2"'
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    process.check(
        process.tied(["sh", "-c", script, "seed", str(root), recipe.SEED]),
        timeout_s=SEED_TIMEOUT_S,
        env=environment,
    )
    # A host finds its own lab's repository mounted here.
    mounts.delete(repository)
    repository.mkdir()


def _nothing_to_update(root: Path) -> None:
    """Tell systemd that caches of /etc and /var are as new as /usr, or each boot would make them again."""
    changed = (root / "usr").stat().st_mtime_ns
    for folder in ("etc", "var"):
        mark = root / folder / ".updated"
        mark.touch()
        os.utime(mark, ns=(changed, changed))


def _remove_unfinished() -> None:
    for folder in cache_folder().glob("*.unfinished"):
        mounts.unmount_below(folder)
        mounts.delete(folder)


def _used(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.used")
