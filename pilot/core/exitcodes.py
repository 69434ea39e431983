"""With which code the pilot's own process ends (protocol.md 6.3): wrappers and Harvester read it."""

from __future__ import annotations

import signal
from enum import IntEnum

OK = 0


class ExitCode(IntEnum):
    """The codes by what they mean. 2 is a wrong command line."""

    OK = 0
    UNTRANSLATED = 1
    USAGE = 2
    SITE_OFFLINE = 64
    GENERAL = 65
    MKDIR = 66
    NO_FILE = 67
    PROXY = 68
    NO_SPACE = 69
    EXCEPTION = 70
    QUEUEDATA_NOT_DOWNLOADED = 71
    QUEUEDATA_INVALID = 72
    SOFTWARE_DIRECTORY = 73
    JSON_TIMEOUT = 74
    BLACK_HOLE = 75
    MIDDLEWARE_IMPORT = 76
    MISSING_INPUT = 77
    QUEUE_NOT_ACTIVE = 78
    SERVER_COMMUNICATION = 79
    PROXY_TOO_SHORT = 80
    MAX_TIME = 81
    NO_JOBS = 82
    QUEUE_NOT_ONLINE = 83


_OF_ERROR: dict[int, ExitCode] = {
    1008: ExitCode.GENERAL,
    1319: ExitCode.GENERAL,
    1199: ExitCode.MKDIR,
    1103: ExitCode.NO_FILE,
    1303: ExitCode.NO_FILE,
    1163: ExitCode.PROXY,
    1177: ExitCode.PROXY,
    1373: ExitCode.PROXY,
    1380: ExitCode.PROXY,
    1381: ExitCode.PROXY,
    1098: ExitCode.NO_SPACE,
    1301: ExitCode.EXCEPTION,
    1310: ExitCode.EXCEPTION,
    1116: ExitCode.QUEUEDATA_NOT_DOWNLOADED,
    1117: ExitCode.QUEUEDATA_INVALID,
    1341: ExitCode.QUEUEDATA_INVALID,
    1186: ExitCode.SOFTWARE_DIRECTORY,
    1330: ExitCode.JSON_TIMEOUT,
    1332: ExitCode.BLACK_HOLE,
    1342: ExitCode.MIDDLEWARE_IMPORT,
    1331: ExitCode.MISSING_INPUT,
    1359: ExitCode.QUEUE_NOT_ACTIVE,
    1318: ExitCode.SERVER_COMMUNICATION,
    1327: ExitCode.SERVER_COMMUNICATION,
    1370: ExitCode.PROXY_TOO_SHORT,
    1382: ExitCode.PROXY_TOO_SHORT,
    1213: ExitCode.MAX_TIME,
    1385: ExitCode.NO_JOBS,
    1386: ExitCode.QUEUE_NOT_ONLINE,
    1377: ExitCode.SITE_OFFLINE,
}
#: Errors that are signals: the code is 128 + the signal's number, as a shell gives it.
_SIGNALS = {
    1201: signal.SIGTERM,
    1202: signal.SIGQUIT,
    1203: signal.SIGSEGV,
    1204: signal.SIGXCPU,
    1206: signal.SIGBUS,
    1207: signal.SIGUSR1,
    1208: signal.SIGINT,
    1379: signal.SIGTERM,
    1200: signal.SIGKILL,
}


def exit_code_of(error: int) -> int:
    """The exit code for a pilot that ended because of the error with this number; 0 for none."""
    if error == 0:
        return ExitCode.OK
    number = abs(error)
    if number in _SIGNALS:
        return 128 + _SIGNALS[number]
    return _OF_ERROR.get(number, ExitCode.UNTRANSLATED)


def exit_code_of_signal(number: int) -> int:
    """The exit code for a pilot that was told to end by this signal."""
    return 128 + number


def meaning(code: int) -> str:
    """What an exit code says, in words."""
    if code > 128:
        try:
            return f"ended by {signal.Signals(code - 128).name}"
        except ValueError:
            return "unknown exit code"
    try:
        return ExitCode(code).name.lower().replace("_", " ")
    except ValueError:
        return "unknown exit code"
