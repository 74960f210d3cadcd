"""Secrets that have a form, but no beginning of their own: keys, signed tokens, addresses with a password."""

from toolpolicy_sidecar.redact.detectors import plausible
from toolpolicy_sidecar.redact.detectors.detector import (
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
from toolpolicy_sidecar.redact.detectors.named import EQUALS

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
        "The password in the address of a database, a queue, a mail server, or of anything with a scheme.",
        "the URI forms of PostgreSQL, MySQL, MongoDB, Redis, AMQP",
        AT,
        r"\b[A-Za-z][A-Za-z0-9]{1,20}(?:[+:.-][A-Za-z0-9]{1,20}){0,3}"
        r"://[^\s/:@\"'?#]{0,100}:([^\s@\"'?]{2,200})@[A-Za-z0-9\[]",
        (
            f"postgresql://app:{invented(12)}@db.internal:5432/app",
            f"mongodb+srv://u:{invented(9)}@cluster0.example.net/?retryWrites=true",
            f"redis://:{invented(16)}@cache:6379/0",
            f"cloudinary://123456789012345:{invented(27)}@demo",
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
        r"(?i:bearer|token|apikey|authorization:) [A-Za-z0-9._~+/-]{16}",
        r"(?i:\b(?:bearer|token|apikey|authorization:)) ([A-Za-z0-9._~+/-]{16,}=*)",
        (f"Authorization: Bearer {invented(32)}", f"token {invented(40, HEX)}"),
        ("bearer authentication-scheme", "bearer of bad news"),
        plausible.credential,
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
        + EQUALS
        + r"([A-Za-z0-9+/]{40})(?:[^A-Za-z0-9+/=]|\z)",
        (
            f"aws_secret_access_key = {invented(40, BASE64)} ",
            f"SecretAccessKey: '{invented(40, BASE64)}'",
        ),
        ("aws_secret_access_key = none", "aws s3 ls"),
        keyed=True,
    ),
    _secret(
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
    _secret(
        "PasswordHash",
        "Hashes of passwords, as crypt, LDAP and web servers store them.",
        "crypt(5), RFC 2307, Apache's htpasswd, PHC string format",
        r"\$(?:2[abxy]|[156y]|apr1|argon2[id]{1,2}|pbkdf2-sha(?:1|256|512))\$[A-Za-z0-9=./,]|\{S{0,2}(?:SHA|MD5)",
        r"\$(?:2[abxy]\$[0-9]{2}\$[A-Za-z0-9./]{53}|(?:[156]|apr1)\$(?:rounds=[0-9]{1,9}\$)?[A-Za-z0-9./]{1,16}\$"
        r"[A-Za-z0-9./]{21,85}[A-Za-z0-9/]|y\$[A-Za-z0-9./]{1,10}\$[A-Za-z0-9./]{8,40}\$[A-Za-z0-9./]{43}"
        r"|argon2[id]{1,2}\$v=[0-9]{1,3}\$m=[0-9]{1,9},t=[0-9]{1,5},p=[0-9]{1,5}\$[A-Za-z0-9+/]{8,90}\$[A-Za-z0-9+/]{16,180}"
        r"|pbkdf2-sha(?:1|256|512)\$[0-9]{1,9}\$[A-Za-z0-9./]{8,90}\$[A-Za-z0-9./]{16,90}[A-Za-z0-9/])|\{S?(?:SHA(?:256|512)?|MD5)\}[A-Za-z0-9+/]{22,}={0,2}",
        (
            f"$2b$12${invented(53)}",
            f"$6$rounds=5000${invented(16)}${invented(86)}",
            f"$argon2id$v=19$m=65536,t=2,p=1${invented(22)}${invented(43)}",
            f"{{SSHA}}{invented(32)}",
        ),
        ("$2b$12$short", "costs $5 or $6", "{SHA}"),
    ),
    _secret(
        "AzureKey",
        "Keys of Azure's services that carry their mark: Functions, Search, Cosmos DB, Storage, OpenAI and others.",
        "learn.microsoft.com/purview, Azure identifiable keys",
        r"AzFu|AzSe|AzCa|AIoT|ACDb|\+A(?:Ba|MC|St|Eh|Sb|Rm|CR)|APIM|JQQJ99",
        r"[A-Za-z0-9+/_-]{32,76}(?:AzFu|AzSe|AzCa|AIoT|ACDb|\+A(?:Ba|MC|St|Eh|Sb|Rm|CR)|APIM)[A-Za-z0-9+/_-]{4,10}={0,2}"
        r"|[A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{26}",
        (f"{invented(44, URL64)}AzFu{invented(6)}==", f"{invented(52)}JQQJ99{invented(26)}"),
        ("AzFuture", f"{invented(12)}AzSe{invented(4)}"),
        plausible.whole,
    ),
    _secret(
        "RapidAPIKey",
        "Keys of RapidAPI.",
        "docs.rapidapi.com, keys",
        r"msh[0-9a-f]{15}p1",
        r"\b[0-9a-f]{10}msh[0-9a-f]{15}p1[0-9a-f]{5}jsn[0-9a-f]{12}\b",
        (f"{invented(10, HEX)}msh{invented(15, HEX)}p1{invented(5, HEX)}jsn{invented(12, HEX)}",),
        ("msh", f"{invented(10, HEX)}msh{invented(15, HEX)}"),
    ),
    _secret(
        "OnePasswordSecretKey",
        "Secret keys of 1Password accounts.",
        "support.1password.com/secret-key-security",
        r"\bA3-[A-Z0-9]{6}-",
        r"\bA3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}\b",
        (f"A3-{invented(6, UPPER)}-{invented(11, UPPER)}-{'-'.join([invented(5, UPPER)] * 3)}",),
        ("A3-ABCDEF-paper",),
    ),
    _secret(
        "MailgunSigningKey",
        "Keys of Mailgun in three parts.",
        _SCANNING,
        r"-[0-9a-f]{8}-[0-9a-f]{8}",
        r"\b[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8}\b",
        (f"{invented(32, HEX)}-{invented(8, HEX)}-{invented(8, HEX)}",),
        (f"{invented(8, HEX)}-{invented(4, HEX)}-{invented(4, HEX)}",),
    ),
    _secret(
        "HarnessToken",
        "Tokens of Harness.",
        "developer.harness.io/docs/platform, API keys",
        r"\b[ps]at\.[A-Za-z0-9_-]{22}\.",
        r"\b[ps]at\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}",
        (f"pat.{invented(22)}.{invented(24)}.{invented(20)}",),
        ("sat.a.b.c",),
    ),
    _secret(
        "MaxMindKey",
        "Licence keys of MaxMind.",
        "dev.maxmind.com/license-key",
        r"_mmk\b",
        r"\b[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk\b",
        (f"{invented(6)}_{invented(29)}_mmk",),
        ("a_mmk",),
    ),
    _secret(
        "AblyKey",
        "Keys of Ably.",
        "ably.com/docs/auth",
        r"\.[A-Za-z0-9_-]{6}:[A-Za-z0-9_-]{16}",
        r"\b[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{6}:[A-Za-z0-9_-]{43}\b",
        (f"{invented(6)}.{invented(6)}:{invented(43)}",),
        ("com.server:listening-on-port",),
    ),
    _secret(
        "FirebaseServerKey",
        "Server keys of Firebase Cloud Messaging.",
        "firebase.google.com/docs/cloud-messaging",
        r"\bAAAA[A-Za-z0-9_-]{7}:",
        r"\bAAAA[A-Za-z0-9_-]{7}:[A-Za-z0-9_-]{120,160}",
        (f"AAAA{invented(7)}:{invented(140, URL64)}",),
        ("AAAAbbbbccc:d",),
    ),
    _secret(
        "SalesforceToken",
        "Session ids of Salesforce.",
        "developer.salesforce.com, session id",
        r"\b00D[A-Za-z0-9]{12}(?:[A-Za-z0-9]{3})?!",
        r"\b00D[A-Za-z0-9]{12}(?:[A-Za-z0-9]{3})?![A-Za-z0-9_.]{60,120}[A-Za-z0-9_]",
        (f"00D{invented(12)}!{invented(96)}",),
        ("00D!",),
    ),
    _secret(
        "ZohoToken",
        "Tokens of Zoho.",
        "zoho.com/accounts/protocol/oauth",
        r"\b1000\.[0-9a-f]{32}\.",
        r"\b1000\.[0-9a-f]{32}\.[0-9a-f]{32}\b",
        (f"1000.{invented(32, HEX)}.{invented(32, HEX)}",),
        ("1000.50",),
    ),
    _secret(
        "AsanaToken",
        "Personal access tokens of Asana.",
        "developers.asana.com/docs/personal-access-token",
        r"\b[012]/[0-9]{12}",
        r"\b[012]/[0-9]{12,18}(?:/[0-9]{12,18})?:[0-9a-f]{32}\b",
        (f"1/1200000000000001:{invented(32, HEX)}",),
        ("1/120000000000",),
    ),
    _secret(
        "FacebookAppToken",
        "App access tokens of Meta: the id and the secret of an app.",
        "developers.facebook.com/docs/facebook-login/guides/access-tokens",
        r"[0-9]{15}(?:\||%7[Cc])[A-Za-z0-9_-]{16}",
        r"\b[0-9]{15,16}(?:\||%7[Cc])[A-Za-z0-9_-]{27,40}\b",
        (f"123456789012345|{invented(27)}",),
        ("123456789012345|2026",),
    ),
    _secret(
        "SentryDSN",
        "Addresses with the key of a project of Sentry.",
        "docs.sentry.io/concepts/key-terms/dsn-explainer",
        r"//[0-9a-f]{32}[@:]",
        r"https?://([0-9a-f]{32}(?::[0-9a-f]{32})?)@[A-Za-z0-9.-]{1,100}/[0-9]{1,20}",
        (f"https://{invented(32, HEX)}@o1.ingest.sentry.io/42",),
        (f"https://example.com/{invented(32, HEX)}",),
    ),
    _secret(
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
    _secret(
        "CommandPassword",
        "Passwords in the options of common commands: curl, mysql, sshpass, docker login, redis-cli.",
        "the manual pages of these commands",
        r"\b(?:curl|sshpass|mysql(?:dump|admin)?|docker login|redis-cli|psexec|smbclient|ldapsearch) ",
        r"\bcurl\b[^\n]{0,300}?\s(?:-u|--user)[ =]?[\"']?[^\s:\"']{1,80}:([^\s\"'@]{3,100})"
        r"|\bsshpass [^\n]{0,40}?-p ?[\"']?([^\s\"']{3,100})"
        r"|\b(?:mysql|mysqldump|mysqladmin)\b[^\n]{0,200}?\s-p[\"']?([^\s\"'=]{4,100})"
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
        plausible.password,
        confidence="Medium",
    ),
    _secret(
        "LoginPassword",
        "Passwords in the forms of their own of netrc, pgpass and .NET.",
        "ftp(1), .netrc; postgresql.org/docs, the password file; System.Net.NetworkCredential",
        r"(?i:\blogin\b|:5432:|NetworkCredential|DirectoryEntry|PASS[A-Z_]{0,10}[\"'],)",
        r"\bmachine\s+\S{1,100}\s+login\s+\S{1,100}\s+password\s+([^\s\"'\\]{3,100})"
        r"|\b[A-Za-z0-9.*_-]{1,100}:5432:[^\s:]{1,60}:[^\s:]{1,60}:([^\s\"'\\]{3,100})"
        r"|\b(?i:define)\(\s?[\"'][A-Za-z_]{0,30}(?i:pass)[A-Za-z_]{0,10}[\"']\s?,\s?[\"']([^\"'\n\\]{3,100})"
        r"|(?:NetworkCredential|DirectoryEntry)\(\s*(?:\"[^\"\n\\]{1,100}\"\s*,\s*){1,2}\"([^\"\n\\]{3,100})",
        (
            "define('DB_PASSWORD', 'letmein22');",
            "machine example.com login jane password letmein22",
            "db.internal:5432:app:jane:letmein22",
            'new NetworkCredential("jane", "letmein22")',
        ),
        ("the default login and password page", "localhost:5432", "new NetworkCredential(user, secret)"),
        plausible.password,
        confidence="Medium",
    ),
    _secret(
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
    _secret(
        "PrefixedSecret",
        "Random values that say by their beginning that they are keys or tokens, whoever gave them out.",
        "the form that GitHub, Stripe and Slack made usual; github.blog, new authentication token formats",
        r"(?:\b|_)(?:sk|api|key|tok|token|pat|secret|live|auth|apikey|priv|pwd|pk)[_-][A-Za-z0-9]{4}",
        r"\b(?:[A-Za-z0-9]{2,10}[_-])?(?:sk|api|key|tok|token|pat|secret|live|auth|apikey|priv|pwd|pk)[_-]"
        r"(?:[a-z0-9]{1,8}[_-])?[A-Za-z0-9]{20,}(?:[_-][A-Za-z0-9]+)*",
        (f"acme_live_{invented(32)}", f"acme-api-{invented(24)}", f"tok_{invented(24)}"),
        ("acme-api-gateway-controller-manager-2", f"order_{invented(24)}", f"sk_{'a' * 24}"),
        plausible.credential,
        confidence="Medium",
    ),
)
