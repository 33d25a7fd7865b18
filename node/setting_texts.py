"""Texts of the settings, each checked where it is read: what is wrong is a ValueError, and pydantic names the key."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator

from incentives.errors import AmountError
from incentives.units import parse_amount
from sharding.errors import SpanError
from sharding.span import parse_spans
from verification.addresses import to_address
from verification.errors import MalformedAddress

MAX_CHAIN_URLS = 16
AUTO = "auto"


def _checked_address(text: str) -> str:
    try:
        return str(to_address(text))
    except MalformedAddress as error:
        raise ValueError(str(error)) from error  # pydantic names the key of a ValueError only


def _checked_blocks(text: str) -> str:
    if text == AUTO:
        return text
    try:
        return ",".join(map(str, parse_spans(text)))
    except SpanError as error:
        raise ValueError(str(error)) from error


def _checked_amount(text: str) -> str:
    try:
        parse_amount(text)
    except AmountError as error:
        raise ValueError(str(error)) from error
    return text


def _checked_price(text: str) -> str:
    if parse_amount(_checked_amount(text)) == 0:
        raise ValueError("an ask of 0 cannot be paid by vouchers, which must rise; ask for a little more")
    return text


def _checked_ask(text: str) -> str:
    return text if text == AUTO else _checked_price(text)


def _joined(urls: object) -> object:
    """A list in a file, or one text with commas, as environment variables have it."""
    return ",".join(map(str, urls)) if isinstance(urls, list | tuple) else urls


def _checked_urls(text: str) -> str:
    urls = list(dict.fromkeys(each.strip() for each in text.split(",")))
    if len(urls) > MAX_CHAIN_URLS:
        raise ValueError(f"{len(urls)} URLs, the most is {MAX_CHAIN_URLS}")
    for url in urls:
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise ValueError(f"a URL cannot be read ({error})") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("expected http://HOST:PORT or https://..., several as a list or with commas between them")
    return ",".join(urls)


def _checked_listen(text: str) -> str:
    match = re.fullmatch(r"(?P<host>[A-Za-z0-9_.\-]+|\[[0-9A-Fa-f:]+\]):(?P<port>[0-9]{1,5})", text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return text


AddressText = Annotated[str, AfterValidator(_checked_address)]
BlocksText = Annotated[str, AfterValidator(_checked_blocks)]
AmountText = Annotated[str, AfterValidator(_checked_amount)]
PriceText = Annotated[str, AfterValidator(_checked_price)]
AskText = Annotated[str, AfterValidator(_checked_ask)]
ListenText = Annotated[str, AfterValidator(_checked_listen)]
ChainUrls = Annotated[str, BeforeValidator(_joined), AfterValidator(_checked_urls)]
"""One text with commas; URLs may hold access keys, so no error repeats them."""
