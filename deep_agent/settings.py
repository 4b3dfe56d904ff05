"""Owns deployment settings, and is the only reader of the environment; does not hold what a goal asks.

Every field is read from `DEEP_AGENT_<NAME>`. `bootstrap` and the doors pass plain values on.
"""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from deep_agent.errors import InvalidInput

PREFIX = "DEEP_AGENT_"
SHORTEST_API_KEY = 16
"""Characters; a shorter key could be guessed over the network."""

CommaSeparated = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """How this installation runs; the same for every job."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", use_attribute_docstrings=True, hide_input_in_errors=True
    )

    home: Path = Path(".deep_agent")
    """Everything a run keeps: database, blobs, lineages, reports, the webhook secret."""
    host: str = "127.0.0.1"
    """Address the server binds; another than loopback needs `api_key`."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8421
    """Port the server binds."""
    api_key: SecretStr | None = None
    """Bearer key every request must carry; only its hash is kept in memory. None: no key is asked, loopback only."""
    allowed_hosts: CommaSeparated = ()
    """Host names the server answers to besides loopback ones, such as the name of a reverse proxy."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe record the server writes."""
    log_format: Literal["text", "json"] = "text"
    """One coloured line, or one JSON object, a record; on standard error."""
    webhook_allow: CommaSeparated = ()
    """Hosts, addresses or networks a webhook may reach although private: `127.0.0.1,hooks.lan,10.1.0.0/16`."""
    think_threads: Annotated[int, Field(ge=1, le=32)] = 2
    """Threads of the lane that characterizes, searches and verifies; the judge serialises the device by itself."""
    cpu_threads: Annotated[int, Field(ge=1, le=32)] = 2
    """Threads of the lane that plans, packages and reports."""
    sqlite_synchronous: Literal["FULL", "NORMAL"] = "FULL"
    """FULL survives power loss; NORMAL is faster and may lose the last commits then."""
    judge_memory_bytes: Annotated[int, Field(ge=1 << 28)] | None = None
    """Address space a candidate's process may take; None lets the judge choose by workload and machine."""

    @field_validator("allowed_hosts", "webhook_allow", mode="before")
    @classmethod
    def _split(cls, raw: object) -> object:
        return tuple(part.strip() for part in raw.split(",") if part.strip()) if isinstance(raw, str) else raw

    @field_validator("api_key", mode="before")
    @classmethod
    def _long_enough(cls, raw: object) -> object:
        if isinstance(raw, str) and len(raw) < SHORTEST_API_KEY:
            raise ValueError(f"needs at least {SHORTEST_API_KEY} characters")
        return raw

    @property
    def home_path(self) -> Path:
        """The home folder, absolute."""
        return self.home.expanduser().absolute()

    def check_bind(self) -> None:
        """Refuse to listen beyond this machine without a key.

        Raises:
            InvalidInput: `host` is no loopback address and no key is set.
        """
        if not is_loopback(self.host) and self.api_key is None:
            raise InvalidInput(
                f"host {self.host!r} is reachable from other machines and no API key is set.",
                remedy=f"Set {PREFIX}API_KEY to a secret of {SHORTEST_API_KEY} or more characters, or bind 127.0.0.1.",
            )


def load(**overrides: object) -> Settings:
    """Read the environment; `overrides` (from command-line flags) win over it, None meaning not given.

    Raises:
        InvalidInput: a variable does not parse; the message names it.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings.model_validate({**Settings().model_dump(), **given} if given else Settings())
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = PREFIX + "_".join(str(part) for part in first["loc"][:1]).upper()
        raise InvalidInput(
            f"setting {name} cannot be used: {first['msg']}.", remedy=f"Correct {name} and start again."
        ) from error


def is_loopback(host: str) -> bool:
    """Whether a bind address or host name means this machine alone."""
    bare = host.strip("[]").lower()
    if bare == "localhost":
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False
