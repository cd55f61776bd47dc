"""Every fault of the table, place by place."""

from typing import Final

from tests.faults import cloud, host, repository, runner, transport
from tests.faults.scene import Fault

FAULTS: Final[tuple[Fault, ...]] = (
    *host.FAULTS,
    *transport.FAULTS,
    *runner.FAULTS,
    *repository.FAULTS,
    *cloud.FAULTS,
)
