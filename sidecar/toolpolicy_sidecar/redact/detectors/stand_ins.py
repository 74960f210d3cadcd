"""What stands where a secret would: variables, and words of forms and of error messages."""

import re

_STAND_IN = re.compile(
    rb"(?i)(?:"
    rb"[$%@#]?[{(<\[]{1,2}[^})>\]]*[})>\]]{0,2}(?:</.*)?|\$[A-Za-z_]\w*|%\w{1,20}%?|[*x.#_?-]+|(.)\1*"
    rb"|(?:your|process|os|env|environ|config|conf|settings|self|this|args|input|props|options|params|req|request|var"
    rb"|local|data|module|secrets?|steps|inputs|github|context|ctx|app|std|system|user)[._-].*"
    rb"|(?:my|the|an?|some|new|old|test|insert|enter|put|add|replace)[._-][a-z._-]*"
    rb"|none|null|nil|undefined|true|false|yes|no|on|off|string|text|number|integer|int|boolean|bool|object|array|any"
    rb"|bytes|user_?name|str|varchar|optional\[?str\]?|secretstr|password|passwd|passphrase|passwort|secret|token|api_?key|key"
    rb"|required|optional|example|change_?me|change_?it|redacted|masked|hidden|removed|encrypted|placeholder|default"
    rb"|(?:in)?correct|(?:in)?valid|expired|missing|unknown|unset|empty|disabled|enabled|reset|forgotten|bearer|basic"
    rb"|(?:my|confirm|current|new|old|forgot|show|hide|weak|strong|your|example|sample|plain)[_-]?password|pass|pwd|field|input|hash(?:ed)?|plain(?:text)?"
    rb"|[\^~v]?[0-9]+(?:\.[0-9]+){1,3}|(?:[a-z]+[_-]){1,3}(?:password|passwd|passphrase)"
    rb"|[0-9]{1,3} ?(?:-|\xe2\x80\x93) ?[0-9]{1,3}|\{[0-9a-z]{0,12}\} .*|your"
    rb"|!(?:vault|unsafe|ref|sub|getatt|importvalue|reference|env|secret)"
    rb"|fehlt|erforderlich|ung\xc3\xbcltig|falsch|requise?|absent|aucune?|nessuna|richiesta|mancante|assente|ninguna"
    rb"|requerid[ao]|obligatori[ao]|inv(?:a|\xc3\xa1)lid[ao]|vac\xc3\xada|obrigat\xc3\xb3ri[ao]|vazia|nenhuma"
    rb"|vereist|verplicht|gerekli|zorunlu|obbligatori[ao]|puuttuu|kailangan|obave?zno|saknas|mangler|brak|pakollinen|wymagane|povinn\xc3\xa9"
    rb"|(?:[a-z]+[ -])?(?:adgangskode|palavra-passe|wachtwoord|passord|lozinka|geslo|heslo|haslo|parole?|salasana"
    rb"|senha|clave)"
    rb")[.,;:!]?"
)
"""What stands where a secret would: words of forms and of error messages."""
_WITH_A_VARIABLE = re.compile(rb".*\$[{(]?[A-Za-z_].*")
_VARIABLE = re.compile(rb"\$(?:[{(].*|[A-Za-z_]\w*)")


def is_stand_in(value: bytes) -> bool:
    if (
        value.find(b"$") >= 0
        and _WITH_A_VARIABLE.fullmatch(value)
        and not is_mixed(_VARIABLE.sub(b"", value))
    ):
        return True
    return _STAND_IN.fullmatch(value) is not None


def is_mixed(value: bytes) -> bool:
    """Of letters, both small and capital, and digits: no text into which a variable is put."""
    return len(value) >= _LEAST_MIXED_WITH_A_SIGN and _MIXED.match(value) is not None


_LEAST_MIXED_WITH_A_SIGN = 6
_MIXED = re.compile(rb"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])")
