"""Where a client finds its control plane: arguments, ``ZPE_`` variables, then what ``zpe login`` saved."""

from __future__ import annotations

import os
import re
from pathlib import Path

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from zpe_sdk.errors import AuthError, ConfigError
from zpe_sdk.http import is_token, without_page
from zpe_sdk.wire.messages import in_words


class Login(BaseModel):
    """What ``zpe login`` keeps, in a file that only its owner may read."""

    url: str
    token: str = Field(repr=False)
    insecure: bool = False
    ca_bundle: Path | None = None

    @staticmethod
    def path() -> Path:
        """Return the file's place, e.g. ``~/.config/zpe/credentials.json``."""
        return platformdirs.user_config_path("zpe", appauthor=False) / "credentials.json"

    @classmethod
    def load(cls) -> Login | None:
        """Read the file; None if there is none.

        Raises
        ------
        ConfigError
            ``bad_credentials_file``: it cannot be read, or holds something else.
        """
        try:
            return cls.model_validate_json(cls.path().read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError):
            # What the file holds instead may be a token: not a word of it here.
            raise ConfigError(
                f"{cls.path()} is not a file of zpe login; run `zpe login` again",
                code="bad_credentials_file",
            ) from None

    def save(self) -> None:
        """Write the file with mode 0600, in one step."""
        path = self.path()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self.model_dump_json())
        new.replace(path)


class ClientSettings(BaseModel):
    """What a client needs to know: arguments, or ``ZPE_CONTROL_API_URL``, ``ZPE_TOKEN`` and so on.

    Attributes
    ----------
    control_api_url
        Base URL of the control plane, e.g. ``https://zpe.example.org``.
    token
        A researcher's or an administrator's token.
    insecure
        Send the token over plain HTTP to another machine.
    ca_bundle
        PEM file of the certificate authorities to trust, for a private one.
    pseudo_dir
        Pseudopotential files as the workers have them, from which those of Atoms are chosen.
    """

    model_config = ConfigDict(hide_input_in_errors=True, extra="forbid")

    control_api_url: str = ""
    token: SecretStr = SecretStr("")
    insecure: bool = False
    ca_bundle: Path | None = None
    pseudo_dir: Path | None = None

    @classmethod
    def find(
        cls,
        url: str | None,
        token: str | None,
        *,
        insecure: bool = False,
        ca_bundle: Path | None = None,
        pseudo_dir: Path | None = None,
    ) -> ClientSettings:
        """Complete the arguments of a client from the environment and from ``zpe login``.

        Raises
        ------
        ConfigError
            ``url_missing``, ``bad_setting`` or ``bad_credentials_file``.
        AuthError
            ``token_missing`` or ``bad_token``.
        """
        # Read here: to import pydantic-settings is a tenth of what a client needs to be ready.
        given: dict[str, object] = {
            name: text for name in cls.model_fields if (text := os.environ.get(f"ZPE_{name.upper()}"))
        }
        arguments = {
            "control_api_url": url,
            "token": token,
            "insecure": insecure or None,
            "ca_bundle": ca_bundle,
            "pseudo_dir": pseudo_dir,
        }
        given |= {name: value for name, value in arguments.items() if value is not None}
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            problem = error.errors()[0]
            name = str(problem["loc"][0])
            raise ConfigError(
                f"{name}: {in_words(problem)}", code="bad_setting", field=f"ZPE_{name.upper()}"
            ) from None
        login = Login.load()
        # A saved token goes to the control plane it was saved for, and to no other.
        if login and without_page(settings.control_api_url) in ("", without_page(login.url)):
            saved = {
                "control_api_url": login.url,
                "token": SecretStr(login.token),
                "insecure": login.insecure,
                "ca_bundle": login.ca_bundle,
            }
            settings = settings.model_copy(
                update={k: v for k, v in saved.items() if k not in settings.model_fields_set}
            )
        return settings._checked()

    def _checked(self) -> ClientSettings:
        if not self.control_api_url:
            raise ConfigError(
                "no control plane: give url=, set ZPE_CONTROL_API_URL or run `zpe login`",
                code="url_missing",
                field="ZPE_CONTROL_API_URL",
            )
        token = self.token.get_secret_value().strip()
        if not token:
            raise AuthError(
                f"no token for {_without_password(self.control_api_url)}: give token=, set ZPE_TOKEN or run "
                "`zpe login`",
                code="token_missing",
                field="ZPE_TOKEN",
            )
        if not is_token(token):
            raise AuthError(
                "the token holds a blank or a letter that no token has; copy it again",
                code="bad_token",
                field="ZPE_TOKEN",
            )
        return self.model_copy(update={"token": SecretStr(token)})


def _without_password(url: str) -> str:
    return re.sub(r"//[^/]*@", "//", url)
