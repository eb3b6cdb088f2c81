"""Giving to an instance what was read. What the instance does not take has a reason; that the
instance fails is raised as a Failure.
"""

from collections.abc import Iterator, Sequence

import httpx

from cli.client import Api, Json, detail_of, refusal, segment
from cli.genro.judge import Reason

# Answers that are about what was given, and not about the instance.
ABOUT_IT = (400, 404, 409, 413, 422)


class Giver:
    """Each method returns why something was not taken, or None."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def tenant(self, body: Json) -> Reason:
        reason = self._give("/tenant", body)
        if reason is None and "api_key_hash" not in body:
            # It had no key, and nobody was shown the one that was made.
            self._api.delete(f"/tenant/{segment(body['id'])}/api-key")
        return reason

    def suspend(self, tenant_id: str, batch_codes: Sequence[str]) -> None:
        for batch_code in batch_codes:
            self._api.post("/commands/suspend", tenant_id=tenant_id, batch_code=batch_code)

    def account(self, body: Json) -> Reason:
        return self._give("/account", body)

    def messages(self, bodies: Sequence[Json]) -> Iterator[Reason]:
        """Give messages of one tenant; say of each, in order."""
        answer = self._answer("/commands/add-messages", {"messages": list(bodies)})
        rejections = rejections_in(answer)
        if rejections is not None:
            yield from (rejections.get(body["id"]) for body in bodies)
        elif len(bodies) == 1:
            yield detail_of(answer)
        else:
            # All were refused for what one of them has.
            for body in bodies:
                yield from self.messages([body])

    def _give(self, path: str, body: Json) -> Reason:
        answer = self._answer(path, body)
        return None if answer.is_success else detail_of(answer)

    def _answer(self, path: str, body: Json) -> httpx.Response:
        answer = self._api.attempt(path, body)
        if not answer.is_success and answer.status_code not in ABOUT_IT:
            raise refusal(answer)
        return answer


def rejections_in(answer: httpx.Response) -> dict[str, str] | None:
    """Return the reasons by id; None where the answer tells of none."""
    body = answer.json()
    found = body if answer.is_success else body.get("detail")
    if not isinstance(found, dict) or "rejected" not in found:
        return None
    return {each["id"]: each.get("detail") or each["reason"] for each in found["rejected"]}
