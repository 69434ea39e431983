"""The command line that wrappers give the PanDA pilot (protocol.md 7.1), turned into this pilot's.

Options without a meaning here are taken, with a note; unknown ones are passed on, so that they are refused as usual.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_YES, _NO = ("yes", "true", "t", "y", "1"), ("no", "false", "f", "n", "0")


@dataclass(frozen=True)
class Old:
    """One option of the PanDA pilot.

    `becomes` is this pilot's option (none: no meaning any more, and `note` says why). `flag`: it takes no value.
    `means`: what a flag's `becomes` is set to, or how values are put otherwise; a value that is in neither column
    is passed on as it is.
    """

    names: tuple[str, ...]
    becomes: str = ""
    flag: bool = False
    means: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


def _yes_no(yes: str, no: str) -> dict[str, str]:
    return dict.fromkeys(_YES, yes) | dict.fromkeys(_NO, no)


_ON = {"": "true"}
OPTIONS: tuple[Old, ...] = (
    Old(("--pilot-user",), "--experiment"),
    Old(("-a", "--workdir"), "--workdir"),
    Old(("--cleanup",), "--cleanup", means=_yes_no("records", "none")),
    Old(("-i", "--versiontag"), "--version-tag"),
    Old(("-z", "--noserverupdate"), "--server-updates", flag=True, means={"": "false"}),
    Old(("--no-pilot-log",), flag=True, note="each job has a log of its own, the pilot's goes to stderr"),
    Old(("-d", "--debug"), "--log-level", flag=True, means={"": "debug"}),
    Old(("--redirect-stdout",), note="nothing is written to stdout while jobs run; redirect stderr for the log"),
    Old(("-j", "--joblabel"), "--label"),
    Old(("-v", "--getjobrequests"), "--getjob-requests"),
    Old(("-x", "--getjobfailures"), "--getjob-failures"),
    Old(("--country-group",), "--country-group"),
    Old(("--working-group",), "--working-group"),
    Old(("--allow-other-country",), "--other-country", means=_yes_no("true", "false")),
    Old(("--allow-same-user",), note="jobs of any task are taken; the server chooses"),
    Old(("--job-type",), "--job-type"),
    Old(("-w", "--workflow"), note="one way serves all kinds of job"),
    Old(("-l", "--lifetime"), "--lifetime"),
    Old(("-L", "--leasetime"), note="interactive leases are not served"),
    Old(("-q", "--queue"), "--queue"),
    Old(("-r", "--resource"), note="the resource follows from the queue"),
    Old(("-s", "--site"), note="the site follows from the queue"),
    Old(("--resource-type",), "--resource-type"),
    Old(("-b", "--nocvmfs"), "--cvmfs-check", flag=True, means={"": "off"}),
    Old(("--stageout-attempts",), "--stageout-attempts"),
    Old(("--harvester-workdir",), "--harvester-workdir"),
    Old(("--harvester-datadir",), "--harvester-datadir"),
    Old(("--harvester-eventstatusdump",), "--harvester-eventstatusdump"),
    Old(("--harvester-workerattributes",), "--harvester-workerattributes"),
    Old(("--harvester-submit-mode",), "--harvester-submit-mode"),
    Old(("--input-dir",), "--input-dir"),
    Old(("--input-destination-dir",), note="inputs go to the job's own directory"),
    Old(("--output-dir",), "--output-dir"),
    Old(("--hpc-resource",), note="what a machine can do is found out on it"),
    Old(("--hpc-mode",), note="how many jobs a worker gets follows from --slots"),
    Old(("--es-executor-type",), note="event jobs choose their executor by themselves"),
    Old(("--pod",), "--pod", flag=True, means=_ON),
    Old(("-t", "--noproxyverification"), "--proxy-check", flag=True, means={"": "false"}),
    Old(("-u", "--verifypayloadproxy"), flag=True, note="payloads get no proxy of the pilot, so none is checked"),
    Old(("-y", "--notokenrenewal"), "--token-renewal", flag=True, means={"": "false"}),
    Old(("--cacert",), "--cacert"),
    Old(("--capath",), "--capath"),
    Old(("--url",), "--url"),
    Old(("-p", "--port"), "--port"),
    Old(("--queuedata-url",), "--queuedata-url"),
    Old(("--storagedata-url",), "--storagedata-url"),
    Old(("-k", "--noworkerpilotstatusupdate"), "--worker-updates", flag=True, means={"": "false"}),
    Old(("--subscribe-to-msgsvc",), flag=True, note="jobs are asked for; no message broker is listened to"),
    Old(("--use-https",), note="the URL's scheme decides"),
    Old(("-g", "--baseurls"), "--base-urls"),
    Old(("--use-realtime-logging",), flag=True, note="`pilot tail --follow` shows logs while they grow"),
    Old(("--realtime-logging-server",), note="see --use-realtime-logging"),
    Old(("--realtime-logname",), note="see --use-realtime-logging"),
    Old(("--use-rucio-traces",), "--rucio-traces", means=_yes_no("true", "false")),
    Old(("--rucio-host",), "--rucio-host"),
)


def translate(argv: Sequence[str], known: Sequence[str]) -> tuple[list[str], list[str]]:
    """This pilot's command line for a wrapper's, and a note on every option that was dropped.

    `known` are the options that `pilot run` has: an old option whose successor is not among them is dropped, too.
    """
    table = {name: old for old in OPTIONS for name in old.names}
    words: list[str] = []
    notes: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*words, word, *rest], notes
        name, equals, value = word.partition("=") if word.startswith("--") else (word[:2], "", word[2:])
        old = table.get(name)
        if old is None or (not word.startswith("--") and old.flag and value):
            words.append(word)
            continue
        if not old.flag and not equals and not value:
            if not rest and old.becomes in known:
                return [*words, old.becomes], notes  # the command line says that its value is missing
            value = rest.pop(0) if rest else ""
        if old.flag and equals:
            words.append(word)
            continue
        if not old.becomes or old.becomes not in known:
            notes.append(f"{name} is taken but changes nothing: {old.note or 'there is nothing to set'}")
            continue
        words += [old.becomes, old.means.get(value.lower() if value else "", value)]
    return words, notes
