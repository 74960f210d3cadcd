"""Secrets that have a form, but no beginning of their own: keys, signed tokens, addresses with a password."""

from toolpolicy_sidecar.redact.detectors import passwords, plausible
from toolpolicy_sidecar.redact.detectors.detector import (
    AT,
    BASE64,
    HEX,
    URL64,
    Detector,
    invented,
    secret,
)
from toolpolicy_sidecar.redact.detectors.named import EQUALS

_JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + invented(43, URL64)
_PEM = "-----{} {}PRIVATE KEY-----"
_KEY_BODY = "\n".join([invented(64, BASE64)] * 3 + [invented(12, BASE64) + "=="])
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{1,30}://"

SECRETS: tuple[Detector, ...] = (
    Detector(
        "PrivateKey",
        ("Secrets",),
        "Private keys as PEM, OpenSSH and PGP write them, whole or cut off.",
        "RFC 7468, RFC 4880, openssh PROTOCOL.key",
        "High",
        "-----BEGIN [A-Z]",
        r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[\s\\nr>|*#]*(?:[A-Za-z-]+: [^\n\\]{1,100}|[A-Za-z0-9+/=]{16,}))+"
        r"(?:[\s\\nr>|*#]*(?:[A-Za-z0-9+/=]{1,15}[\s\\nr>|*#]*)?-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
        r"|[\s\\nr]{1,4}[A-Za-z0-9+/]{1,15}={1,2})?",
        (
            f"{_PEM.format('BEGIN', 'RSA ')}\n{_KEY_BODY}\n{_PEM.format('END', 'RSA ')}",
            f"{_PEM.format('BEGIN', '')}\\n{invented(64, BASE64)}\\n{_PEM.format('END', '')}",
            f"{_PEM.format('BEGIN', 'OPENSSH ')}\n{_KEY_BODY}",
            f"{_PEM.format('BEGIN', 'EC ')}\nProc-Type: 4,ENCRYPTED\n\n{_KEY_BODY}\n{_PEM.format('END', 'EC ')}",
        ),
        ("-----BEGIN PUBLIC KEY-----\n" + _KEY_BODY, "look for -----BEGIN RSA PRIVATE KEY----- in files"),
    ),
    Detector(
        "JWT",
        ("Secrets",),
        "Signed and encrypted JSON web tokens.",
        "RFC 7519, RFC 7515, RFC 7516",
        "High",
        r"\beyJ[A-Za-z0-9_-]{8}",
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)?",
        (
            _JWT,
            f"{_JWT}.{invented(20, URL64)}.{invented(22, URL64)}",
            f"eyJ{invented(20)}.eyJ{invented(40)}.{invented(43, URL64)}",
        ),
        ("eyJhbGciOiJIUzI1NiJ9", "eyJub3QiOiJ0aGF0In0.a.b"),
        plausible.json_header,
    ),
    secret(
        "BasicAuthURL",
        "The password in an address of the web.",
        "RFC 3986, 3.2.1",
        AT,
        r"(?i:https?|ftps?|sftp|ssh|git(?:\+https?)?|wss?)://[^\s/:@\"'?#]{0,100}:([^\s/@\"'?#]{1,200}@[^\s/@\"'?#,:]{1,60}|[^\s/@\"'?#]{2,200})@[A-Za-z0-9\[]",
        (f"https://jane:{invented(12)}@example.com/x", f"ftp://:{invented(8)}@10.1.1.1"),
        ("https://jane@example.com", "http://example.com:8080/a@b", "https://u:${PASSWORD}@example.com"),
        passwords.password,
    ),
    secret(
        "ConnectionString",
        "The password in the address of a database, a queue, a mail server, or of anything with a scheme.",
        "the URI forms of PostgreSQL, MySQL, MongoDB, Redis, AMQP",
        AT,
        r"\b[A-Za-z][A-Za-z0-9]{1,20}(?:[+:.-][A-Za-z0-9]{1,20}){0,3}"
        r"://[^\s/:@\"'?#]{0,100}:([^\s@\"'?]{1,200}@[^\s/@\"'?#,:]{1,60}|[^\s@\"'?]{2,200})@[A-Za-z0-9\[]",
        (
            f"postgresql://app:{invented(12)}@db.internal:5432/app",
            f"mongodb+srv://u:{invented(9)}@cluster0.example.net/?retryWrites=true",
            f"redis://:{invented(16)}@cache:6379/0",
            f"cloudinary://123456789012345:{invented(27)}@demo",
            "postgres://jane:p@ssw0rd@db.internal/app",
        ),
        ("postgresql://db.internal:5432/app", "redis://cache:6379", "mysql://root:<password>@localhost"),
        passwords.password,
    ),
    secret(
        "LoginAtPort",
        "The password before an address with a port, without a scheme.",
        "how proxies, SMTP relays and brokers are configured: user:password@host:port",
        AT,
        r"\b[A-Za-z][A-Za-z0-9_.-]{1,40}:([^\s/:@\"'`,;<>()]{4,100})@[A-Za-z0-9.-]{2,100}:[0-9]{2,5}\b",
        ("proxy = 'jane:letmein22@proxy.internal:3128'",),
        ("mailto:jane@example.com:25", "git:user@host:22", "scp:${PASSWORD}@host:8080"),
        passwords.no_word,
        confidence="Medium",
    ),
    secret(
        "BasicAuthorization",
        "Credentials of HTTP's Basic scheme.",
        "RFC 7617",
        r"(?i:basic) [A-Za-z0-9+/]{6}",
        r"(?i:\bbasic) ([A-Za-z0-9+/]{6,}={0,2})",
        ("Authorization: Basic amFuZTpzM2NyZXQtOTg3", "Basic amFuZTpzM2NyZXQ="),
        ("basic authentication", "Basic training"),
        plausible.basic_credentials,
    ),
    secret(
        "BearerAuthorization",
        "Tokens of HTTP's Bearer scheme.",
        "RFC 6750",
        r"(?i:bearer|token|apikey|authorization:) [A-Za-z0-9._~+/-]{16}",
        r"(?i:\b(?:bearer|token|apikey|authorization:)) ([A-Za-z0-9._~+/-]{16,}=*)",
        (f"Authorization: Bearer {invented(32)}", f"token {invented(40, HEX)}"),
        ("bearer authentication-scheme", "bearer of bad news"),
        plausible.credential,
        confidence="Medium",
    ),
    secret(
        "PuTTYPrivateKey",
        "Private keys as PuTTY and the SSH2 tools write them.",
        "the file formats of PuTTY and of RFC 4716's relatives",
        r"Private-Lines: |---- BEGIN SSH2",
        r"(?:Private-Lines: [0-9]{1,3}|---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----(?:\s+[A-Za-z-]+: [^\n]{1,200})*)"
        r"((?:[\s\\nr]{1,4}[A-Za-z0-9+/=]{16,})+)",
        (
            f"Private-Lines: 2\n{invented(64, BASE64)}\n{invented(40, BASE64)}\nPrivate-MAC: 0",
            f"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: x\n{invented(64, BASE64)}",
        ),
        ("Public-Lines: 2", "---- BEGIN SSH2 PUBLIC KEY ----"),
    ),
    secret(
        "PasswordHash",
        "Hashes of passwords, as crypt, LDAP and web servers store them.",
        "crypt(5), RFC 2307, Apache's htpasswd, PHC string format",
        r"\$(?:2[abxy]|[15689y]|apr1|argon2[id]{1,2}|pbkdf2-sha(?:1|256|512))\$[A-Za-z0-9=./,]|\{S{0,2}(?:SHA|MD5)",
        r"\$(?:2[abxy]\$[0-9]{2}\$[A-Za-z0-9./]{53}|(?:[156]|apr1)\$(?:rounds=[0-9]{1,9}\$)?[A-Za-z0-9./]{1,16}\$"
        r"[A-Za-z0-9./]{21,85}[A-Za-z0-9/]|y\$[A-Za-z0-9./]{1,10}\$[A-Za-z0-9./]{8,40}\$[A-Za-z0-9./]{43}"
        r"|[89]\$[A-Za-z0-9./]{8,16}\$[A-Za-z0-9./]{42}[A-Za-z0-9]|argon2[id]{1,2}\$v=[0-9]{1,3}\$m=[0-9]{1,9},t=[0-9]{1,5},p=[0-9]{1,5}\$[A-Za-z0-9+/]{8,90}\$[A-Za-z0-9+/]{16,180}"
        r"|pbkdf2-sha(?:1|256|512)\$[0-9]{1,9}\$[A-Za-z0-9./]{8,90}\$[A-Za-z0-9./]{16,90}[A-Za-z0-9/])|\{S?(?:SHA(?:256|512)?|MD5)\}[A-Za-z0-9+/]{22,}={0,2}",
        (
            f"$2b$12${invented(53)}",
            f"$6$rounds=5000${invented(16)}${invented(86)}",
            f"$8${invented(14)}${invented(43)}",
            f"$argon2id$v=19$m=65536,t=2,p=1${invented(22)}${invented(43)}",
            f"{{SSHA}}{invented(32)}",
        ),
        ("$2b$12$short", "costs $5 or $6", "{SHA}"),
    ),
    secret(
        "DockerAuth",
        "Credentials of a registry, as Docker and npm keep them.",
        "docs.docker.com/reference/cli/docker/login, config.json",
        r"(?i:_?auth)[\"' :=\\]{1,6}[A-Za-z0-9+/]{8}",
        r"(?i:\b_?auth)" + EQUALS + r"([A-Za-z0-9+/]{8,}={0,2})",
        ('{"auth": "amFuZTpzM2NyZXQtOTg3"}', "_auth=amFuZTpzM2NyZXQ="),
        ('{"auth": "none-at-all"}', '{"auth": "c29tZXRoaW5nIGVsc2U="}'),
        plausible.basic_credentials,
        keyed=True,
    ),
    secret(
        "CommandPassword",
        "Passwords in the options of common commands: curl, mysql, sshpass, docker login, redis-cli.",
        "the manual pages of these commands",
        r"\b(?:curl|sshpass|mysql(?:dump|admin)?|docker login|redis-cli|psexec|smbclient|ldapsearch) ",
        r"\bcurl\b[^\n]{0,300}?\s(?:-u|--user)[ =]?[\"']?[^\s:\"']{1,80}:([^\s\"'@]{3,100})"
        r"|\bsshpass [^\n]{0,40}?-p ?[\"']?([^\s\"']{3,100})"
        r"|\b(?:mysql|mysqldump|mysqladmin)\b[^\n]{0,200}?\s-p[\"']?([^\s\"'=<][^\s\"'=]{3,100})"
        r"|\b(?:docker login|psexec)\b[^\n]{0,200}?\s-p[ =][\"']?([^\s\"']{4,100})"
        r"|\bredis-cli\b[^\n]{0,100}?\s(?:-a|--pass) [\"']?([^\s\"']{4,100})"
        r"|\bldapsearch\b[^\n]{0,200}?\s-w [\"']?([^\s\"']{4,100})"
        r"|\bsmbclient\b[^\n]{0,200}?\s-U [\"']?[^\s%\"']{1,80}%([^\s\"']{4,100})",
        (
            "curl -u jane:letmein22 https://example.com",
            "curl -s --user 'jane:letmein22' https://example.com",
            "sshpass -p letmein22 ssh jane@host",
            "mysql -u root -pletmein22 app",
            "docker login -u jane -p letmein22 registry.example.com",
            "redis-cli -h cache -a letmein22 ping",
        ),
        ("curl -u $USER:$PASSWORD https://example.com", "mysql -u root -p app", "docker login registry"),
        passwords.password,
        confidence="Medium",
    ),
    secret(
        "LoginPassword",
        "Passwords in the forms of their own of netrc, pgpass and .NET.",
        "ftp(1), .netrc; postgresql.org/docs, the password file; System.Net.NetworkCredential",
        r"(?i:\blogin\b|:5432:|NetworkCredential|DirectoryEntry|PASS[A-Z_]{0,10}[\"'],)",
        r"(?:\bmachine\s+\S{1,100}|\ndefault)\s+login\s+\S{1,100}\s+password\s+([^\s\"'\\]{3,100})"
        r"|\b[A-Za-z0-9.*_-]{1,100}:5432:[^\s:]{1,60}:[^\s:]{1,60}:([^\s\"'\\]{3,100})"
        r"|\b(?i:define)\(\s?[\"'][A-Za-z_]{0,30}(?i:pass)[A-Za-z_]{0,10}[\"']\s?,\s?[\"']([^\"'\n\\]{3,100})"
        r"|(?:NetworkCredential|DirectoryEntry)\(\s*(?:\"[^\"\n]{1,100}\"\s*,\s*){1,2}\"([^\"\n\\]{3,100})",
        (
            "define('DB_PASSWORD', 'letmein22');",
            "machine example.com login jane password letmein22",
            "db.internal:5432:app:jane:letmein22",
            'new NetworkCredential("jane", "letmein22")',
        ),
        ("the default login and password page", "localhost:5432", "new NetworkCredential(user, secret)"),
        passwords.password,
        confidence="Medium",
    ),
    secret(
        "SessionCookie",
        "Session ids in cookies, under the names that frameworks give them.",
        "the defaults of PHP, Java, ASP.NET, Express, Rails, Django",
        r"(?i:sess(?:id|ion|ionid|ion_id)?|connect\.sid|\bsid|_token)=[A-Za-z0-9%._-]{16}",
        r"(?i:phpsessid|jsessionid|asp\.net_sessionid|connect\.sid|sessionid|[a-z_]{1,20}_session|\bsession|\bsid"
        r"|(?:auth|access|refresh|session|id)_token)=([A-Za-z0-9%+/._~-]{16,}=*)",
        (f"Cookie: theme=dark; PHPSESSID={invented(26)}", f"_acme_session={invented(32)}; path=/"),
        ("session=the-first-of-may-2026",),
        plausible.credential,
        confidence="Medium",
    ),
    secret(
        "PrefixedSecret",
        "Random values that say by their beginning that they are keys or tokens, whoever gave them out.",
        "the form that GitHub, Stripe and Slack made usual; github.blog, new authentication token formats",
        r"(?:\b|_)(?:sk|api|key|tok|token|pat|secret|live|auth|apikey|priv|pwd|pk)[_-][A-Za-z0-9]{4}",
        r"\b(?:[A-Za-z0-9]{2,10}[_-])?(?:sk|api|key|tok|token|pat|secret|live|auth|apikey|priv|pwd|pk)[_-]"
        r"(?:[a-z0-9]{4,8}[_-])?[A-Za-z0-9]{20,}(?:[_-][A-Za-z0-9]+)*",
        (f"acme_live_{invented(32)}", f"acme-api-{invented(24)}", f"tok_{invented(24)}"),
        (
            "acme-api-gateway-controller-manager-2",
            f"order_{invented(24)}",
            f"sk_{'a' * 24}",
            f"cache-key-{invented(32, HEX)}",
        ),
        plausible.prefixed,
        confidence="Medium",
    ),
    secret(
        "RandomWithPrefix",
        "Long random values of letters and digits behind a few letters and an underscore, whoever gave them out.",
        "the form that GitHub made usual; github.blog, new authentication token formats",
        r"[a-z0-9]_[A-Za-z0-9]{24}",
        r"\b[a-z]{3,8}_(?:[a-z]{2,7}_)?[A-Za-z0-9]{36,80}",
        (f"ctp_{invented(36)}", f"acme_app_{invented(40)}"),
        (f"sha_{invented(40, HEX)}", f"order_{invented(24)}", f"a_{invented(36)}", f"x-data_{invented(40)}"),
        plausible.of_prefix,
        confidence="Medium",
    ),
    Detector(
        "PrivateJWK",
        ("Secrets",),
        "The secret member of a key as JSON.",
        "RFC 7517, RFC 7518, RFC 8037: the members d and k",
        "High",
        r"\b[dk]\\?[\"']? ?[:=] ?\\?[\"'][A-Za-z0-9_-]{16}",
        r"\b[dk]\\?[\"']? ?[:=] ?\\?[\"']"
        r"([A-Za-z0-9_-]{342}|[A-Za-z0-9_-]{86}|[A-Za-z0-9_-]{64}|[A-Za-z0-9_-]{43})",
        (f'{{"kty":"EC","d":"{invented(43, URL64)}"}}',),
        ('"d":"M10 10"', f'"k":"{invented(43, HEX)}"', f'"d":"{invented(50)}"'),
        plausible.alone,
        keyed=True,
    ),
)
