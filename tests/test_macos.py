"""The command runs where what only Linux has is missing: names of modules, /proc and /sys."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from switchproof.deploy.record.record import read_record

# As Python's documentation has them: everything that is not available on macOS.
MACOS = r"""
import sys
sys.platform = "darwin"
import errno, fcntl, os, resource, select, signal, socket
ONLY_LINUX = {
    fcntl: "F_OFD_ F_ADD_SEALS F_GET_SEALS F_SEAL_ F_NOTIFY F_SETLEASE F_GETLEASE F_SETPIPE_SZ F_GETPIPE_SZ "
    "F_SETSIG",
    os: "posix_fa POSIX_FADV_ memfd_ MFD_ setns unshare CLONE_ pidfd_ P_PIDFD eventfd EFD_ splice SPLICE_ "
    "copy_file_range getrandom GRND_ fdatasync pipe2 preadv pwritev RWF_ sched_get sched_set sched_rr "
    "sched_param SCHED_BATCH SCHED_IDLE O_PATH O_TMPFILE O_DIRECT O_NOATIME O_LARGEFILE O_RSYNC listxattr "
    "getxattr setxattr removexattr XATTR_ getres setres waitid timerfd_ TFD_ sendfile login_tty",
    resource: "prlimit RLIMIT_OFILE RLIMIT_NICE RLIMIT_RT RLIMIT_SIGPENDING RLIMIT_MSGQUEUE RUSAGE_THREAD",
    select: "epoll EPOLL",
    signal: "SIGRT SIGPWR SIGSTKFLT SIGPOLL SIGCLD pidfd_ sigtimedwait sigwaitinfo",
    socket: "TCP_USER_TIMEOUT TCP_CORK TCP_QUICKACK TCP_DEFER_ACCEPT TCP_SYNCNT TCP_LINGER2 TCP_WINDOW_CLAMP "
    "TCP_INFO TCP_CONGESTION SOCK_CLOEXEC SOCK_NONBLOCK AF_NETLINK AF_PACKET AF_VSOCK AF_ALG AF_CAN "
    "AF_TIPC SO_PEER SO_PASS SO_BINDTODEVICE SO_DOMAIN SO_PRIORITY SO_MARK SO_PROTOCOL MSG_CMSG_CLOEXEC "
    "MSG_MORE MSG_ERRQUEUE MSG_CONFIRM",
}
for module, beginnings in ONLY_LINUX.items():
    for name in [name for name in dir(module) if name.startswith(tuple(beginnings.split()))]:
        delattr(module, name)

def linux(path):
    return isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(("/proc", "/sys/"))

def guarded(call):
    def without_linux(path, *rest, **named):
        if linux(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return call(path, *rest, **named)
    return without_linux

for name in ("stat", "lstat", "readlink", "listdir", "scandir", "access"):
    setattr(os, name, guarded(getattr(os, name)))

def hook(event, given):
    if event == "open" and linux(given[0]):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), given[0])

sys.addaudithook(hook)
from switchproof.command import run
run()
"""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
TARGET = """
transport = "ssh"

[repository]
url = "https://git.example/team/hosts.git"
checkout = "/var/lib/deploy/checkout"

[ssh]
user = "root"
agent = false
connect_timeout_s = 20.0

[[hosts]]
name = "a"
flake_attr = "a"
address = "127.0.0.1"
port = @PORT@
host_keys = ["@KEY@"]

[hypervisor]
absent = "each unit runs alone"

[runtime.web]
units = ["web.service"]
listen = "127.0.0.1:8080"
url = "http://127.0.0.1:8080/health"
"""


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as on macOS."""
    return subprocess.run(
        [sys.executable, "-c", MACOS, *words],
        cwd=folder,
        env=os.environ | {"HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def listener() -> Iterator[int]:
    """A machine that takes connections and speaks no SSH; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("words", [("audit",), ("plan", "--sha=main")], ids=lambda words: words[0])
def test_a_session_reports_what_it_saw(tmp_path: Path, words: tuple[str, ...]) -> None:
    """A session takes its room, connects, and leaves a whole report of a host that does not answer as SSH does."""
    (tmp_path / "deploy/targets").mkdir(parents=True)
    with listener() as port:
        text = TARGET.replace("@PORT@", str(port)).replace("@KEY@", KEY)
        (tmp_path / "deploy/targets/fleet.toml").write_text(text, encoding="utf-8")
        done = command(tmp_path, words[0], "--provider=fleet", *words[1:])
    assert done.returncode == 11, done.stdout
    assert "answers, but not as an SSH server" in done.stdout
    record = read_record(tmp_path / "reports/latest/record.json")
    assert (record.verdict, record.run.exit_code) == ("inconclusive", 11)
    assert (tmp_path / "reports/latest/report.html").is_file()
    assert command(tmp_path, "reports", "show", "reports/latest").returncode == 0
    assert command(tmp_path, "reports", "index").returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "shown"),
    [
        (("deploy", "--help"), 0, "usage: switchproof deploy"),
        (("deploy", "--provider=fleet"), 4, "--sha"),
        (("schema", "target"), 0, '"title"'),
        (("paths", "."), 11, "Verdict"),
        (
            ("lab", "up"),
            4,
            "The lab needs Linux, because it boots hosts as containers of its kernel (this is darwin).",
        ),
    ],
    ids=lambda each: "-".join(each) if isinstance(each, tuple) else "",
)
def test_every_tool_answers(tmp_path: Path, words: tuple[str, ...], code: int, shown: str) -> None:
    """Help, usage, schemas and the survey work; what needs Linux says so."""
    done = command(tmp_path, *words)
    assert (done.returncode, shown in done.stdout) == (code, True), done.stdout
