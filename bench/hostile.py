"""Measures how the readers of hosts' answers cope with hostile text, beside benign text of the same size."""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.result import Bench, Given, Result, machine, when
from switchproof.deploy.errors import SwitchproofError
from switchproof.deploy.host.frame import parse
from switchproof.deploy.host.joblog import JobLog
from switchproof.deploy.paths.sources import Surveyor
from switchproof.deploy.providers.aws import carrier
from switchproof.deploy.record.journal import Journal
from switchproof.deploy.redact.redactor import Redactor

MIB = 2**20
NONCE = "0a1b2c3d4e5f6071"
_SECRETS = (("TOKEN", "tok-EN!tok-EN?"), ("OTHER", "x://x:!x://y"))
_LINE = "Nov 26 12:00:01 host nix[12]: copying path '/nix/store/abc-foo-1.2' from https://cache.example:443\n"

Work = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One input: seconds of processor time and mebibytes of memory, for a benign and for a hostile one."""

    what: str
    benign_s: float
    hostile_s: float
    benign_mib: float
    hostile_mib: float


BENCH = Bench("hostile", __doc__, rounds=1)


def main(argv: Sequence[str] | None = None) -> int:
    """See `Bench.run`."""
    return BENCH.run(argv, _run)


def _run(given: Given) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        cases = itertools.islice(_cases(Path(folder)), 1 if given.smallest else None)
        rows = [Row(what, *_measure(given.rounds, benign, hostile)) for what, benign, hostile in cases]
    numbers = {f"{row.what}: processor": row.hostile_s for row in rows}
    return Result(_render(rows, given.rounds), numbers | {f"{row.what}: memory": row.hostile_mib for row in rows})


def _cases(folder: Path) -> Iterator[tuple[str, Work, Work]]:
    redact = Redactor(_SECRETS)
    log = _LINE * (MIB // len(_LINE))
    for piece in (":", "--", "--a", "-", "-eyJabc", "key='", "%3a%2f%2f:"):
        text = piece * (MIB // len(piece))
        yield f"redaction: 1 MiB of `{piece}`", _work(redact, log), _work(redact, text)
    frame = _frame(_section("log", (_LINE * 20_000).encode()))
    opening = f"SWITCHPROOF/1 {NONCE} observe 9 {'0' * 64}\n".encode()
    nested = opening * (len(frame) // len(opening)) + f"SWITCHPROOF/1 {NONCE} end\n".encode()
    yield "frame: openings within openings", _work(_parse, frame), _work(_parse, nested)
    crumbs = b"".join(_section(f"a{number}", b"") for number in range(50_000))
    yield (
        "frame: 50,000 parts",
        _work(_parse, _frame(_section("log", bytes(len(crumbs))))),
        _work(_parse, _frame(crumbs)),
    )
    bomb = gzip.compress(bytes(256 * MIB), 9)
    answer = gzip.compress(os.urandom(len(bomb)))
    yield "SSM: gzip of 256 MiB", _work(_unpack, answer), _work(_unpack, bomb)
    yield "log: 64 MiB in one line", _work(_follow, (_LINE * 80).encode()), _work(_follow, b"x" * 8000)
    for name, text in {"a": "ship:\n\techo x\n" * 1, "b": _dependent(17)}.items():
        (folder / name).mkdir()
        (folder / name / "Makefile").write_text(text)
    yield "survey: 3^17 dependencies", Surveyor(folder / "a").survey, Surveyor(folder / "b").survey
    texts = ["x" * 100] * 5000
    yield "evidence: 5,000 parts", _work(_keep, folder / "c", texts[:100]), _work(_keep, folder / "d", texts)


def _work(work: Callable[..., object], *given: object) -> Work:
    return lambda: work(*given)


def _measure(rounds: int, *works: Work) -> tuple[float, float, float, float]:
    (benign_s, benign_mib), (hostile_s, hostile_mib) = (
        map(statistics.median, zip(*(_apart(work) for _ in range(rounds)), strict=True)) for work in works
    )
    return benign_s, hostile_s, benign_mib, hostile_mib


def _apart(work: Work) -> tuple[float, float]:
    """Run a function in a process of its own; return its processor time and the growth of its memory."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        with suppress(SwitchproofError):
            work()
        spent = time.process_time() - began
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        os.write(writer, f"{spent} {grown / 1024}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        seconds, mebibytes = pipe.read().split()
    os.waitpid(child, 0)
    return float(seconds), float(mebibytes)


def _section(name: str, body: bytes) -> bytes:
    return b"%s %d\n%s\n" % (name.encode(), len(body), body)


def _frame(payload: bytes) -> bytes:
    digest = hashlib.sha256(payload).hexdigest()
    body = base64.encodebytes(gzip.compress(payload)).decode()
    return f"SWITCHPROOF/1 {NONCE} observe {len(payload)} {digest}\n{body}SWITCHPROOF/1 {NONCE} end\n".encode()


def _parse(output: bytes) -> object:
    return parse(output, nonce=NONCE, verb="observe")


def _unpack(packed: bytes) -> object:
    digest = hashlib.sha256(packed).hexdigest()
    return carrier.whole_output(carrier.Answer("answered", "0", len(packed), digest), packed)


def _follow(piece: bytes) -> object:
    log = JobLog(Redactor(_SECRETS), lambda _: None)
    for _ in range(64 * MIB // len(piece)):
        log.take(piece, log.offset + len(piece), last=False)
    return log.text()


def _dependent(depth: int) -> str:
    rows = [f"t{number}: u{number} v{number} w{number}" for number in range(depth)]
    rows += [f"{kind}{number}: t{number + 1}" for kind in "uvw" for number in range(depth)]
    return "\n".join([*rows, f"t{depth}:", "\techo x", ""])


def _keep(folder: Path, texts: list[str]) -> object:
    journal = Journal(folder, Redactor(_SECRETS))
    return [journal.keep("a", f"part{number}.txt", "", text) for number, text in enumerate(texts)]


def _render(rows: list[Row], rounds: int) -> str:
    lines = [
        f"- {when(rounds, 'of each, processor time')}",
        f"- {machine()}",
        "",
        "| input | benign | hostile | ratio | memory, benign | memory, hostile |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = row.hostile_s / max(row.benign_s, 0.01)
        cells = (row.what, f"{row.benign_s:.2f} s", f"{row.hostile_s:.2f} s", f"{ratio:.1f}")
        lines.append(f"| {' | '.join(cells)} | {row.benign_mib:.0f} MiB | {row.hostile_mib:.0f} MiB |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
