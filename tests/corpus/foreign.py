"""Secrets where others keep them: forms of the public fixtures of secret scanners, with values made here.

Nothing was tuned on these when they were first measured (2026-11-21, 0.839, see the test), which is what they are for: the
corpus in `redaction.py` and the detectors come from the same hands. Sources: the rules of noseyparker and kingfisher and
kingfisher's test programs in a dozen languages, detect-secrets' tests of its keyword plugin, secretlint's snapshots,
trufflehog's detector tests. `{}` is the secret; what stands around it is written anew.
"""

# ruff: noqa: E501 -- one form a line reads best; these are forms of secrets

import random
import string
from collections.abc import Iterator

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
