"""What S3 services say, as faults and checksums."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from pilot.plugins.copytools.base import Fault, ToolError
from pilot.plugins.copytools.webwords import status_fault

_CODES = {
    "NoSuchKey": Fault.MISSING,
    "NoSuchBucket": Fault.NO_DIRECTORY,
    "NoSuchUpload": Fault.CUT,
    "AccessDenied": Fault.DENIED,
    "AllAccessDisabled": Fault.DENIED,
    "SignatureDoesNotMatch": Fault.DENIED,
    "InvalidAccessKeyId": Fault.CREDENTIAL,
    "ExpiredToken": Fault.EXPIRED,
    "RequestTimeTooSkewed": Fault.DENIED,
    "RequestExpired": Fault.DENIED,
    "InvalidToken": Fault.CREDENTIAL,
    "TokenRefreshRequired": Fault.EXPIRED,
    "InvalidObjectState": Fault.UNSUPPORTED,
    "RequestTimeout": Fault.SERVICE,
    "EntityTooLarge": Fault.UNSUPPORTED,
    "QuotaExceeded": Fault.NO_SPACE,
    "XMinioStorageFull": Fault.NO_SPACE,
    "SlowDown": Fault.SERVICE,
    "InternalError": Fault.SERVICE,
    "ServiceUnavailable": Fault.SERVICE,
    "BucketAlreadyOwnedByYou": Fault.EXISTS,
    "BucketAlreadyExists": Fault.EXISTS,
    "PreconditionFailed": Fault.EXISTS,
    "InvalidRequest": Fault.UNSUPPORTED,
    "NotImplemented": Fault.UNSUPPORTED,
    "BadDigest": Fault.DAMAGED,
    "404": Fault.MISSING,
    "403": Fault.DENIED,
}

_SKEWED = ": the clock of this machine is wrong, or that of the service"
#: What people can do about some of them.
_MORE = {
    "RequestTimeTooSkewed": _SKEWED,
    "RequestExpired": _SKEWED,
    "InvalidObjectState": ": it lies in an archive and must be restored first",
    "AuthorizationHeaderMalformed": ": is the region of the keys that of the bucket?",
    "PermanentRedirect": ": is the endpoint of the keys that of the bucket?",
}


def s3_fault(status: int, body: str, detail: str, put: bool) -> ToolError:
    """The fault of an answer: by the error code in its body if there is one, else by its status."""
    code = re.search(r"<Code>(\w+)</Code>", body)
    if code is None or code[1] not in _CODES:
        return status_fault(status, detail + (f" {code[1]}{_MORE.get(code[1], '')}" if code else ""), put)
    fault = _CODES[code[1]]
    if put and fault is Fault.DENIED:
        fault = Fault.REFUSED
    if not put:  # then it is not this machine that is full, and no directory of its that is not there
        fault = {Fault.NO_DIRECTORY: Fault.MISSING, Fault.NO_SPACE: Fault.SERVICE}.get(fault, fault)
    return ToolError(fault, f"{detail} {code[1]}{_MORE.get(code[1], '')}")


@contextmanager
def speaking(where: str) -> Iterator[None]:
    """Turn the errors of botocore into faults that name `where`."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, ValueError) as error:
        raise _client_fault(error, where) from error


def _client_fault(error: Exception, where: str) -> ToolError:
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        return ToolError(_CODES.get(code, Fault.SERVICE), f"{where}: {code or error}")
    if isinstance(error, (exceptions.NoCredentialsError, exceptions.PartialCredentialsError)):
        return ToolError(Fault.CREDENTIAL, f"{where}: {error}")
    if isinstance(error, exceptions.ProfileNotFound):
        return ToolError(Fault.CREDENTIAL, str(error))
    if isinstance(error, (exceptions.ReadTimeoutError, exceptions.ConnectTimeoutError)):
        return ToolError(Fault.TIMEOUT, f"{where}: no answer in time")
    if isinstance(error, exceptions.HTTPClientError):
        return ToolError(Fault.NETWORK, f"{where}: {error}")
    return ToolError(Fault.UNSUPPORTED, f"{where}: {' '.join(str(error).split())}")


def etag_md5(headers: Mapping[str, str]) -> str:
    """The md5 that an answer's ETag is for objects in one piece that are not encrypted by a key; else empty."""
    by_key = "kms" in headers.get("x-amz-server-side-encryption", "").lower()
    if by_key or "x-amz-server-side-encryption-customer-algorithm" in headers:
        return ""
    value = headers.get("etag", "").strip().strip('"').lower()
    return value if re.fullmatch(r"[0-9a-f]{32}", value) else ""
