"""Secrets where others keep them: forms of the public fixtures of secret scanners, with values made here; and documents
that hold none, as package managers, clusters, browsers and logs write them.

The corpus in `redaction.py` and the detectors come from the same hands; this one was written down before it was first
measured, with nothing tuned on it: recall was then 0.793, and what was missed has been looked at since. Sources: the rules of noseyparker and kingfisher and
kingfisher's test programs in a dozen languages, detect-secrets' tests of its keyword plugin, secretlint's snapshots,
trufflehog's detector tests. `{}` is the secret; what stands around it is written anew.
"""

# ruff: noqa: E501 -- one form a line reads best

import base64
import json
import random
import string
from collections.abc import Callable, Iterator

from tests.corpus.redaction import ALNUM, BASE64, HEX, LOWER, UPPER, URL64, Sample

_WORDS = (
    "sunshine",
    "dragon",
    "blink",
    "trustno",
    "grape",
    "kingpin",
    "letmein",
    "qwerty",
    "monkey",
    "shadow",
)
_SIGNS = "!@#$%^&*?"
_UUID = "uuid"
_WEAK = "weak"
_STRONG = "strong"
_PHRASE = "phrase"
_PEM = "pem"

# kind, form of the value, text
FORMS: tuple[tuple[str, str | tuple[str, int], str], ...] = (
    # noseyparker
    ("azure storage", (BASE64, 86), "AzureWebJobsStorage=DefaultEndpointsProtocol=https;AccountName=web01;AccountKey={}==;EndpointSuffix=core.windows.net"),
    ("azure storage", (BASE64, 86), "AccountName=acc1;\nAccountKey={}==;\nBlobEndpoint=http://10.0.0.1/acc1;"),
    ("azure iot", (BASE64, 43), '"value": "HostName=hub.azure-devices.net;SharedAccessKeyName=rw;SharedAccessKey={}="'),
    ("azure appconfig", (BASE64, 43), "Endpoint=https://conf.azconfig.io;Id=AB12-l9-s0:abCDefGH12;Secret={}="),
    ("azure devops", (LOWER, 52), 'var personalAccessToken = "{}";  // from configuration'),
    ("azure devops", (LOWER, 52), 'ado_pat =  "{}"'),
    ("odbc", _WEAK, "Server=host;Port=5432;User Id=app;Password={};Database=db;"),
    ("odbc", _WEAK, "Provider=SQLNCLI;Server=srv,1433;Database=db;Uid=app;Pwd={};"),
    ("odbc", _STRONG, '<add name="Db" connectionString="Server=h\\q; Database=Y; User Id=app; password= {}" providerName="System.Data.SqlClient" />'),
    ("odbc", _WEAK, 'conn.Open("Provider=SQLOLEDB.1;User ID=app; " & "Password ={};Initial Catalog=P")'),
    ("thingsboard", (LOWER, 20), "https://thingsboard.cloud/api/v1/{}/telemetry"),
    ("thingsboard", (LOWER, 20), '{{"deviceName": "d", "provisionDeviceKey": "{}"}}'),
    ("sauce", _UUID, "- SAUCE_USERNAME=site\n- SAUCE_ACCESS_KEY={}"),
    ("truenas", (ALNUM, 64), '{{"method":"auth.login_with_api_key", "params":["8-{}"]}}'),
    ("truenas", (ALNUM, 64), 'curl -X POST "http://192.168.0.30/api" -H "Authorization: Bearer 8-{}"'),
    ("phpmailer", _STRONG, "$mail->Username   = 'user@example.com';\n$mail->Password   = '{}';   //SMTP password"),
    ("jenkins", (HEX, 34), "jenkins_passwd = '{}'   # Dev Token"),
    ("jenkins", (HEX, 34), "export JENKINS_TOKEN={}"),
    ("jenkins", (HEX, 32), "curl -X POST 'http://ci/job/build' -H 'Jenkins-Crumb:{}'"),
    ("jenkins", _UUID, 'readonly static string jenkinsToken = "{}";'),
    ("generic", (HEX, 40), 'private static String CLIENT_SECRET = "{}";'),
    ("generic", (HEX, 32), "buildConfigField 'String' , 'API_KEY' , '\"{}\"'"),
    ("login", _WEAK, "username='jdoe',\n    password='{}',\n    tenant_id='x')"),
    ("login", _WEAK, "user = Aladdin\npassword = {}"),
    ("login", _WEAK, ":password       => '{}',"),
    ("login", _WEAK, "common.then_log_in({{username: 'geronimo', password: '{}'}});"),
    ("login", _WEAK, 'creds = new NetworkCredential("me@example.com", "{}");'),
    ("login", _WEAK, 'New-Object DirectoryServices.DirectoryEntry("LDAP://10.1.1.1","dom\\user", "{}")'),
    ("login", _WEAK, '<add key="FromEmailPassword" value="{}"/>'),
    ("login", _WEAK, "The default Password is '{}'"),
    ("login", _WEAK, "Ensure the password for user 'postgres' is '{}' or change .env."),
    # kingfisher
    ("aiven", (BASE64, 372), 'FLASK_APP_AIVEN_API_KEY = "{}"'),
    ("atera", (LOWER, 32), "atera_key = {}"),
    ("box", (ALNUM, 32), "boxSECRET {}"),
    ("box", (ALNUM, 32), "boxKEY {}"),
    ("clearbit", (LOWER, 35), "clearbit_token = {}"),
    ("checkly", (HEX, 32), "checklyhqTOKEN={}"),
    ("auth0", (ALNUM, 32), "auth0_client_id = '{}'"),
    ("auth0", (URL64, 64), "auth0ClientSecret: '{}'"),
    ("azure openai", (HEX, 32), "azure_openai_secret={}"),
    ("buildkite", (LOWER, 40), "bkua_{}"),
    ("circleci", (HEX, 40), "circleci_project_secret = '{}'"),
    ("datadog", (HEX, 32), "dd-apikey-{}"),
    ("datadog", (HEX, 32), "datadog-secrettoken-{}"),
    ("blynk", (URL64, 32), 'curl "https://blynk.cloud/external/api/get?token={}&V1"'),
    ("blynk", (URL64, 40), "curl -X POST https://blynk.cloud/oauth2/token -u oa2-client-id_abc:{}"),
    ("java", _WEAK, 'private static String passwd = new String("{}");'),
    ("java", _PHRASE, 'private static String passphrase = "{}";'),
    ("java", (string.digits, 18), 'private static String secret_key = "{}";'),
    ("java", (ALNUM, 18), 'private static String private_key = new String("{}");'),
    ("java", _WEAK, 'myObj1.horsePassword = "{}";'),
    ("java", _STRONG, 'env.put(Context.SECURITY_CREDENTIALS,"{}");'),
    ("java", (BASE64, 40), 'private static String aws_secret = "{}";'),
    ("python", (LOWER, 16), 'KEY="{}"'),
    ("python", _PEM, "GCP_PRIVATE_KEY = '{}'"),
    ("python", (ALNUM, 20), "DATABASE_PASSWORD = '{}'"),
    ("python", _WEAK, "REDIS_PASSWORD = '{}'"),
    ("python", (ALNUM, 20), "APP_SECRET = '{}'"),
    ("python", _UUID, "ACCESS_TOKEN = '{}'"),
    ("shell", _WEAK, 'PWD="{}"'),
    ("shell", _WEAK, 'backup_password="{}" #'),
    ("shell", (ALNUM, 14), "export API_KEY={}"),
    ("kubernetes", (BASE64, 14), "data:\n  password: {}=="),
    ("kubernetes", (BASE64, 14), "  my_unique_authorization_key: {}=="),
    ("kubernetes", _PHRASE, "metadata:\n  private_key: {}"),
    # detect-secrets
    ("keyword", _STRONG, 'apikey := "{}"'),
    ("keyword", _STRONG, "theapikey: '{}'"),
    ("keyword", _STRONG, 'apikey[] = @"{}"'),
    ("keyword", _STRONG, 'some_dict["secret"] = "{}"'),
    ("keyword", _STRONG, "my_password ={}"),
    ("keyword", _STRONG, "fooprivate_keyfoo '{}';"),
    ("config", (string.digits, 14), "[credentials]\npassword = {}"),
    ("config", (string.digits, 10), "aws_secret_key = {}"),
    ("basic auth", _WEAK, "http://username:{}@example.com"),
    # secretlint
    ("connection", _WEAK, 'CONNECTION_URI="mongodb://root:{}@example.com:5434/gift"'),
    ("connection", _WEAK, "mysql --user=doadmin --password={} --host=db.example.com"),
    ("connection", _WEAK, "jdbc:mysql://sandy:{}@[myhost1:1111,myhost2:2222]/db"),
    ("connection", _WEAK, "jdbc:mysql://(host=myhost1,port=1111,user=sandy,password={})/db"),
    ("connection", _STRONG, "PGPASSWORD={} psql -hdb.example.com -Udoadmin -p 25060"),
    ("connection", _WEAK, "create_engine('postgresql://postgres:{}@google.com:5432/mydb')"),
    ("sendgrid", (ALNUM, 20), "oops SG.{}.H7Sgbba3afgKSDyB442aDK0kpGO3SD332313-L5528K"),
    # trufflehog
    ("jenkins xml", (ALNUM, 40), "<id>{{abyssale}}</id>\n<secret>{{abyssale AQAAABAAA {}}}</secret>\n<owner>admin</owner>"),
    ("jenkins xml", (HEX, 32), "<secret>{{AQAAABAAA {}}}</secret>"),
    ("log", (ALNUM, 40), "[INFO] Sending request to the API\n[DEBUG] Using API_KEY={}\n[INFO] Response: 200 OK"),
    ("log", (HEX, 32), "[DEBUG] Using Key={}"),
    ("sentence", (HEX, 32), "You can find a zonkafeedback secret {} within"),
    ("sentence", (LOWER, 40), "You can find a besttime token {} within but not valid"),
    ("url", (HEX, 32), "You can find it within https://api.trello.com/1/members/me?key={}&token=1"),
)  # fmt: skip


