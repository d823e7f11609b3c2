"""Every error the house raises, in one tree (drawn here in full).

ThunderlineError(code, status, exit)
├── InvalidInput      400  2   TooLarge 413, TimedOut 408, UnsupportedType 415; BadRange 416
├── NotAuthenticated  401  4
├── NotPermitted      403  4
├── NotFound          404  1
├── Conflict          409  5   StaleState, StillReferenced, Superseded, RoundFailed
├── GateRefused       409  3
├── IntegrityError    422  6   ArtifactError (UnsafePath, ManifestInvalid, ChecksumMismatch)
└── Unavailable       503  7   StoreFull 507
"""

from collections.abc import Mapping
from types import MappingProxyType


class ThunderlineError(Exception):
    """Root of the tree. ``code`` is wire contract and never changes."""

    code: str = "INTERNAL"
    status: int = 500
    exit: int = 1
    facts: Mapping[str, object] = MappingProxyType({})  # what a machine may want beside the sentence


class InvalidInput(ThunderlineError):
    """The caller's document is wrong; ``field`` says where."""

    code, status, exit = "INVALID_INPUT", 400, 2

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.facts = {"field": self.field}


class TooLarge(InvalidInput):
    """More bytes than the setting allows."""

    code, status = "PAYLOAD_TOO_LARGE", 413


class TimedOut(InvalidInput):
    """The caller sent nothing for too long."""

    code, status = "REQUEST_TIMEOUT", 408


class UnsupportedType(InvalidInput):
    """A content coding or type that is not taken."""

    code, status = "UNSUPPORTED_MEDIA_TYPE", 415


class BadRange(ThunderlineError):
    """A byte range outside the object; ``size_bytes`` is the object's whole size."""

    code, status, exit = "BAD_RANGE", 416, 2

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the range lies outside the object of {size_bytes} bytes; ask for less")
        self.size_bytes = size_bytes


class NotAuthenticated(ThunderlineError):
    """Nobody we know asks."""

    code, status, exit = "NOT_AUTHENTICATED", 401, 4


class NotPermitted(ThunderlineError):
    """Somebody we know asks for something they may not do."""

    code, status, exit = "NOT_PERMITTED", 403, 4


class NotFound(ThunderlineError):
    """There is no such thing in the caller's tenant."""

    code, status, exit = "NOT_FOUND", 404, 1


class Conflict(ThunderlineError):
    """The world is not as the request supposes."""

    code, status, exit = "CONFLICT", 409, 5


class StaleState(Conflict):
    """A reference moved since it was looked at; ``current`` is what it holds now."""

    code = "STALE_STATE"

    def __init__(self, problem: str, *, current: dict[str, object]) -> None:
        super().__init__(problem)
        self.current = current
        self.facts = {"current": self.current}


class StillReferenced(Conflict):
    """Something still refers to what is to be deleted; ``referrers`` names each."""

    code = "STILL_REFERENCED"

    def __init__(self, subject: str, referrers: list[dict[str, str]]) -> None:
        named = ", ".join(f"{one['kind']} {one['id']}" for one in referrers)
        super().__init__(f"{subject} is still referred to by {named}; move or delete these first")
        self.referrers = referrers
        self.facts = {"referrers": self.referrers}


class Superseded(Conflict):
    """Another process has taken the work over, or it was stopped; what this one still does counts no more."""

    code = "SUPERSEDED"


class RoundFailed(Conflict):
    """A federated round came to nothing: too few usable replies, or a strategy that gave no model."""

    code = "ROUND_FAILED"


class GateRefused(ThunderlineError):
    """A gate said no, or could not say yes; ``gates`` lists every gate's finding."""

    code, status, exit = "GATE_REFUSED", 409, 3

    def __init__(self, problem: str, *, gates: list[dict[str, object]]) -> None:
        super().__init__(problem)
        self.gates = gates
        self.facts = {"gates": self.gates}


class IntegrityError(ThunderlineError):
    """Bytes and their digest or signature disagree. Never retried, always logged."""

    code, status, exit = "INTEGRITY", 422, 6


class ArtifactError(IntegrityError):
    """An artifact is not what its record or manifest says."""

    code = "ARTIFACT"


class UnsafePath(ArtifactError):
    """A path inside an archive or manifest that could leave its directory."""

    code = "UNSAFE_PATH"


class ManifestInvalid(ArtifactError):
    """An archive or manifest whose form is wrong."""

    code = "MANIFEST_INVALID"


class ChecksumMismatch(ArtifactError):
    """The bytes read are not the bytes recorded."""

    code = "CHECKSUM_MISMATCH"

    def __init__(self, subject: str, *, recorded: str, read: str) -> None:
        super().__init__(
            f"{subject}: recorded sha256 {recorded}, read {read}; nothing was changed. "
            "Restore the object from a copy, or promote another artifact"
        )
        self.recorded, self.read = recorded, read
        self.facts = {"recorded": self.recorded, "read": self.read}


class Unavailable(ThunderlineError):
    """An outside part does not answer; the only error worth a retry."""

    code, status, exit = "UNAVAILABLE", 503, 7

    def __init__(self, part: str, problem: str, *, retry_after_s: int = 2) -> None:
        super().__init__(f"{part}: {problem}")
        self.part, self.retry_after_s = part, retry_after_s
        self.facts = {"part": self.part}


class StoreFull(Unavailable):
    """The object store has less free space than the guard keeps."""

    code, status, exit = "STORE_FULL", 507, 1
