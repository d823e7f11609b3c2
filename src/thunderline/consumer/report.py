"""Telling the control plane what a consumer runs; its absence never disturbs serving."""

from dataclasses import asdict, dataclass

import httpx

from thunderline.telemetry import EventLog

_LOG = EventLog("consumer.report")
_TIMEOUT = httpx.Timeout(5)


@dataclass(frozen=True, slots=True)
class Report:
    """What a consumer runs, and how it came to that."""

    reference: str
    watch: str  # ``events`` or ``polling``
    state: str  # ``starting``, ``serving`` or ``rejected``
    sha256: str | None
    seq: int | None
    reason: str | None


class Reporter:
    """Sends reports; gives up quietly, the next one says the same."""

    def __init__(self, *, url: str, api_key: str, consumer_id: str) -> None:
        self._url = f"{url.rstrip('/')}/api/consumers/{consumer_id}"
        self._client = httpx.Client(timeout=_TIMEOUT, headers={"X-API-Key": api_key}, trust_env=False)

    def send(self, report: Report) -> bool:
        """Send a report.

        Returns:
            Whether the control plane took it.
        """
        try:
            response = self._client.put(self._url, json=asdict(report))
        except (httpx.HTTPError, RuntimeError) as error:
            _LOG.warning("report_not_sent", problem=str(error))
            return False
        if response.is_error:
            _LOG.warning("report_refused", status=response.status_code, answer=response.text[:300])
        return not response.is_error

    def close(self) -> None:
        """Give the connection back."""
        self._client.close()