def _value(form: str | tuple[str, int], chance: random.Random) -> str:
    if isinstance(form, tuple):
        return "".join(chance.choices(form[0], k=form[1]))
    if form == _UUID:
        return "-".join("".join(chance.choices(HEX, k=size)) for size in (8, 4, 4, 4, 12))
    if form == _WEAK:
        return chance.choice(_WORDS) + str(chance.randint(1, 9999))
    if form == _PHRASE:
        return " ".join(chance.sample(_WORDS, 4))
    if form == _PEM:
        lines = "\\n".join("".join(chance.choices(BASE64, k=64)) for _ in range(4))
        return f"-----BEGIN PRIVATE KEY-----\\n{lines}\\n-----END PRIVATE KEY-----\\n"
    return "".join(chance.choices(ALNUM, k=9)) + chance.choice(_SIGNS) + chance.choice(UPPER) + "7"


def secrets(seed: int, each: int) -> Iterator[Sample]:
    """`each` of every form."""
    chance = random.Random(seed)  # noqa: S311 -- stable, not secret
    for kind, form, text in FORMS:
        for _ in range(each):
            value = _value(form, chance)
            yield Sample(kind, text.format(value), value, is_json=False)


def _of(alphabet: str, size: int, chance: random.Random) -> str:
    return "".join(chance.choices(alphabet, k=size))


