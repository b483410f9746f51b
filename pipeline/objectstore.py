"""Object stores: S3 and what speaks its language, Google Cloud Storage, Azure. The one place that opens them.

Credentials come from the environment or the files that each provider's own tools read; none is in our settings, and none is in
what we say. Loading the library takes a moment and most processes never need it, so it waits until a store is first asked.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.faults import ConfigurationError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES: Final = ("s3://", "gs://", "az://")
CONNECT: Final = timedelta(seconds=5)
RETRIES: Final = 3
METADATA: Final = "169.254.169.254"
"""Where a machine of a cloud asks for its credentials: the last place that the library looks."""
TEXT: Final = 200
"""Characters of what a store answers that we repeat."""
_ADDRESS: Final = re.compile(r"(s3|gs|az)://[A-Za-z0-9._-]+(/[A-Za-z0-9._/-]*)?")
_SECRET: Final = re.compile(r"(?i)(signature|credential|token|key|secret)[^,;\s]*")
_DENIED: Final = ("PermissionDeniedError", "UnauthenticatedError", "ConfigurationError")
_WORDS: Final = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}


def is_address(text: str) -> bool:
    return text.startswith(SCHEMES)


def missing() -> ConfigurationError:
    return ConfigurationError(
        "obstore is not installed, which object stores are reached with",
        remedy="Install it: pip install 'gatepost[cloud]'.",
    )


def checked(address: str, setting: str) -> str:
    """An address as we use it. Raises ConfigurationError for what is none, and when there is nothing to reach it with."""
    if not find_spec("obstore"):
        raise missing()
    if _ADDRESS.fullmatch(address) is None:
        raise ConfigurationError(
            f"{setting} is {address!a}",
            remedy="Write it as s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX.",
        )
    return address.rstrip("/")


def opened(address: str, timeout: timedelta) -> ObjectStore:
    """A store that gives up a request after `timeout`. Nothing is asked yet. Raises what the library raises."""
    from obstore.store import from_url  # noqa: PLC0415 - an extra, and it takes a moment to load

    config: Any = shared_credentials(os.environ) if address.startswith("s3://") else {}
    return from_url(
        address,
        config=config,
        client_options={"timeout": timeout, "connect_timeout": min(CONNECT, timeout), "allow_http": True},
        retry_config={"max_retries": RETRIES, "retry_timeout": timeout},
    )


def shared_credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """What the file of AWS's tools has for the profile in use; nothing where the environment has credentials, or there is no file.

    Raises ConfigurationError for a file that was named and cannot be read.
    """
    named = environ.get("AWS_SHARED_CREDENTIALS_FILE", "")
    if "AWS_ACCESS_KEY_ID" in environ or not (named or "HOME" in environ):
        return {}
    path = Path(named or Path(environ["HOME"]) / ".aws" / "credentials")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text("utf-8"))
    except (OSError, ValueError, configparser.Error) as error:
        if not named:
            return {}
        # What a parser says may have a line of the file in it.
        raise ConfigurationError(
            f"{path} cannot be read: {error.strerror if isinstance(error, OSError) else 'no file of credentials'}",
            remedy="AWS_SHARED_CREDENTIALS_FILE names a file with [default], aws_access_key_id and aws_secret_access_key.",
        ) from None
    profile = environ.get("AWS_PROFILE", "default")
    if not parser.has_section(profile):
        return {}
    return {ours: parser[profile][word] for word, ours in _WORDS.items() if word in parser[profile]}


def is_denied(error: BaseException) -> bool:
    """Whether the store knows us not, or lets us not: what trying again does not mend."""
    return type(error).__name__ in _DENIED


def words(error: BaseException) -> str:
    """What the library says, fit for a log: it may hold an address that was signed, and what a stranger's server answered."""
    text = _SECRET.sub("...", str(error).partition("\n")[0])[:TEXT]
    return "".join(character if character.isprintable() else "?" for character in text)


def remedy(error: BaseException) -> str:
    if isinstance(error, ConfigurationError):
        return error.remedy
    if is_denied(error):
        return "Check the credentials in the environment, and that they may list, read, write and delete there."
    if METADATA in str(error):
        return "No credentials were found: see docs/bodies.md for the variables and files that are looked into."
    if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
        return "There is no such bucket: make it, or correct its name and region."
    return "Is the address right, and can this machine reach it?"
