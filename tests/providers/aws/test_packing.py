"""What is published is packed into the same bytes everywhere, and gzip unpacks it."""

from __future__ import annotations

import gzip
import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchproof.deploy.host.program import carried_script
from switchproof.deploy.providers.aws.packing import gzip_of

TEXT = "".join(f"line {n * n} says {n % 7 * 'again '}\n" for n in range(700)).encode()

EMPTY = "1f8b08000000000002ff05c081000000000090ff6b000000000000000000"
DIGEST = "7d190dffa41316725ea04203413da7756b5bd2dc3b2dfe6e0c5cc80db132ad6a"


@given(
    st.one_of(
        st.binary(),
        st.text("ab\n", max_size=3000).map(str.encode),
        st.binary(min_size=1).map(lambda each: each * 300),
    )
)
def test_gzip_unpacks_it(content: bytes) -> None:
    """Whatever is packed comes back whole, and checked."""
    assert gzip.decompress(gzip_of(content)) == content


@pytest.mark.parametrize(
    "content",
    [b"", b"a", bytes(2000), bytes(range(256)) * 9, TEXT, TEXT[:999] + bytes(range(256)) * 130 + TEXT[:999]],
)
def test_the_ends_of_the_format_are_met(content: bytes) -> None:
    """No byte, one symbol, the longest repetition, and places that lie farther back than the format reaches."""
    assert gzip.decompress(gzip_of(content)) == content


def test_its_bytes_are_the_same_everywhere() -> None:
    """These digests were made once, and hold on every Python and with every zlib."""
    assert gzip_of(b"").hex() == EMPTY
    assert hashlib.sha256(gzip_of(TEXT)).hexdigest() == DIGEST


def test_zlib_packs_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a zlib that packs nothing, the bytes are the same."""
    expected = gzip_of(TEXT)
    gzip_of.cache_clear()
    for name in ("compress", "compressobj"):
        monkeypatch.delattr(zlib, name)
    assert gzip_of(TEXT) == expected


def test_the_script_is_packed_better_than_by_zlib() -> None:
    """The SSM document has a limit: what is packed is a fortieth smaller than what zlib makes of it."""
    script = carried_script().encode()
    assert len(gzip_of(script)) <= 0.975 * len(gzip.compress(script, 9))
