"""The files of a job description: comma-separated lists that belong together by position (protocol.md 2.2)."""

from __future__ import annotations

import re

import msgspec

from pilot.core.errors import BadOutputFileName, ConversionFailure, FileExists, NotSameLength, PilotError
from pilot.core.fields import Fields
from pilot.core.job import InputFile, OutputFile
from pilot.core.lfn import PATTERN_MARK, check_lfn, check_pattern, with_whole_patterns

_ARCHIVE = "zip://"
_STORAGE = re.compile(r"(\d+)(?:/(\d+))?")


def read_inputs(fields: Fields) -> tuple[InputFile, ...]:
    """The inputs in order; an LFN that comes twice in one scope is one input."""
    names = fields.names("inFiles")
    lists = {
        key: _parallel(fields, key, "inFiles", len(names))
        for key in (
            *("scopeIn", "GUID", "fsize", "checksum", "realDatasetsIn", "ddmEndPointIn", "prodDBlockToken"),
            "inFilePaths",
        )
    }
    found: dict[str, InputFile] = {}
    direct = fields.names("bypassStaging")
    for at, name in enumerate(names):
        file = _input(fields, name, {key: values[at] for key, values in lists.items()})
        if file.lfn in direct or direct == ["*"]:
            file = msgspec.structs.replace(file, bypass=True)
        known = found.setdefault(file.lfn, file)
        if known.scope != file.scope:
            wrong = f"inFiles: {file.lfn!r} comes from the scopes {known.scope!r} and {file.scope!r}"
            fields.slip("inFiles", FileExists(wrong))
    return tuple(found.values())


def _input(fields: Fields, name: str, values: dict[str, str]) -> InputFile:
    path = values["inFilePaths"]
    archive = name.startswith(_ARCHIVE)
    lfn = name.removeprefix(_ARCHIVE)
    if "://" in lfn:
        path, lfn = path or lfn, lfn.rpartition("/")[2]
    token = values["prodDBlockToken"]
    storage = _STORAGE.fullmatch(token)
    return InputFile(
        lfn=_checked(fields, "inFiles", lfn),
        scope=values["scopeIn"],
        guid=values["GUID"],
        size=_size(fields, lfn, values["fsize"]),
        checksum=values["checksum"],
        dataset=values["realDatasetsIn"],
        rse=values["ddmEndPointIn"],
        token=token,
        path=path,
        archive=archive,
        storage_id=int(storage[1]) if storage else None,
        path_convention=int(storage[2]) if storage and storage[2] else None,
    )


