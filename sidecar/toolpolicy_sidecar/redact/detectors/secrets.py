"""Secrets that have a form, but no beginning of their own: keys, signed tokens, addresses with a password, and
values whose name says what they are."""

from toolpolicy_sidecar.redact.detectors import plausible
from toolpolicy_sidecar.redact.detectors.detector import (
    ALNUM,
    AT,
    BASE64,
    HEX,
    UPPER,
    URL64,
    Confidence,
    Detector,
    Validator,
    invented,
    varied,
)

_SCANNING = "docs.github.com/code-security, supported secret scanning patterns"


def _secret(  # noqa: PLR0917 -- the columns of a table
    name: str,
    description: str,
    source: str,
    trigger: str,
    expression: str,
    examples: tuple[str, ...],
    others: tuple[str, ...],
    validator: Validator | None = varied,
    *,
    confidence: Confidence = "High",
    keyed: bool = False,
) -> Detector:
    groups = ("Secrets",)
    return Detector(
        name, groups, description, source, confidence, trigger, expression, examples, others, validator, keyed
    )


_EQUALS = (
    r"""["'`\]\\]{0,3}(?:\s{0,3}(?:=>|:=|={1,2}|:|\(|\bis\b)\s{0,3}|,?\s{1,3}["']?value["']?\s?[=:]\s?)"""
)
_IS = rf"""{_EQUALS}["'`\\]{{0,2}}"""
"""What stands between a name and its value, in most languages and in prose."""


def _named(names: str, value: str) -> str:
    """A name and its value; also as an option of a command."""
    return rf"(?:{names}{_EQUALS}|--[A-Za-z0-9-]{{0,30}}?{names}[ =]){value}"


