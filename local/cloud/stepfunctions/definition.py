"""Read state machine definitions from JSON or YAML, and refuse those with an unsupported part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from local.cloud.stepfunctions.integrations.catalogue import is_supported
from local.cloud.stepfunctions.jsonata_templates import check_syntax, is_expression

State = dict[str, Any]
Check = Callable[[Any], bool]


class InvalidDefinition(ValueError):
    """A state machine that the embedded cloud cannot run as written; the message lists all reasons."""


_STATE = {"Type", "Comment", "QueryLanguage"}
_FLOW = {"Next", "End"}
_RESULT = {"Output", "Assign"}
_ERRORS = {"Retry", "Catch"}
_FIELDS: dict[str, set[str]] = {
    "Task": _FLOW | _RESULT | _ERRORS | {"Resource", "Arguments", "TimeoutSeconds", "HeartbeatSeconds"},
    "Pass": _FLOW | _RESULT,
    "Choice": _RESULT | {"Choices", "Default"},
    "Wait": _FLOW | _RESULT | {"Seconds", "Timestamp"},
    "Succeed": {"Output"},
    "Fail": {"Error", "Cause"},
    "Parallel": _FLOW | _RESULT | _ERRORS | {"Branches", "Arguments"},
    "Map": _FLOW | _RESULT | _ERRORS | {"Items", "ItemSelector", "ItemProcessor", "MaxConcurrency"},
}
_DISTRIBUTED = {
    "ItemReader",
    "ItemBatcher",
    "ResultWriter",
    "ToleratedFailureCount",
    "ToleratedFailurePercentage",
    "Label",
}
_MACHINE = {"StartAt", "States", "Comment"}
_NESTED: dict[str, set[str]] = {
    "Retry": {
        "ErrorEquals",
        "IntervalSeconds",
        "MaxAttempts",
        "BackoffRate",
        "MaxDelaySeconds",
        "JitterStrategy",
        "Comment",
    },
    "Catch": {"ErrorEquals", "Next", "Output", "Assign", "Comment"},
    "Choices": {"Condition", "Next", "Output", "Assign", "Comment"},
    "ItemReader": {"Resource", "Arguments", "ReaderConfig"},
    "ReaderConfig": {"InputType", "MaxItems", "CSVHeaderLocation", "CSVHeaders", "CSVDelimiter"},
    "ItemBatcher": {"MaxItemsPerBatch", "MaxInputBytesPerBatch", "BatchInput"},
    "ResultWriter": {"Resource", "Arguments", "WriterConfig"},
    "WriterConfig": {"Transformation", "OutputType"},
    "ProcessorConfig": {"Mode", "ExecutionType"},
}


class _Loader(yaml.SafeLoader):
    """YAML without timestamps: a date in a state machine is a string."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_definition(text: str) -> dict[str, Any]:
    """Read a definition from JSON or YAML text; raises InvalidDefinition."""
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader with fewer types
    except yaml.YAMLError as error:
        raise InvalidDefinition(f"neither JSON nor YAML: {error}") from error
    if not isinstance(document, dict):
        raise InvalidDefinition(f"a definition must be an object, got {type(document).__name__}")
    return document


def check_definition(document: dict[str, Any]) -> None:
    """Raise InvalidDefinition unless every construct is known, complete and supported."""
    problems = _Problems()
    problems.unknown(document, _MACHINE | {"QueryLanguage", "TimeoutSeconds", "Version"}, "")
    if document.get("QueryLanguage") != "JSONata":
        problems.add("/QueryLanguage", "only JSONata is supported by the embedded cloud")
    if "TimeoutSeconds" in document and not _is_positive(document["TimeoutSeconds"]):
        problems.add("/TimeoutSeconds", "must be a positive whole number")
    _check_machine(document, "", problems)
    problems.extend(check_syntax(document.get("States"), "/States"))
    problems.raise_if_any()


class _Problems:
    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, path: str, reason: str) -> None:
        self._found.append(f"{path or '/'}: {reason}")

    def extend(self, found: list[str]) -> None:
        self._found.extend(found)

    def unknown(self, document: Any, allowed: set[str], path: str) -> None:
        if not isinstance(document, dict):
            self.add(path, "must be an object")
            return
        for name in sorted(set(document) - allowed):
            self.add(f"{path}/{name}", "not supported by the embedded cloud")

    def raise_if_any(self) -> None:
        if self._found:
            raise InvalidDefinition("; ".join(self._found))


