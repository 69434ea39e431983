"""Object stores of queues (OS_ES, OS_LOGS): S3 with the keys that the server's key pair put into the environment."""

from __future__ import annotations

import msgspec

from pilot.lib.credentials import S3Keys
from pilot.plugins.copytools.base import Fault, ToolError
from pilot.plugins.copytools.s3 import S3
from pilot.plugins.copytools.s3_place import S3Place, server_keys


class ObjectStore(S3):
    """As `s3`, but the keys of the job server (`getKeyPair`), then `S3_ACCESS_KEY`, `S3_SECRET_KEY` and `S3_IS_SECURE`
    come before all other credentials.

    The endpoint is in the URL, or option `endpoint`.
    """

    def keys(self, place: S3Place, label: str) -> S3Keys:
        """The key pair of the job server, that of the environment, else what `s3` finds."""
        if (kept := server_keys(place, self.settings)) is not None:
            return kept
        words = self.settings.environment
        access, secret = words.get("S3_ACCESS_KEY", ""), words.get("S3_SECRET_KEY", "")
        if not access:
            return super().keys(place, label)
        if not secret:
            raise ToolError(Fault.CREDENTIAL, "S3_ACCESS_KEY without S3_SECRET_KEY")
        endpoint = place.endpoint or self.settings.options.get("objectstore", {}).get("endpoint", "")
        if words.get("S3_IS_SECURE", "").lower() in ("true", "1", "yes") and endpoint.startswith("http://"):
            endpoint = "https://" + endpoint.removeprefix("http://")
        keys = S3Keys(access, secret, endpoint=endpoint, origin="S3_ACCESS_KEY")
        return msgspec.structs.replace(keys, region=words.get("AWS_REGION", ""))
