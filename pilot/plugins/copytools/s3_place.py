"""Which service, bucket and key an S3 URL means."""

from __future__ import annotations

import msgspec

from pilot.core.errors import PilotError
from pilot.core.staging import ToolSettings
from pilot.lib.credentials import BadCredential, S3Keys, s3_keys
from pilot.plugins.copytools.base import Fault, ToolError


class S3Place(msgspec.Struct, frozen=True):
    """A place in an S3 service. `endpoint` of the URL itself, if it names one."""

    bucket: str
    key: str
    user: str = ""
    site: str = ""
    endpoint: str = ""


def parse_url(url: str) -> S3Place:
    """Understand an S3 URL. Raises `ToolError` for one without a bucket.

    `s3://user@site/bucket/key` (the site's endpoint is in the credential file), `s3://host:9000/bucket/key` and
    `s3://s3.some.org/bucket/key` (the endpoint is in the URL), `s3://bucket/key`. `s3s` asks for TLS.
    """
    scheme, _, rest = url.partition("://")
    head, _, path = rest.partition("/")
    user, at, host = head.rpartition("@")
    if at:
        bucket, _, key = path.lstrip("/").partition("/")
        place = S3Place(bucket, key, user=user.partition(":")[0], site=host)
    elif ":" in host or host.count(".") >= 2:
        bucket, _, key = path.lstrip("/").partition("/")
        place = S3Place(bucket, key, endpoint=f"{'https' if _secure(scheme, host) else 'http'}://{host}")
    else:
        place = S3Place(host, path)
    if not place.bucket:
        raise ToolError(Fault.UNSUPPORTED, f"{url} names no bucket")
    return place


def _secure(scheme: str, host: str) -> bool:
    """TLS if the scheme says so, or where no port says otherwise."""
    return scheme.lower() == "s3s" or ":" not in host


def server_keys(place: S3Place, settings: ToolSettings) -> S3Keys | None:
    """The keys that the job server keeps for a place, None if there are none. Raises `ToolError`."""
    if settings.object_keys is None or place.user:
        return None
    host = place.endpoint.partition("://")[2]
    try:
        keys: S3Keys | None = settings.object_keys("/".join(filter(None, (host, place.bucket, place.key))))
    except PilotError as error:
        raise ToolError(Fault.SERVICE if error.retry else Fault.CREDENTIAL, f"no key pair: {error}") from error
    if keys is not None and not keys.endpoint and place.endpoint:
        return msgspec.structs.replace(keys, endpoint=place.endpoint)
    return keys


def keys_for(place: S3Place, settings: ToolSettings, label: str) -> S3Keys:
    """The keys for a place: the job server's first. Raises `ToolError`."""
    if (kept := server_keys(place, settings)) is not None:
        return kept
    try:
        keys = s3_keys(settings.environment, place.user, place.site, label)
    except BadCredential as error:
        raise ToolError(Fault.CREDENTIAL, str(error)) from error
    if keys is None:
        raise ToolError(Fault.CREDENTIAL, "no S3 credentials: see S3CFG, PEGASUS_CREDENTIALS or AWS_ACCESS_KEY_ID")
    if keys.access and not keys.secret:
        raise ToolError(Fault.CREDENTIAL, f"{keys.origin} has an access key without its secret key")
    if place.endpoint:
        return msgspec.structs.replace(keys, endpoint=place.endpoint)
    return keys