def _check_machine(machine: dict[str, Any], path: str, problems: _Problems) -> None:
    states = machine.get("States")
    if not isinstance(states, dict) or not states:
        problems.add(f"{path}/States", "must be an object with at least one state")
        return
    if machine.get("StartAt") not in states:
        problems.add(f"{path}/StartAt", f"the state {machine.get('StartAt')!r} does not exist")
    for name, state in states.items():
        where = f"{path}/States/{name}"
        if not 1 <= len(name) <= 80:
            problems.add(where, "a state's name must have 1 to 80 characters")
        _check_state(state, where, states, problems)


def _check_state(state: Any, path: str, states: dict[str, Any], problems: _Problems) -> None:
    if not isinstance(state, dict) or state.get("Type") not in _FIELDS:
        problems.add(f"{path}/Type", f"must be one of {', '.join(_FIELDS)}")
        return
    kind = state["Type"]
    allowed = _STATE | _FIELDS[kind]
    if kind == "Map" and is_distributed(state):
        allowed = allowed | _DISTRIBUTED
    problems.unknown(state, allowed, path)
    if state.get("QueryLanguage", "JSONata") != "JSONata":
        problems.add(f"{path}/QueryLanguage", "only JSONata is supported by the embedded cloud")
    if _FLOW & _FIELDS[kind]:
        _check_flow(state, path, states, problems)
    for field in ("TimeoutSeconds", "HeartbeatSeconds", "Seconds", "MaxConcurrency"):
        if field in state and not (is_expression(state[field]) or _is_whole(state[field])):
            problems.add(f"{path}/{field}", f"must be a whole number or an expression, got {state[field]!r}")
    for field in ("Retry", "Catch", "Choices"):
        for position, entry in enumerate(state.get(field, [])):
            _check_entry(field, entry, f"{path}/{field}/{position}", states, problems)
    if kind in _CHECKS:
        _CHECKS[kind](state, path, states, problems)


def _check_flow(state: State, path: str, states: dict[str, Any], problems: _Problems) -> None:
    if ("Next" in state) == (state.get("End") is True):
        problems.add(path, "needs either Next or End: true")
    elif "Next" in state:
        _check_target(state["Next"], f"{path}/Next", states, problems)


def _check_target(target: Any, path: str, states: dict[str, Any], problems: _Problems) -> None:
    if target not in states:
        problems.add(path, f"the state {target!r} does not exist")


def _check_entry(field: str, entry: Any, path: str, states: dict[str, Any], problems: _Problems) -> None:
    problems.unknown(entry, _NESTED[field], path)
    if not isinstance(entry, dict):
        return
    if field != "Choices":
        names = entry.get("ErrorEquals")
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            problems.add(f"{path}/ErrorEquals", "must be a list of error names")
        elif {"States.ALL", "States.TaskFailed"} & set(names) and len(names) > 1 and "States.ALL" in names:
            problems.add(f"{path}/ErrorEquals", "States.ALL must appear alone")
    if field in ("Catch", "Choices"):
        _check_target(entry.get("Next"), f"{path}/Next", states, problems)
    if field == "Choices" and not (is_expression(entry.get("Condition")) or isinstance(entry.get("Condition"), bool)):
        problems.add(f"{path}/Condition", "must be an expression")
    if field == "Retry":
        for name, rule in _RETRY_RULES.items():
            if name in entry and not rule(entry[name]):
                problems.add(f"{path}/{name}", f"must not have the value {entry[name]!r}")


def _check_task(state: State, path: str, states: dict[str, Any], problems: _Problems) -> None:
    resource = state.get("Resource")
    if not isinstance(resource, str) or not is_supported(resource):
        problems.add(f"{path}/Resource", f"{resource!r} is not supported by the embedded cloud")


def _check_choice(state: State, path: str, states: dict[str, Any], problems: _Problems) -> None:
    if not state.get("Choices"):
        problems.add(f"{path}/Choices", "must not be empty")
    if "Default" in state:
        _check_target(state["Default"], f"{path}/Default", states, problems)


def _check_wait(state: State, path: str, states: dict[str, Any], problems: _Problems) -> None:
    if ("Seconds" in state) == ("Timestamp" in state):
        problems.add(path, "needs either Seconds or Timestamp")


def _check_parallel(state: State, path: str, states: dict[str, Any], problems: _Problems) -> None:
    branches = state.get("Branches")
    if not isinstance(branches, list) or not branches:
        problems.add(f"{path}/Branches", "must be a list with at least one branch")
        return
    for position, branch in enumerate(branches):
        where = f"{path}/Branches/{position}"
        problems.unknown(branch, _MACHINE, where)
        _check_machine(branch, where, problems)


