"""Faults of the way to a host over SSH: names, addresses, servers, keys and logins."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.faults.scene import Fault, Scene, canonical, each, inconclusive, refused
from tests.providers.ways import make_key, public


def _reach(scene: Scene, ssh: str = "", **host: object) -> None:
    """Reach the host as any other one over SSH, at the address and with the keys that the target file gives."""
    assert scene.host is not None
    values: dict[str, object] = {
        "address": scene.host.address,
        "user": "root",
        "host_keys": [scene.host.host_key],
        **host,
    }
    lines = "".join(f"{name} = {_toml(value)}\n" for name, value in values.items())
    scene.provider = "ovh"
    scene.edit('provider = "lab"', 'provider = "ovh"')
    scene.edit('flake_attr = "choiros-a"\n', f'flake_attr = "choiros-a"\n{lines}')
    keys = f'identity_files = ["{scene.host.identity_file}"]\n' if "identity_files" not in ssh else ""
    agent = "" if "agent" in ssh else "agent = false\n"
    scene.append(f"\n[ssh]\n{keys}{agent}connect_timeout_s = 5.0\n{ssh}")
    scene.environ["SSH_AUTH_SOCK"] = None


def _toml(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return str(value) if isinstance(value, int) else f'"{value}"'


def _at(ssh: str = "", **host: object) -> Callable[[Scene], None]:
    return lambda scene: _reach(scene, ssh, **host)


def _link_down(scene: Scene) -> None:
    assert scene.host is not None
    link = scene.host._state.cable.interface

    def set_link(state: str) -> None:
        subprocess.run(["ip", "link", "set", link, state], check=True, timeout=30)

    _reach(scene)
    scene.undo.callback(lambda: set_link("up"))
    set_link("down")


def _no_sshd(scene: Scene) -> None:
    _reach(scene)
    scene.break_with("systemctl stop ssh.service", "systemctl start ssh.service")


def _server(says: bytes) -> Callable[[Scene], None]:
    def arrange(scene: Scene) -> None:
        port = scene.undo.enter_context(_listener(says))
        _reach(scene, address="127.0.0.1", port=port)

    return arrange


@contextmanager
def _listener(says: bytes) -> Iterator[int]:
    """A port of this machine that says something to each client, and no more."""
    over = threading.Event()

    def speak(client: socket.socket) -> None:
        with client:
            client.sendall(says)
            over.wait()

    def serve() -> None:
        while not over.is_set():
            try:
                client, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=speak, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        over.set()


def _other_host_key(scene: Scene) -> None:
    _reach(scene, host_keys=[public(make_key(scene.folder / "other"))])


def _unknown_host_key(scene: Scene) -> None:
    empty = scene.folder / "known_hosts"
    empty.touch()
    _reach(scene, f'known_hosts = "{empty}"\n', host_keys=[])


def _key(make: Callable[[Path], object]) -> Callable[[Scene], None]:
    def arrange(scene: Scene) -> None:
        path = scene.folder / "key"
        make(path)
        _reach(scene, f'identity_files = ["{path}"]\n')

    return arrange


def _no_key(path: Path) -> None:
    path.write_text("not a key\n", "utf-8")
    path.chmod(0o600)


def _open_key(path: Path) -> None:
    make_key(path)
    path.chmod(0o644)


def _locked_key(path: Path) -> None:
    make_key(path, passphrase="a secret")  # noqa: S106 - it locks nothing


def _config(text: str) -> Callable[[Scene], None]:
    def arrange(scene: Scene) -> None:
        path = scene.folder / "ssh_config"
        path.write_text(text, "utf-8")
        _reach(scene, f'config = "{path}"\n')

    return arrange


def _jump(scene: Scene) -> None:
    assert scene.host is not None
    key = scene.host.host_key
    _reach(scene, f'jump = {{ address = "{scene.host.address}", port = 2, user = "root", host_keys = ["{key}"] }}\n')


def _noisy_login(scene: Scene) -> None:
    _reach(scene)
    scene.break_with(
        "cp -a /root/.bashrc /root/.bashrc.kept; "
        "{ echo 'echo Welcome to this host, which greets everybody'; cat /root/.bashrc.kept; } >/root/.bashrc",
        "mv /root/.bashrc.kept /root/.bashrc",
    )


def _no_login(scene: Scene) -> None:
    _reach(scene)
    scene.break_with("usermod -s /usr/sbin/nologin root", "usermod -s /bin/bash root")


def _in_vain(name: str, arrange: Callable[[Scene], None]) -> Fault:
    return Fault("transport", name, arrange, each(inconclusive))


def _refused(name: str, arrange: Callable[[Scene], None]) -> Fault:
    return Fault("transport", name, arrange, each(refused))


FAULTS: Final = (
    _in_vain("the host's name does not resolve", _at(address="no-such-host.invalid")),
    _in_vain("the link to the host is down", _link_down),
    _in_vain("the SSH server is stopped", _no_sshd),
    _in_vain("nothing listens on the port", _at(port=2)),
    _in_vain("the server says nothing", _server(b"")),
    _in_vain("the server speaks HTTP", _server(b"HTTP/1.0 400 Bad Request\r\n\r\n")),
    _in_vain("the server says a banner and garbage", _server(b"SSH-2.0-odd\r\n" + b"\0" * 64)),
    _in_vain("the jump host refuses the connection", _jump),
    _refused("the host has another key than the pinned one", _other_host_key),
    _refused("no key of the host is pinned", _unknown_host_key),
    _refused("the file of the key to log in with is missing", _at('identity_files = ["/nowhere/key"]\n')),
    _in_vain("the key to log in with is not authorized", _key(make_key)),
    _in_vain("the key to log in with has a passphrase", _key(_locked_key)),
    _in_vain("others can read the key to log in with", _key(_open_key)),
    _in_vain("the file to log in with is not a key", _key(_no_key)),
    _in_vain("no key to log in with is given", _at("identity_files = []\n")),
    _in_vain("the SSH agent is gone", _at("identity_files = []\nagent = true\n")),
    _in_vain("the host does not let the user in", _at(user="nobody")),
    _in_vain("the user's login shell is nologin", _no_login),
    _refused("the ssh_config is missing", _at('config = "/nowhere/ssh_config"\n')),
    _refused("the ssh_config has an unknown directive", _config("Host *\n  NoSuchDirective yes\n")),
    _refused("the ssh_config has a `ProxyCommand`, which is not supported", _config("ProxyCommand nc %h %p\n")),
    Fault("transport", "the login shell prints a greeting", _noisy_login, each(canonical)),
)