def harmless(seed: int, count: int) -> Iterator[str]:
    """JSON documents; no person and no secret in them."""
    chance = random.Random(seed)  # noqa: S311 -- stable, not secret

    def uuid() -> str:
        return "-".join(_of(HEX, size, chance) for size in (8, 4, 4, 4, 12))

    def digits(size: int) -> str:
        return _of(string.digits, size, chance)

    def time() -> str:
        return f"2026-{chance.randint(10, 12)}-{chance.randint(10, 28)}T{chance.randint(10, 23)}:10:59.{digits(3)}Z"

    def pod(name: str) -> str:
        return f"{name}-{_of(HEX, 9, chance)}-{_of(LOWER, 5, chance)}"

    makers: tuple[Callable[[], object], ...] = (
        lambda: {"name": "app", "lockfileVersion": 3, "packages": {f"node_modules/{name}": {
            "version": f"{chance.randint(0, 9)}.{chance.randint(0, 20)}.{chance.randint(0, 9)}",
            "resolved": f"https://registry.npmjs.org/{name}/-/{name}-1.2.3.tgz",
            "integrity": "sha512-" + base64.b64encode(chance.randbytes(64)).decode(), "license": "MIT"}
            for name in ("js-tokens", "csrf", "keyv", "passport-local", "secure-keys", "auth-header")}},
        lambda: {"kind": "Pod", "metadata": {"name": pod("token-refresher"), "uid": uuid(), "resourceVersion": digits(9),
                 "labels": {"pod-template-hash": _of(HEX, 10, chance)}}, "spec": {"serviceAccountName": "default",
                 "containers": [{"env": [{"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db-credentials", "key": "password"}}},
                 {"name": "LOG_LEVEL", "value": "debug"}], "image": f"registry.example/app@sha256:{_of(HEX, 64, chance)}"}],
                 "volumes": [{"name": f"kube-api-access-{_of(LOWER, 5, chance)}", "secret": {"secretName": f"default-token-{_of(LOWER, 5, chance)}"}}]},
                 "status": {"podIP": f"10.1.{chance.randint(1, 9)}.7", "containerID": f"containerd://{_of(HEX, 64, chance)}"}},
        lambda: {"openapi": "3.1.0", "components": {"securitySchemes": {"ApiKeyAuth": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                 "oauth": {"type": "oauth2", "flows": {"password": {"tokenUrl": "https://auth.example.com/oauth/token", "scopes": {"read:secrets": "Reads secrets"}}}}},
                 "schemas": {"Login": {"properties": {"password": {"type": "string", "format": "password", "description": "The user's password. At least 12 characters."},
                 "accessToken": {"type": "string", "example": "<access token>"}}}}}},
        lambda: {"commit": _of(HEX, 40, chance), "github": {"sha": _of(HEX, 40, chance), "run_id": digits(10), "ref": "refs/heads/main"},
                 "cache_key": f"Linux-pip-{_of(HEX, 64, chance)}", "etag": f'W/"{_of(HEX, 32, chance)}"'},
        lambda: {"js": "!function(e,t){var n=e.key,r=t.token;return n===r?e.secret(t):o(e.password,{key:n,auth:!0})}(window,document);"
                 "function a(b,c){return b.charCodeAt(c)^0x5f3759df}", "map": "app." + _of(HEX, 8, chance) + ".js.map"},
        lambda: {"css": f".btn-{_of(LOWER, 6, chance)}{{color:#{_of(HEX, 6, chance)};background:url(data:image/png;base64,"
                 + base64.b64encode(b"\x89PNG" + chance.randbytes(90)).decode() + ")}"},
        lambda: {"@timestamp": time(), "level": "info", "trace_id": _of(HEX, 32, chance), "span_id": _of(HEX, 16, chance),
                 "dd.trace_id": digits(19), "msg": f"token refreshed for service {pod('auth-server')} in {chance.randint(1, 900)}ms", "request_id": uuid()},
        lambda: {"tracking": f"1Z{_of(UPPER, 6, chance)}{digits(10)}", "carrier": "UPS", "isbn": f"978-{digits(1)}-{digits(4)}-{digits(4)}-{digits(1)}",
                 "sku": _of(UPPER, 12, chance), "price": {"amount": f"{chance.randint(1, 9999)}.{digits(2)}", "currency": "EUR"}, "order": digits(9)},
        lambda: {"geometry": {"type": "Point", "coordinates": [chance.uniform(-180, 180), chance.uniform(-90, 90)]}, "place_id": f"ChIJ{_of(URL64, 23, chance)}",
                 "plus_code": "8FVC9G8F+6X", "osm_id": chance.randint(10**8, 10**10)},
        lambda: {"object": "chat.completion", "id": f"chatcmpl-{_of(ALNUM, 29, chance)}", "created": 1_760_000_000 + chance.randint(0, 10**7),
                 "system_fingerprint": f"fp_{_of(HEX, 10, chance)}", "usage": {"prompt_tokens": chance.randint(1, 9999), "completion_tokens_details": {"reasoning_tokens": 0}}},
        lambda: {"id": f"evt_{_of(ALNUM, 24, chance)}", "object": "event", "data": {"customer": f"cus_{_of(ALNUM, 14, chance)}", "invoice": f"in_{_of(ALNUM, 24, chance)}",
                 "payment_intent": f"pi_{_of(ALNUM, 24, chance)}", "livemode": False}, "idempotency_key": uuid()},
        lambda: {"en": {"password": "Password", "forgot_password": "Forgot your password?", "token": "Token", "api_key": "API key", "wrong": "The password you entered is wrong."},
                 "de": {"password": "Passwort", "forgot_password": "Passwort vergessen?", "api_key": "API-Schl\u00fcssel"}, "fr": {"password": "Mot de passe"}},
        lambda: {"resource": {"aws_secretsmanager_secret": {"db": {"name": "prod/db/password", "kms_key_id": f"arn:aws:kms:eu-west-1:{digits(12)}:key/{uuid()}"}}},
                 "variable": {"db_password": {"type": "string", "sensitive": True}}, "secret_arn": f"arn:aws:secretsmanager:eu-west-1:{digits(12)}:secret:prod/db-{_of(ALNUM, 6, chance)}"},
        lambda: {"results": [{"title": f"How to rotate an API key, part {chance.randint(1, 9)}", "url": f"https://example.com/blog/{chance.randint(2000, 2026)}/rotate-api-keys",
                 "snippet": "Set the secret in your environment (export API_KEY=...) and never commit a password or token to git."}], "next_page_token": _of(URL64, 64, chance)},
        lambda: {"text": f"Meeting on {time()[:10]} at 10:30, room 4-{digits(3)}, version {chance.randint(1, 9)}.{chance.randint(1, 30)}.0; the budget is 12,500.00 EUR, invoice {digits(8)}.",
                 "hash": _of(HEX, 128, chance), "nonce": _of(HEX, 24, chance), "mac": ":".join(_of(HEX, 2, chance) for _ in range(6))},
    )  # fmt: skip
    for index in range(count):
        yield json.dumps(makers[index % len(makers)]())