def _check_map(state: State, path: str, states: dict[str, Any], problems: _Problems) -> None:
    processor = state.get("ItemProcessor")
    if not isinstance(processor, dict):
        problems.add(f"{path}/ItemProcessor", "must be an object")
        return
    where = f"{path}/ItemProcessor"
    problems.unknown(processor, _MACHINE | {"ProcessorConfig"}, where)
    _check_nested(processor, "ProcessorConfig", where, problems)
    config = processor.get("ProcessorConfig", {})
    if config.get("Mode", "INLINE") not in ("INLINE", "DISTRIBUTED"):
        problems.add(f"{where}/ProcessorConfig/Mode", f"must not have the value {config['Mode']!r}")
    if is_distributed(state) and config.get("ExecutionType") != "STANDARD":
        problems.add(f"{where}/ProcessorConfig/ExecutionType", "must be STANDARD: EXPRESS is not supported here")
    _check_machine(processor, where, problems)
    if "Items" in state and "ItemReader" in state:
        problems.add(path, "accepts Items or ItemReader, not both")
    for field in ("ItemReader", "ItemBatcher", "ResultWriter"):
        _check_nested(state, field, path, problems)
    _check_reader(state.get("ItemReader"), f"{path}/ItemReader", problems)
    _check_writer(state.get("ResultWriter"), f"{path}/ResultWriter", problems)
    batcher = state.get("ItemBatcher", {"MaxItemsPerBatch": 1})
    if not {"MaxItemsPerBatch", "MaxInputBytesPerBatch"} & set(batcher):
        problems.add(f"{path}/ItemBatcher", "needs MaxItemsPerBatch or MaxInputBytesPerBatch")


def _check_nested(parent: dict[str, Any], field: str, path: str, problems: _Problems) -> None:
    if field in parent:
        problems.unknown(parent[field], _NESTED[field], f"{path}/{field}")


def _check_reader(reader: Any, path: str, problems: _Problems) -> None:
    if not isinstance(reader, dict):
        return
    _check_nested(reader, "ReaderConfig", path, problems)
    config = reader.get("ReaderConfig", {})
    resource = reader.get("Resource")
    if resource == "arn:aws:states:::s3:getObject":
        if config.get("InputType") not in ("JSON", "JSONL", "CSV"):
            problems.add(f"{path}/ReaderConfig/InputType", f"{config.get('InputType')!r} is not supported")
        if config.get("InputType") == "CSV" and config.get("CSVHeaderLocation") not in ("FIRST_ROW", "GIVEN"):
            problems.add(f"{path}/ReaderConfig/CSVHeaderLocation", "must be FIRST_ROW or GIVEN")
    elif resource == "arn:aws:states:::s3:listObjectsV2":
        for name in sorted(set(config) - {"MaxItems"}):
            problems.add(f"{path}/ReaderConfig/{name}", "not supported with listObjectsV2")
    else:
        problems.add(f"{path}/Resource", f"{resource!r} is not supported by the embedded cloud")


def _check_writer(writer: Any, path: str, problems: _Problems) -> None:
    if not isinstance(writer, dict):
        return
    _check_nested(writer, "WriterConfig", path, problems)
    if writer.get("Resource", "arn:aws:states:::s3:putObject") != "arn:aws:states:::s3:putObject":
        problems.add(f"{path}/Resource", f"{writer['Resource']!r} is not supported by the embedded cloud")
    config = writer.get("WriterConfig", {})
    if config.get("Transformation", "NONE") not in ("NONE", "COMPACT", "FLATTEN"):
        problems.add(f"{path}/WriterConfig/Transformation", f"must not have the value {config['Transformation']!r}")
    if config.get("OutputType", "JSON") not in ("JSON", "JSONL"):
        problems.add(f"{path}/WriterConfig/OutputType", f"must not have the value {config['OutputType']!r}")


def is_distributed(state: State) -> bool:
    """Tell whether a Map state runs its items as child executions."""
    processor = state.get("ItemProcessor")
    config = processor.get("ProcessorConfig") if isinstance(processor, dict) else None
    return isinstance(config, dict) and config.get("Mode") == "DISTRIBUTED"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_positive(value: Any) -> bool:
    return _is_whole(value) and value > 0


def _is_rate(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 1.0


_RETRY_RULES: dict[str, Check] = {
    "IntervalSeconds": _is_positive,
    "MaxAttempts": _is_whole,
    "BackoffRate": _is_rate,
    "MaxDelaySeconds": _is_positive,
    "JitterStrategy": lambda value: value in ("FULL", "NONE"),
}
_CHECKS: dict[str, Callable[[State, str, dict[str, Any], _Problems], None]] = {
    "Task": _check_task,
    "Choice": _check_choice,
    "Wait": _check_wait,
    "Parallel": _check_parallel,
    "Map": _check_map,
}
