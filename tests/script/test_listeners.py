"""Who listens."""

from __future__ import annotations

from tests.host_functions import run


def test_socket_that_systemd_holds_is_its_service_s() -> None:
    """A socket of systemd itself belongs to the service that it starts; one that starts another is a stranger's."""
    text = """
    declare -A value=(["a.service ControlGroup"]=/system.slice/a.service) said=()
    UNITS=(a.service) payload=
    find_unit() { unit=/init.scope; [ "$1" = 1 ] || unit=a.service; }
    ask_systemctl() {
      answered=$'Listen=127.0.0.1:80 (Stream)\\nListen=[::]:81 (Stream)\\nTriggers=a.service\\n\\n'
      answered+=$'Listen=127.0.0.1:82 (Stream)\\nTriggers=b.service\\n'
    }
    find_listeners <<<'0 9 127.0.0.1:80 0.0.0.0:* users:(("systemd",pid=1,fd=3),("x",pid=7,fd=3))
    0 9 *:81 *:* users:(("systemd",pid=1,fd=3))
    0 9 127.0.0.1:82 0.0.0.0:* users:(("systemd",pid=1,fd=3))
    0 9 127.0.0.1:83 0.0.0.0:*'
    echo "$rows"
    """
    assert run(text, "listeners").splitlines() == [
        "127.0.0.1:80 1 a.service",
        "127.0.0.1:80 7 a.service",
        "*:81 1 a.service",
        "127.0.0.1:82 1 /init.scope",
        "127.0.0.1:83 0 ?",
    ]
