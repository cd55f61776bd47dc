"""What goes into a lab host's image, and the digest that tells one recipe from another."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from pathlib import Path

import msgspec

from switchproof.deploy.providers.lab.kinds import Suite

HERE = Path(__file__).parent
ARCHIVE = "http://deb.debian.org/debian"
SECURITY_ARCHIVE = "http://security.debian.org/debian-security"
PACKAGES = (
    "bash-static",
    "busybox-static",
    "ca-certificates",
    "curl",
    "dbus",
    "git",
    "gzip",
    "iproute2",
    "jq",
    "less",
    "nix-bin",
    "opendoas",
    "openssh-server",
    "polkitd",
    "procps",
    "qemu-system-x86",
    "socat",
    "sudo",
    "systemd",
    "systemd-container",
    "systemd-sysv",
    "util-linux",
    "zstd",
)
# What the real nixos-rebuild and switch-to-configuration run on, in their several languages, and what gives whoever
# logs in a systemd of their own, whose units a real switch reloads.
PACKAGES_OF_REAL_PROGRAMS = (
    "dbus-user-session",
    "libconfig-inifiles-perl",
    "libfile-slurp-perl",
    "libnet-dbus-perl",
    "libpam-systemd",
    "perl",
    "python3",
)
# Hosts need no words for people, and of QEMU what starts a microVM.
NOT_UNPACKED = (
    "/usr/bin/qemu-system-i386",
    "/usr/bin/qemu-system-x86_64-microvm",
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/usr/share/qemu/*.img",
    "/usr/share/qemu/*.rom",
    "/usr/share/qemu/*bios*",
    "/usr/share/qemu/keymaps/*",
    "/usr/share/qemu/s*",
    "/usr/share/qemu/u-boot*",
)
# What a lab host does not need, and what would start a little later than everything else.
MASKED_UNITS = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "ldconfig.service",
    "sshd-keygen.service",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-firstboot.service",
    "systemd-networkd-wait-online.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
)
# Later trees win. The first is how a Debian host becomes one of ours, the second what stands in for NixOS.
TREES = (HERE / "base", HERE / "system" / "rootfs")
TREE_OF_REAL_PROGRAMS = HERE / "real-programs"
SEED = "/usr/local/lib/switchproof-lab/seed-system"
BUILDER = HERE / "image.py"
# Runs when the packages are installed, with the folder that they are in.
HOOK = HERE / "install-guest-kernel.sh"
SAMPLE = (HERE / "sample", HERE / "sample.py", HERE / "revisions.py")


class Recipe(msgspec.Struct, frozen=True):
    """One kind of image.

    Attributes:
        suite: The release of Debian.
        real_programs: Whether hosts can run the real nixos-rebuild and switch-to-configuration.
    """

    suite: Suite = "trixie"
    real_programs: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the lines of apt's list; forky is the next release, which has no updates of its own yet."""
        lines = (f"deb {ARCHIVE} {self.suite} main",)
        if self.suite == "forky":
            return lines
        return (
            *lines,
            f"deb {ARCHIVE} {self.suite}-updates main",
            f"deb {SECURITY_ARCHIVE} {self.suite}-security main",
        )

    @property
    def packages(self) -> tuple[str, ...]:
        """Return the packages that are installed."""
        return (*PACKAGES, *(PACKAGES_OF_REAL_PROGRAMS if self.real_programs else ()))

    @property
    def trees(self) -> tuple[Path, ...]:
        """Return the folders that are copied over the packages; later ones win."""
        return (*TREES, *((TREE_OF_REAL_PROGRAMS,) if self.real_programs else ()))

    def packages_digest(self) -> str:
        """Return the digest of everything that decides what mmdebstrap makes."""
        hook = HOOK.read_text("utf-8")
        parts = (platform.machine(), self.suite, *self.sources, *self.packages, *NOT_UNPACKED, hook)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def digest(self) -> str:
        """Return the digest of the whole recipe: packages, our files, the sample repository and the builder."""
        total = hashlib.sha256(self.packages_digest().encode())
        total.update("\0".join(MASKED_UNITS).encode())
        for path in (BUILDER, *self.trees, *SAMPLE):
            for file in files(path):
                content = str(file.readlink()).encode() if file.is_symlink() else file.read_bytes()
                name = file.relative_to(HERE).as_posix().encode()
                mode = b"x" if not file.is_symlink() and is_executable(file) else b"-"
                total.update(b"\0".join((name, mode, hashlib.sha256(content).digest())))
        return total.hexdigest()


def files(path: Path) -> Iterable[Path]:
    """Return a file, or all files and symbolic links below a folder, always in the same order."""
    if not path.is_dir():
        return [path]
    below = (child for child in path.rglob("*") if child.is_symlink() or child.is_file())
    return sorted(child for child in below if "__pycache__" not in child.parts)


def is_executable(file: Path) -> bool:
    """Tell whether a file of ours is a program, which a checkout without modes would forget."""
    with file.open("rb") as opened:
        return opened.read(2) == b"#!" or file.parent.name in {"bin", "sbin"} or file.suffix == ".sh"
