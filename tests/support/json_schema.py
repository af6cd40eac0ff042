"""As much of JSON Schema (draft 2020-12) as haclient's own schema uses.

A keyword that is not known here is an error, so a schema cannot pass by saying what nobody reads.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["faults"]

NOTES = {"$schema", "title", "description", "default"}

KNOWN = {
    *("type", "enum", "const", "not", "anyOf", "pattern", "minLength"),
    *("minimum", "maximum", "exclusiveMinimum", "minItems", "items"),
    *("required", "propertyNames", "properties", "additionalProperties"),
}

TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


def faults(schema: dict[str, Any], value: object, path: str = "") -> list[str]:
    """Where and why `value` is not what `schema` says."""
    assert schema.keys() <= KNOWN | NOTES, f"{path}: {schema.keys() - KNOWN - NOTES} not known"
    found: list[str] = []
    for keyword, what in schema.items():
        if keyword not in NOTES:
            found += _keyword(schema, keyword, what, value, path)
    return found


def _keyword(schema: dict[str, Any], keyword: str, what: Any, value: Any, path: str) -> list[str]:
    wrong = [f"{path}: {value!r} against {keyword} {what!r}"]
    match keyword:
        case "type":
            is_boolean = isinstance(value, bool)
            fits = isinstance(value, TYPES[what]) and (not is_boolean or what == "boolean")
            return [] if fits else wrong
        case "enum":
            return [] if value in what else wrong
        case "const":
            return [] if value == what and type(value) is type(what) else wrong
        case "not":
            return wrong if not faults(what, value, path) else []
        case "anyOf":
            return [] if any(not faults(one, value, path) for one in what) else wrong
    if isinstance(value, str):
        return [] if _text(keyword, what, value) else wrong
    if isinstance(value, int | float):
        return [] if _number(keyword, what, value) else wrong
    if isinstance(value, list):
        return _array(keyword, what, value, path)
    if isinstance(value, dict):
        return _object(schema, keyword, what, value, path)
    return []


def _text(keyword: str, what: Any, value: str) -> bool:
    match keyword:
        case "pattern":
            return re.search(what, value) is not None
        case "minLength":
            return bool(len(value) >= what)
    return True


def _number(keyword: str, what: Any, value: float) -> bool:
    match keyword:
        case "minimum":
            return bool(value >= what)
        case "maximum":
            return bool(value <= what)
        case "exclusiveMinimum":
            return bool(value > what)
    return True


def _array(keyword: str, what: Any, value: list[Any], path: str) -> list[str]:
    match keyword:
        case "minItems":
            return [] if len(value) >= what else [f"{path}: fewer than {what}"]
        case "items":
            each = [faults(what, one, f"{path}[{number}]") for number, one in enumerate(value)]
            return [fault for found in each for fault in found]
    return []


def _object(
    schema: dict[str, Any], keyword: str, what: Any, value: dict[str, Any], path: str
) -> list[str]:
    properties = schema.get("properties", {})
    match keyword:
        case "required":
            return [f"{path}: {name} is missing" for name in what if name not in value]
        case "propertyNames":
            return [fault for name in value for fault in faults(what, name, f"{path}.{name}")]
        case "properties":
            known = {name: one for name, one in value.items() if name in what}
            return [
                f for name, one in known.items() for f in faults(what[name], one, f"{path}.{name}")
            ]
        case "additionalProperties":
            more = {name: one for name, one in value.items() if name not in properties}
            if what is False:
                return [f"{path}.{name}: unknown" for name in more]
            return [f for name, one in more.items() for f in faults(what, one, f"{path}.{name}")]
    return []
