"""Prints the OpenAPI document of a service with keys: `python -m service.contract`."""

import json

from pydantic import SecretStr

from service.app import create_app
from service.registry import Registry
from service.settings import Settings


def main() -> None:
    settings = Settings(api_keys=[SecretStr("key")])
    document = create_app(settings, Registry({})).openapi()
    print(json.dumps(document, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
