"""Text in a <string> of java.beans: what XML cannot hold stands as <char code="#..."/>."""

import re

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\r")


def xml_text(text: str) -> str:
    """`text` as the content of a <string>."""
    text = escape_markup(text)
    return _ILLEGAL.sub(lambda m: f'<char code="#{ord(m[0]):x}"/>', text)


def escape_markup(text: str) -> str:
    """The same for a text of characters that XML has, which is far quicker."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
