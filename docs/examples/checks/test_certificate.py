"""The certificate that users are shown lasts for a while yet."""

import datetime as dt

import pytest
from cryptography import x509
from testinfra.host import Host

from switchproof.checks.fixtures import Show
from switchproof.deploy.errors import Inconclusive

SITE = "https://127.0.0.1:8443/"
"""What the host serves, as the host itself reaches it."""

LEAST = dt.timedelta(days=14)

ASK = f"curl --silent --show-error --insecure --max-time 10 --output /dev/null --write-out '%{{certs}}' {SITE}"


@pytest.mark.audit
def test_the_certificate_lasts(host: Host, show: Show) -> None:
    """The certificate that is served lasts two weeks at least.

    It is asked of the server itself: a file that was renewed and never loaded helps nobody. Nothing that a deploy
    changes makes it older, so audits look at it and no deploy goes back for it.

    Try: see why the renewal failed (systemctl status 'acme-*'), then reload what serves the site.

    Severity: high
    """
    done = host.run(ASK)
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    if begin not in done.stdout:
        raise Inconclusive(f"{SITE} shows no certificate: {done.stderr.strip() or f'curl exits {done.rc}'}")
    first = done.stdout.partition(begin)[2].partition(end)[0]
    certificate = x509.load_pem_x509_certificate(f"{begin}{first}{end}\n".encode())
    left = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
    show(
        expected=f"{LEAST.days} days at least",
        seen=f"{left.days} days: {certificate.subject.rfc4514_string()}, until {certificate.not_valid_after_utc}",
        command=ASK,
    )
    assert left >= LEAST, f"the certificate of {SITE} ends in {left.days} days, at {certificate.not_valid_after_utc}"
