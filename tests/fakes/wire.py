"""The wire protocol of botocore's `medical-imaging` model, from the server's side: requests in, answers out."""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, cached_property
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel, Shape
from botocore.parsers import create_parser
from botocore.validate import ParamValidator

Parameters = dict[str, Any]

_SCALARS_OF_A_QUERY: dict[str, Callable[[str], Any]] = {
    "boolean": lambda text: text == "true",
    "integer": int,
    "string": str,
}
# "aws4_request" closes the scope of every signature of version 4
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=[^/,]+/\d{8}/[a-z0-9-]+/medical-imaging/aws4_request, "
    r"SignedHeaders=[a-z0-9;-]*\bhost\b[a-z0-9;-]*, Signature=[0-9a-f]{64}"
)


@cache
def _model() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("medical-imaging", "service-2"))


class ServiceError(Exception):
    """An error of the model, by the name of its shape: "ConflictException", "ThrottlingException", …"""

    def __init__(self, shape: str, message: str) -> None:
        super().__init__(f"{shape}: {message}")
        self.shape = shape
        self.message = message


@dataclass(frozen=True)
class Answer:
    """What goes over the wire."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Wire:
    """Requests and responses of the service, each held against botocore's own model of it."""

    @property
    def model(self) -> ServiceModel:
        return _model()

    @cached_property
    def _operations(self) -> list[tuple[str, list[str], OperationModel]]:
        operations = (self.model.operation_model(name) for name in self.model.operation_names)
        return [(one.http["method"], one.http["requestUri"].strip("/").split("/"), one) for one in operations]

    def operation(self, method: str, path: str) -> tuple[OperationModel, Parameters]:
        """The operation that a request names, and the parameters in its path, which is still percent-encoded."""
        segments = path.strip("/").split("/")
        for http_method, template, operation in self._operations:
            if http_method != method or len(template) != len(segments):
                continue
            pairs = list(zip(template, map(unquote, segments), strict=True))
            if all(name == text for name, text in pairs if not name.startswith("{")):
                return operation, {name.strip("{}"): text for name, text in pairs if name.startswith("{")}
        raise ServiceError("ValidationException", f"no operation answers {method} {path}")

    def parameters(
        self, operation: OperationModel, in_path: Parameters, query: str, headers: Mapping[str, str], body: bytes
    ) -> Parameters:
        """The request as botocore's client was given it, valid by the model."""
        shape = operation.input_shape
        if shape is None:
            return {}
        try:
            # a request's body is written like a response's, so that botocore can read it
            said = {"status_code": 200, "headers": headers, "body": body}
            parsed = create_parser("rest-json").parse(said, shape)
            parsed.pop("ResponseMetadata")
            parameters = {**parsed, **in_path, **self._of_the_query(shape, query)}
        except ValueError as error:
            raise ServiceError("ValidationException", "the request is not what the model says") from error
        if wrong := self.complaints(shape, parameters):
            raise ServiceError("ValidationException", wrong)
        return parameters

    @staticmethod
    def _of_the_query(shape: Shape, query: str) -> Parameters:
        given = parse_qs(query, keep_blank_values=True, strict_parsing=bool(query))
        found: Parameters = {}
        for name, member in shape.members.items():
            texts = given.get(member.serialization.get("name", name))
            if member.serialization.get("location") != "querystring" or texts is None:
                continue
            found[name] = texts if member.type_name == "list" else _SCALARS_OF_A_QUERY[member.type_name](texts[0])
        return found

    def complaints(self, shape: Shape, value: Parameters) -> str:
        """What the model finds wrong with a request or a response; empty when it is right."""
        report = ParamValidator().validate(value, shape)
        return report.generate_report() or "; ".join(_beyond_the_validator(shape, value))

    def answer(self, operation: OperationModel, value: Parameters) -> Answer:
        """The response of an operation, held against the model; a wrong one is a fault of this stand-in."""
        shape = operation.output_shape
        status = operation.http.get("responseCode", 200)
        if shape is None:
            return Answer(status, b"{}", {"Content-Type": "application/json"})
        if wrong := self.complaints(shape, value):
            raise AssertionError(f"{operation.name} answers what its model does not allow: {wrong}")
        headers = {
            member.serialization["name"]: str(value[name])
            for name, member in shape.members.items()
            if member.serialization.get("location") == "header" and name in value
        }
        payload = shape.serialization.get("payload")
        if payload is not None:
            return Answer(status, value[payload], headers)
        body = json.dumps(_encoded(shape, value)).encode()
        return Answer(status, body, {"Content-Type": "application/json", **headers})

    def error(self, error: ServiceError) -> Answer:
        """An error as a rest-json service tells it."""
        shape = self.model.shape_for(error.shape)
        headers = {"Content-Type": "application/json", "x-amzn-ErrorType": error.shape}
        return Answer(
            shape.metadata["error"]["httpStatusCode"], json.dumps({"message": error.message}).encode(), headers
        )


def check_signature(headers: Mapping[str, str]) -> None:
    """Refuse a request that is not signed for this service by Signature Version 4."""
    if not re.fullmatch(r"\d{8}T\d{6}Z", headers.get("X-Amz-Date", "")):
        raise ServiceError("AccessDeniedException", "the request has no X-Amz-Date")
    if not _AUTHORIZATION.fullmatch(headers.get("Authorization", "")):
        raise ServiceError("AccessDeniedException", "the request is not signed for medical-imaging by AWS4-HMAC-SHA256")


def _beyond_the_validator(shape: Shape, value: Any, path: str = "") -> Iterator[str]:
    """Enumerations, patterns and greatest lengths, which botocore's validator leaves to the service."""
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            if name in value:
                yield from _beyond_the_validator(member, value[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for index, item in enumerate(value):
            yield from _beyond_the_validator(shape.member, item, f"{path}[{index}]")
    elif shape.type_name == "map":
        for item in value.values():
            yield from _beyond_the_validator(shape.value, item, f"{path}{{}}")
    elif shape.type_name == "string":
        rules = shape.metadata
        pattern = str(rules.get("pattern", "")).replace(r"\p{ASCII}", r"[\x00-\x7f]")
        if pattern and not re.fullmatch(pattern, value):
            yield f"{path} is not {pattern}"
        if len(value) > rules.get("max", len(value)):
            yield f"{path} is longer than {rules['max']}"
        if value not in rules.get("enum", [value]):
            yield f"{path} is none of {', '.join(rules['enum'])}"
    elif shape.type_name == "integer" and value > shape.metadata.get("max", value):
        yield f"{path} is greater than {shape.metadata['max']}"


def _encoded(shape: Shape, value: Any) -> Any:
    """A value of a response as JSON has it."""
    if shape.type_name == "structure":
        members = shape.members.items()
        return {
            member.serialization.get("name", name): _encoded(member, value[name])
            for name, member in members
            if name in value and "location" not in member.serialization
        }
    if shape.type_name == "list":
        return [_encoded(shape.member, item) for item in value]
    if isinstance(value, datetime):
        return round(value.timestamp(), 3)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value
