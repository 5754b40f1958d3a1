"""Errors that a person reads: printed as one message, without a traceback."""


class CfbenchError(Exception):
    """Something the reader can mend; the message says what was expected, what came, and what to do."""


class SuiteError(CfbenchError):
    """A suite file or a command-line override is wrong; one line per finding, with file and position."""


class PluginError(CfbenchError):
    """A plugin cannot be imported, or what it offers breaks a rule."""


class DataError(CfbenchError):
    """A dataset's files or values are not what its adapter expects."""


class ChecksumError(DataError):
    """A file's checksum is not the one that was declared for it."""


class OfflineError(CfbenchError):
    """A download was needed and the network did not give it."""


class StoreError(CfbenchError):
    """The store or a run folder cannot be read or written."""


class CorruptArtifactError(StoreError):
    """A stored artifact is not what was written; `key` names it, and it has been moved aside."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(f"stored artifact {key} is damaged: {what}; it was moved aside and will be made again")
        self.key = key


class NotFiniteError(CfbenchError):
    """NaN or infinity turned up in data, in a loss or in a result."""


class UndefinedError(CfbenchError):
    """A number does not exist for this input (one class only, too few cases): reported as n/a with this reason."""