def _size(fields: Fields, lfn: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        wrong = f"fsize of {lfn!r} is {text!r}, expected bytes as digits: correct it in the list"
        fields.slip("fsize", ConversionFailure(wrong))
        return None
    return int(text)


def _checked(fields: Fields, key: str, lfn: str) -> str:
    try:
        return check_lfn(key, lfn)
    except PilotError as error:
        fields.slip(key, error)
        return lfn


def read_outputs(fields: Fields) -> tuple[OutputFile, ...]:
    """The declared outputs in order, without the log."""
    return tuple(file for file in _declared(fields) if file.lfn != fields.text("logFile"))


def log_file(fields: Fields) -> OutputFile | None:
    """The log archive, if one is wanted; where it is not in `outFiles` only its name, scope and GUID are known."""
    log = fields.text("logFile")
    if not log:
        return None
    declared = _declared(fields)
    bare = OutputFile(log, scope=fields.text("scopeLog"), guid=fields.text("logGUID"))
    return next((file for file in declared if file.lfn == log), bare)


def _declared(fields: Fields) -> list[OutputFile]:
    """Every entry of `outFiles`, the log among them."""
    names, log = with_whole_patterns(fields.names("outFiles")), fields.text("logFile")
    # Names first: a slip in one of them is told as such, not as the lengths that follow from it.
    patterns = [_pattern(fields, name) for name in names]
    if log:
        _checked(fields, "logFile", log)
    for name in sorted({name for name in names if names.count(name) > 1}):
        wrong = f"outFiles: {name!r} is named twice; every output needs a name of its own"
        fields.slip("outFiles", BadOutputFileName(wrong))
    many = len(names)
    scopes = _scopes(fields, names, log)
    datasets = _parallel(fields, "realDatasets", "outFiles", many)
    rses = _parallel(fields, "ddmEndPointOut", "outFiles", many)
    storages = _parallel(fields, "fileDestinationSE", "outFiles", many)
    tokens = _parallel(fields, "destinationDBlockToken", "outFiles", many)
    optional = set(fields.names("allowNoOutput"))
    classes, kept_back = _classes(fields, names), set(fields.names("noTransferOutput"))
    return [
        OutputFile(
            lfn=name,
            scope=scopes[at],
            guid=fields.text("logGUID") if name == log else "",
            dataset=datasets[at],
            rse=rses[at] or storages[at],
            token=tokens[at],
            optional=name in optional or name.removeprefix(PATTERN_MARK) in optional,
            pattern=patterns[at],
            output_class=classes.get(name, ""),
            transfer=name not in kept_back,
        )
        for at, name in enumerate(names)
    ]


def _pattern(fields: Fields, name: str) -> str:
    """The expression of an output's name, empty for a plain one, which is checked."""
    try:
        pattern = check_pattern("outFiles", name)
    except PilotError as error:
        fields.slip("outFiles", error)
        return ""
    if not pattern:
        _checked(fields, "outFiles", name)
    return pattern


def _classes(fields: Fields, names: list[str]) -> dict[str, str]:
    """The class of each output that has one: `pureOutput`, `intermediateOutput`; `noTransferOutput` needs one."""
    found: dict[str, str] = {}
    for key, kind in (("pureOutput", "pure"), ("intermediateOutput", "intermediate"), ("noTransferOutput", "")):
        for name in fields.names(key):
            if name not in names:
                fields.slip(key, ConversionFailure(f"{key}: {name!r} is not in outFiles"))
            if kind and name in found:
                fields.slip(key, ConversionFailure(f"{key}: {name!r} cannot be both pure and intermediate"))
            found[name] = kind or found.get(name, "pure")
    return found


def _scopes(fields: Fields, names: list[str], log: str) -> list[str]:
    """`scopeOut` is parallel to the outputs without the log; `scopeLog` goes in at the log's place."""
    scopes = fields.names("scopeOut")
    if log in names and len(scopes) == len(names) - 1:
        return [*scopes[: names.index(log)], fields.text("scopeLog"), *scopes[names.index(log) :]]
    if log in names and not scopes:
        return [fields.text("scopeLog") if name == log else "" for name in names]
    return _parallel(fields, "scopeOut", "outFiles", len(names))


def read_write_to_file(fields: Fields) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """`name:lfn,lfn^name2:lfn` as pairs of a name and its files."""
    pairs = []
    for item in filter(None, fields.text("writeToFile").split("^")):
        name, colon, files = item.partition(":")
        if not colon:
            wrong = f"writeToFile: {item[:80]!r} has no ':' between a name and its files"
            fields.slip("writeToFile", ConversionFailure(wrong))
            continue
        lfns = tuple(_checked(fields, "writeToFile", lfn.strip()) for lfn in files.split(",") if lfn.strip())
        pairs.append((_checked(fields, "writeToFile", name.strip()), lfns))
    return tuple(pairs)


def _parallel(fields: Fields, key: str, to: str, many: int) -> list[str]:
    """A list with one entry for each of `to`. A list that is not there at all means: nothing known of any."""
    entries = fields.names(key)
    if not entries or (len(entries) != many and not any(entries)):
        return [""] * many
    if len(entries) != many:
        wrong = f"{key} has {len(entries)} entries, {to} has {many}: the lists must go by position"
        fields.slip(key, NotSameLength(wrong))
        return [""] * many
    return entries
