"""The payload of an HTTP request: what may be sent, and where to."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
    model_validator,
)

from afterwards.effects.secrets import REFERENCE
from afterwards.effects.settings import EffectSettings, HttpSettings
from afterwards.outgoing.calls import MAX_REDIRECTS
from afterwards.outgoing.reach import is_listed, parsed

MAX_HEADERS: Final = 64
MAX_STORE_BYTES: Final = 256 * 1024
MAX_TIMEOUT_SECONDS: Final = 3_600

_BODILESS: Final = frozenset({"GET", "HEAD"})
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
"""RFC 9110, 5.6.2."""
_VALUE: Final = re.compile(r"([!-~]([ \t!-~]*[!-~])?)?")
_OURS: Final = frozenset(
    {
        # About the connection and the framing of the message.
        *("connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        # Sent with each attempt.
        *("accept-encoding", "afterwards-attempt", "idempotency-key", "traceparent", "tracestate"),
    }
)
"""Headers that the service writes itself."""

_Value = Annotated[str, Field(max_length=8_192)]
_Status = Annotated[int, Field(ge=200, le=599)]


class HttpPayload(BaseModel):
    """The request to send, and what is expected of its answer."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {
                    "method": "POST",
                    "url": "https://api.example.com/orders",
                    "headers": {"Authorization": "Bearer ${secret:shop}"},
                    "json": {"order": 7},
                }
            ]
        },
    )

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] = "GET"
    url: str
    """An http or https URL of a host that may be called, without user, password and fragment."""
    headers: Annotated[dict[str, _Value], Field(max_length=MAX_HEADERS)] = Field(
        default_factory=dict
    )
    """`${secret:NAME}` in a value stands for a secret of the service."""
    json_body: JsonValue = Field(None, alias="json")
    """The body, sent as `application/json`."""
    body: str | None = None
    """The body as text, sent as UTF-8."""
    timeout_seconds: Annotated[float, Field(gt=0, le=MAX_TIMEOUT_SECONDS)] = 30.0
    """The time for one attempt's whole answer."""
    expected: Annotated[list[_Status], Field(min_length=1, max_length=100)] | None = None
    """Statuses that count as success; by default 2xx."""
    store: Annotated[int, Field(ge=0, le=MAX_STORE_BYTES)] = 64 * 1024
    """The number of bytes of the answer's body that the result keeps."""
    redirects: Annotated[int, Field(ge=0, le=MAX_REDIRECTS)] = 0
    """The number of redirects to follow. The first one drops secrets."""

    @field_validator("url")
    @classmethod
    def _may_be_called(cls, url: str, info: ValidationInfo) -> str:
        settings = _settings_in(info)
        if settings is None:
            parsed(url)
        else:
            settings.reach.target(url)
        return url

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, headers: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if len({name.lower() for name in headers}) < len(headers):
            raise ValueError("a header is there twice; upper and lower case are the same")
        for name, value in headers.items():
            if _TOKEN.fullmatch(name) is None:
                raise ValueError(f"{name[:100]!r} is not the name of a header")
            if name.lower() in _OURS:
                raise ValueError(f"the service sends {name} itself")
            if _VALUE.fullmatch(value) is None:
                raise ValueError(
                    f"the value of {name} must be ASCII without line breaks, and begin and end "
                    "with no space"
                )
            if "${secret:" in REFERENCE.sub("", value):
                raise ValueError(f"a reference in {name} is not of the form ${{secret:NAME}}")
        settings, url = _settings_in(info), info.data.get("url")
        if settings is not None and url is not None:
            require_secrets(headers, parsed(url).host, settings)
        return headers

    @model_validator(mode="after")
    def _has_one_body(self) -> Self:
        has_json = "json_body" in self.model_fields_set
        if has_json and self.body is not None:
            raise ValueError("json and body are both there; send one of them")
        if self.method in _BODILESS and (has_json or self.body is not None):
            raise ValueError(f"a {self.method} request has no body; send another method")
        return self

    def encoded_body(self) -> tuple[bytes, str | None]:
        """The body and its media type; None: there is no body."""
        if "json_body" in self.model_fields_set:
            text = json.dumps(self.json_body, ensure_ascii=False, separators=(",", ":"))
            return text.encode(), "application/json"
        if self.body is not None:
            return self.body.encode(), "text/plain; charset=utf-8"
        return b"", None


def _settings_in(info: ValidationInfo) -> HttpSettings | None:
    return info.context.http if isinstance(info.context, EffectSettings) else None


def require_secrets(headers: Mapping[str, str], host: str, settings: HttpSettings) -> None:
    """See that each secret that the headers refer to may go to this host.

    Raises:
        ValueError: there is no such secret, or it may not.
    """
    for value in headers.values():
        for name in REFERENCE.findall(value):
            secret = settings.secrets.get(name)
            if secret is None:
                raise ValueError(f"there is no secret {name!r}; AFTERWARDS_SECRETS_FILE has them")
            if not is_listed(host, secret.hosts):
                raise ValueError(f"the secret {name!r} may not go to {host!r}")
