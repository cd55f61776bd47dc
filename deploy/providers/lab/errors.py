"""The lab's exceptions, with messages for people."""

from switchproof.deploy.errors import SwitchproofError, UsageError


class LabError(SwitchproofError):
    """The lab could not do what was requested."""


class LabMisused(LabError, UsageError):
    """There is no such lab, host, unit or fault."""


class LabUnavailable(LabError, UsageError):
    """This machine cannot run a lab."""

    refused = "the lab cannot start hosts here"


class HostFailedError(LabError):
    """A host did not start, or is not in the state that the call needs."""


class CommandFailedError(LabError):
    """A command on this machine failed or exceeded its time."""