_NAMES_OF_PASSWORDS = (
    r"(?i:passw(?:or)?d|passphrase|pass_?code|pwd|\bpass)"
    rf"(?i:[_-]?(?:{'[0-9]{1,2}'}|value|prod|dev|test|plain|text))?"
)
_NAMES_OF_SECRETS = (
    r"(?i:secret|token|credentials?|authorization|(?:api|access|auth|private|secret|encryption|signing|master|account|"
    r"shared|storage|service|admin|license|subscription|bot|app|server|client|deploy|webhook)[_. -]?(?:key|secret|pwd)"
    r"|apikey|sas_?key|x-api-key|jwt|bearer)(?i:[_-]?(?:[0-9]{1,2}|value|prod|dev|test|base64|b64|key|id|hex))?"
)
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
        (_JWT, f"{_JWT}.{invented(20, URL64)}.{invented(22, URL64)}"),
        ("eyJhbGciOiJIUzI1NiJ9", "eyJub3QiOiJ0aGF0In0.a.b"),
        plausible.json_header,
    ),
    _secret(
        "BasicAuthURL",
        "The password in an address of the web.",
        "RFC 3986, 3.2.1",
        AT,
        r"(?i:https?|ftps?|sftp|ssh|git(?:\+https?)?|wss?)://[^\s/:@\"'?#]{0,100}:([^\s/@\"'?#]{2,200})@[A-Za-z0-9\[]",
        (f"https://jane:{invented(12)}@example.com/x", f"ftp://:{invented(8)}@10.1.1.1"),
        ("https://jane@example.com", "http://example.com:8080/a@b", "https://u:${PASSWORD}@example.com"),
        plausible.password,
    ),
    _secret(
        "ConnectionString",
        "The password in the address of a database, a queue or a mail server.",
        "the URI forms of PostgreSQL, MySQL, MongoDB, Redis, AMQP",
        AT,
        r"(?i:postgres(?:ql)?|mysql|mariadb|mongodb|rediss?|amqps?|mssql|sqlserver|oracle|clickhouse|cockroachdb|smtps?"
        r"|imaps?|ldaps?|kafka|nats|mqtts?|couchdb|cassandra|neo4j|bolt|snowflake|jdbc:[a-z]+)(?:\+[a-z0-9]+){0,2}"
        r"://[^\s/:@\"'?#]{0,100}:([^\s@\"'?]{2,200})@[A-Za-z0-9\[]",
        (
            f"postgresql://app:{invented(12)}@db.internal:5432/app",
            f"mongodb+srv://u:{invented(9)}@cluster0.example.net/?retryWrites=true",
            f"redis://:{invented(16)}@cache:6379/0",
        ),
        ("postgresql://db.internal:5432/app", "redis://cache:6379", "mysql://root:<password>@localhost"),
        plausible.password,
    ),
    _secret(
        "BasicAuthorization",
        "Credentials of HTTP's Basic scheme.",
        "RFC 7617",
        r"(?i:basic) [A-Za-z0-9+/]{6}",
        r"(?i:\bbasic) ([A-Za-z0-9+/]{6,}={0,2})",
        ("Authorization: Basic amFuZTpzM2NyZXQtOTg3", "Basic amFuZTpzM2NyZXQ="),
        ("basic authentication", "Basic training"),
        plausible.basic_credentials,
    ),
    _secret(
        "BearerAuthorization",
        "Tokens of HTTP's Bearer scheme.",
        "RFC 6750",
        r"(?i:bearer|token) [A-Za-z0-9._~+/-]{16}",
        r"(?i:\b(?:bearer|token)) ([A-Za-z0-9._~+/-]{16,}=*)",
        (f"Authorization: Bearer {invented(32)}", f"token {invented(40, HEX)}"),
        ("bearer authentication-scheme", "bearer of bad news"),
        plausible.random,
        confidence="Medium",
    ),
    _secret(
        "AzureStorageKey",
        "Account keys of Azure Storage and keys of its other services.",
        "learn.microsoft.com/azure/storage, manage account access keys",
        r"(?i:Account|SharedAccess|accessk|Shared)Key=[A-Za-z0-9+/]",
        r"(?i:AccountKey|SharedAccessKey|accesskey)=([A-Za-z0-9+/]{40,}={0,2})",
        (f"AccountName=a;AccountKey={invented(86, BASE64)}==", f"SharedAccessKey={invented(43, BASE64)}="),
        ("AccountKey=<key>",),
    ),
    _secret(
        "AzureClientSecret",
        "Client secrets of Microsoft Entra ID.",
        _SCANNING,
        r"[0-9]Q~[A-Za-z0-9_.~-]",
        r"[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_.~-]{31,34}",
        ("q7W8Q~" + invented(34, URL64),),
        ("q7W8Q~" + invented(20, URL64),),
    ),
    _secret(
        "AzureSignature",
        "Signatures of shared access.",
        "learn.microsoft.com/azure/storage, shared access signatures",
        r"(?i:[?&;]sig=)[A-Za-z0-9%+/]",
        r"(?i:[?&;]sig=)([A-Za-z0-9%+/_-]{40,}(?:=|%3[dD])*)",
        (f"?sv=2024-11-04&sig={invented(43)}%3D&se=2026",),
        ("?sig=short",),
    ),
    _secret(
        "AzureDevOpsToken",
        "Personal access tokens of Azure DevOps.",
        "learn.microsoft.com/azure/devops, use personal access tokens",
        "AZDO",
        r"[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}",
        (invented(76) + "AZDO" + invented(4),),
        (invented(20) + "AZDO",),
    ),
    _secret(
        "SendGridKey",
        "Keys of SendGrid.",
        _SCANNING,
        r"\bSG\.[A-Za-z0-9_-]",
        r"\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}",
        (f"SG.{invented(22, URL64)}.{invented(43, URL64)}",),
        ("SG.example.com", f"SG.{invented(22)}"),
    ),
    _secret(
        "MailchimpKey",
        "Keys of Mailchimp, with their data centre.",
        _SCANNING,
        r"[0-9a-f]-us[0-9]",
        r"\b[0-9a-f]{32}-us[0-9]{1,2}\b",
        (f"{invented(32, HEX)}-us12",),
        ("feed-us1", f"{invented(8, HEX)}-us1"),
    ),
    _secret(
        "TelegramBotToken",
        "Tokens of Telegram's bots.",
        "core.telegram.org/bots, authorizing your bot",
        r"[0-9]:A[A-Za-z0-9_-]{2}",
        r"\b[0-9]{7,11}:A[A-Za-z0-9_-]{32,35}",
        (f"123456789:AA{invented(33, URL64)}",),
        ("12:AM", "10000000:ABC"),
    ),
    _secret(
        "DiscordToken",
        "Tokens of Discord's bots and users.",
        "discord.com/developers/docs/reference, authentication",
        r"[A-Za-z0-9_-]\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{8}",
        r"\b[MNO][A-Za-z0-9_-]{22,28}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}",
        (f"M{invented(23)}.{invented(6)}.{invented(38, URL64)}",),
        ("Module.import.something-long-that-goes-on", "a.b.c"),
    ),
    _secret(
        "ChatWebhook",
        "Addresses that let anybody post: Slack, Discord, Teams.",
        "docs.slack.dev/messaging/sending-messages-using-incoming-webhooks",
        r"(?:hooks\.slack|discord(?:app)?|webhook\.office|logic\.azure)\.com[/:]",
        r"(?:hooks\.slack\.com/(?:services|workflows|triggers)|discord(?:app)?\.com/api/webhooks/[0-9]{10,20}"
        r"|[a-z0-9-]{1,63}\.webhook\.office\.com/webhookb2)/([A-Za-z0-9/@_-]{20,})",
        (
            f"https://hooks.slack.com/services/T{invented(8, UPPER)}/B{invented(8, UPPER)}/{invented(24)}",
            f"https://discord.com/api/webhooks/123456789012345678/{invented(68, URL64)}",
        ),
        ("https://discord.com/channels/1/2", "https://hooks.slack.com/services/"),
    ),
    _secret(
        "TerraformToken",
        "Tokens of HCP Terraform.",
        "developer.hashicorp.com/terraform/cloud-docs, API tokens",
        r"\.atlasv1\.",
        r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{40,}",
        (f"{invented(14)}.atlasv1.{invented(67, URL64)}",),
        ("x.atlasv1.y",),
    ),
    _secret(
        "AirtableToken",
        "Personal access tokens of Airtable.",
        "airtable.com/developers/web/guides/personal-access-tokens",
        r"\bpat[A-Za-z0-9]{14}\.[0-9a-f]",
        r"\bpat[A-Za-z0-9]{14}\.[0-9a-f]{60,64}",
        (f"pat{invented(14)}.{invented(64, HEX)}",),
        ("patABCDEFGHIJKLMN.example",),
    ),
    _secret(
        "AWSSecretKey",
        "The secret half of an AWS access key, beside a name that says so.",
        "docs.aws.amazon.com/IAM, managing access keys",
        r"(?i:secret|aws)",
        r"(?i:aws|secret)[A-Za-z_. -]{0,24}(?i:key)[A-Za-z_. -]{0,12}"
        + _IS
        + r"([A-Za-z0-9+/]{40})(?:[^A-Za-z0-9+/=]|\z)",
        (
            f"aws_secret_access_key = {invented(40, BASE64)} ",
            f"SecretAccessKey: '{invented(40, BASE64)}'",
        ),
        ("aws_secret_access_key = none", "aws s3 ls"),
        keyed=True,
    ),
    _secret(
        "Password",
        "What stands beside a name that means a password.",
        "names in use in configuration files and forms",
        r"(?i:passw|pass_?[cp]|pwd|pass[\s'\"=:])",
        _named(
            _NAMES_OF_PASSWORDS,
            r"""(?:\\?"([^"\n\\\s]{4,})\\?"|'([^'\n\s]{4,})'|([^\s"'`,;&<>(){}\[\]\\]{4,}))""",
        ),
        (
            f"password={invented(10)}",
            f'DB_PASSWORD: "{invented(12)}"',
            "pwd=letmein22;",
            "the password is hunter2",
            "user=jane password='correct,horse'",
            "mysqldump --password hunter22 app",
            '<add key="adminPasswd" value="1lp83u5dn" />',
        ),
        (
            "password: string",
            "password=${DB_PASSWORD}",
            "the password is incorrect",
            "pass: the salt",
            "docker run -v $PWD:/tmp/work",
            "password: ********",
        ),
        plausible.password,
        confidence="Medium",
        keyed=True,
    ),
    _secret(
        "KeyedSecret",
        "A value without a pattern, beside a name that means a secret.",
        "names in use in configuration files and APIs",
        r"(?i:secret|token|credential|authoriz|api.?key|(?:access|auth|private|encryption|signing|master|account|shared|"
        r"storage|service|admin|license|subscription|bot|app|server|client|deploy|webhook|sas).?(?:key|pwd)|jwt|bearer)",
        _named(_NAMES_OF_SECRETS, rf"""["'`\\]{{0,2}}([{ALNUM}+/_.~!@#$%^*-]{{12,}}=*)"""),
        (
            f"api_key={invented(32)}",
            f'"client_secret": "{invented(24, HEX)}"',
            f"ACCESS_TOKEN={invented(20)}",
            "apiKey: 550e8400-e29b-41d4-a716-446655440000",
            f"deploy --api-key {invented(32, HEX)}",
            f'client.setApiKey("{invented(24)}")',
        ),
        (
            "token: string",
            f"nextPageToken: {invented(32)}",
            "secret = os.environ.get",
            "max_tokens: 100000000000",
            "tokenizer: cl100k_base_encoding",
            "output_token: LastEvaluatedBackupArn",
            "access_token: HEADER.SIMULATED.SIGNATURE",
            "api_key: your-api-key-here-please",
        ),
        plausible.random,
        confidence="Medium",
        keyed=True,
    ),
)
