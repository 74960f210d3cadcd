"""Secrets that have no form of their own: the name beside a value says what it is."""

import re

from toolpolicy_sidecar.redact.detectors import passwords, plausible
from toolpolicy_sidecar.redact.detectors.detector import ALNUM, BASE64, HEX, Detector, Validator, invented

_IN_USE = "names in use in configuration files, code and APIs"

_CLOSED = r"""["'`\[\]\\)]{0,4}"""
_MADE = r"(?:(?:new )?(?:String|SecretStr|Secret|SecureString|Buffer\.from|bytes\.fromhex|b64decode|\[\]byte)\(b?)?"
_OPENED = _MADE + r"""(?:b["'])?["'`\\@]{0,4}(?:\{(?:[A-Za-z]{4,20} ){0,2})?"""
_TYPE = r"""(?:&(?:'static )?)?[A-Za-z][A-Za-z0-9<>\[\] ]{1,14}(?:\| ?[a-z]{4,9})?[?!]?\s{0,2}=\s{0,2}["'`]"""
_TYPED = rf"\s{{0,2}}[?!]?:?\s{{0,2}}{_TYPE}"
_LIKE = (
    r"(?:[ ](?i:for|of|in|on|at)[ ][A-Za-z0-9_'@. -]{1,30}?[ ]?|[ ]\([A-Za-z ]{2,12}\)[ ]?)?"
    r"(?:[-+:?.|]{0,3}=>?|={2}|:{1,3}(?:\*{2})?|->|>|\(|\bis\b|\bwas\b|\bset to\b)[ \t]{0,8}(?:\r?\n[ \t]{1,12})?"
    r"(?:[|>][-+]?\s{1,20})?"
)
_BESIDE = r"""[,;]?\s{1,20}<?["']?(?:[Vv]alue|VALUE)["']?\s?[=:>]\s?|</(?:key|name)>\s{0,20}<[a-z]{3,8}>"""


def _between(typed: str) -> str:
    return rf"{_CLOSED}(?:{typed}|\s{{0,8}}{_LIKE}|{_BESIDE})"


EQUALS = _between(_TYPED) + _OPENED
"""What stands between a name and its value, in most languages and in prose."""
_FALLBACK = r"""[ ]?(?:\|\||\?\?)[ ]?["'`]?|\{["']"""
_COLUMN = r"""[,|]|[ \t]{1,20}(?:\|[ \t]{1,9})?@?["'`]?|\\?["']\s{0,3},\s{0,4}\\?["']{1,2}|,["']"""
_LISTED = rf"(?:{EQUALS}|{_COLUMN}|{_FALLBACK})"
"""The same, also as columns, side by side, or in place of a setting that is not there."""


def _named(names: str, equals: str, value: str) -> str:
    """A name and its value; also as an option of a command."""
    return rf"(?:{names}{equals}|--?[A-Za-z0-9_-]{{0,30}}?{names}(?:=|[ ]{{1,8}}){_OPENED}){value}"


def _of_letters_and_digits(characters: str) -> re.Pattern[bytes]:
    """A value of nothing else, behind something that no value holds: what stands between a name and a value never ends
    within a word. `characters`: of values."""
    return re.compile(rb"(?s:.*)[^%b]([A-Za-z0-9]++=*+)\Z" % characters.encode())


def _detector(  # noqa: PLR0917 -- the columns of a table
    name: str,
    description: str,
    trigger: str,
    expression: str,
    examples: tuple[str, ...],
    others: tuple[str, ...],
    validator: Validator,
    value: re.Pattern[bytes] | None = None,
) -> Detector:
    groups = ("Secrets",)
    return Detector(
        name,
        groups,
        description,
        _IN_USE,
        "Medium",
        trigger,
        expression,
        examples,
        others,
        validator,
        keyed=True,
        value=value,
    )


_FOREIGN_PASSWORDS = (
    "contrase(?:\u00f1|n)a|\\bclave\\b|mot[_ ]?de[_ ]?passe|\\bmdp\\b|passwort|kennwort|\\bsenha|wachtwoord"
    "|has(?:\u0142|l)o\\b|\u043f\u0430\u0440\u043e\u043b\u044c|\\bparola|\\bheslo|l(?:\u00f6|o)senord|salasana|(?:\u015f|\\bs)ifre\\b"
    "|jelsz(?:\u00f3|o)|\u5bc6\u7801|\u5bc6\u78bc|\u53e3\u4ee4|\u30d1\u30b9\u30ef\u30fc\u30c9|\ube44\ubc00\ubc88\ud638"
    "|\ube44\ubc88|\ud328\uc2a4\uc6cc\ub4dc|\\bpalavra-passe|\\blozinka|\\bkata ?sandi"
    "|m(?:\u1ead|a)t kh(?:\u1ea9|a)u|\u0e23\u0e2b\u0e31\u0e2a\u0e1c\u0e48\u0e32\u0e19"
)
_PASSWORD = (
    rf"(?:(?i:passw(?:or)?d|passphrase|passwrd|pass_?code|pwd|{_FOREIGN_PASSWORDS})"
    r"|(?i:\b|_|-|\.|store|key|user|bind|root)(?i:pass)|[a-z]Pass"
    r"|(?i:\bpw|_pw|\bpword|\bpsk|\bcommunity_string))"
    r"(?:(?i:[_.-]?(?:[0-9]{1,2}|value|str(?:ing)?|plain|text|raw|hash|default|admin|root|user|db|old|new|current|confirm(?:ation)?"
    r"|repeat|again|mysql|postgres|redis|ldap|smtp|ftp|ssh|open|prod(?:uction)?|live|stag(?:e|ing)|qa|uat|dev|test|local))){0,2}"
)
_TELLING = (
    r"(?i:secret|token|credentials?|creds|authorization|apikey|api[_. -]key|jwt|bearer|\b(?:[a-z0-9]+_)?pat\b|"
    r"(?:access|auth|private|secret|encryption|signing|master|account|shared|storage|service|admin|license|subscription"
    r"|bot|app|server|client|deploy|webhook|sas|consumer|application)[_. -]?(?:key|pwd))"
    r"[A-Za-z0-9_.-]{0,24}"
)
_OF_SECRETS = rf"{ALNUM}+/_.~!@#$%^*:?-"
_VALUE = rf"([{_OF_SECRETS}]{{8,}}=*)"
_OF_KEYS = rf"{ALNUM}+/_.-"
_OF_PROVIDERS = rf"{ALNUM}+_-"
_QUOTED_OR_BARE = (
    r"""(?:\\?"([^"\n\\]{4,80})\\?"|'([^'\n]{4,80})'|`([^`\n\s]{4,80})`|([^\s"'`,;&<>(){}\[\]\\]{4,}))"""
)
_UNOPENED = _between(rf"(?:[?!]?\s{{0,2}}:\s{{0,2}}|\s{{1,2}}){_TYPE}")
"""Without an opening, and no word goes on as the name of a type: a passport is no password."""
_UNCLOSED = r"""\s{0,2}(?:=|\|\||\?\?)\s{0,2}["'`]"""
"""Of a value that is cut off, or longer than people would remember, or that stands in for a setting."""
_KEYS = r"(?i:[A-Za-z0-9][_. :-]?key|\bkey|\bauth|_auth)(?i:[_-]?(?:[0-9]{1,2}|value|base64|b64|hex|prod|dev|test))?"

_PROVIDERS = (
    "abstract(?:api)?|adafruit|adobe|airbrake|airtable|aiven|alchemy|algolia|alibaba|aliyun|amplitude|anthropic|apify|"
    "apollo|appcenter|appveyor|artifactory|asana|assemblyai|atlassian|auth0|aviationstack|azure|baidu|beamer|bitbucket|"
    "bitfinex|bitly|bittrex|binance|braintree|branchio|brevo|browserstack|bugsnag|buildkite|calendly|checkly|circleci|"
    "clearbit|clickup|clickhouse|clojars|cloudant|cloudflare|cloudinary|cloudsmith|codacy|codeclimate|codecov|codemagic|"
    "cohere|coinapi|coinbase|coinmarketcap|confluent|confluence|contentful|convertkit|coveralls|customerio|darksky|"
    "databricks|datadog|deepgram|deepl|deepseek|delighted|digitalocean|discord|disqus|docusign|doppler|drone_?ci|dropbox|"
    "duffel|dynatrace|elastic(?:search)?|elevenlabs|etherscan|etsy|eventbrite|facebook|fastly|figma|finicity|finnhub|"
    "firebase|fixerio|flickr|flutterwave|foursquare|frameio|freshbooks|freshdesk|freshworks|fullstory|gemini|geoapify|"
    "geocodio|getresponse|gitee|github|gitlab|gitter|gnip|gocardless|google|grafana|gumroad|harness|helpscout|heroku|"
    "hetzner|honeycomb|hootsuite|hotjar|hubspot|huggingface|hunterio|infura|instagram|intercom|ipdata|ipgeolocation|"
    "ipinfo|ipstack|jenkins|jfrog|jira|jotform|jumpcloud|kaggle|klaviyo|kraken|kucoin|launchdarkly|lastfm|"
    "linear|linkedin|linode|linked_in|lob|locationiq|logdna|loggly|logzio|lokalise|mailboxlayer|mailchimp|mailgun|mailjet|"
    "mailtrap|mandrill|mapbox|mapquest|mattermost|maxmind|mercadopago|meraki|messagebird|mixpanel|moonpay|mux|"
    "nasa|netlify|new_?relic|newsapi|nexmo|ngrok|notion|npm|numverify|nylas|nytimes|okta|omise|onesignal|openai|opencage|"
    "openweather(?:map)?|opsgenie|optimizely|pagerduty|paypal|paystack|pastebin|pendo|pinata|pinterest|pipedrive|plaid|"
    "planetscale|polygon|positionstack|postman|postmark|prismic|pubnub|pusher|quickbooks|rapidapi|raygun|razorpay|"
    "recaptcha|reddit|rollbar|rubygems|salesforce|sanity|sauce(?:labs)?|scalyr|scraperapi|screenshotapi|segment|sendbird|"
    "sendgrid|sendinblue|sentry|serpapi|shodan|shopify|signalwire|sinch|slack|snyk|sonar(?:cloud|qube)?|soundcloud|"
    "sparkpost|splunk|spoonacular|spotify|square(?:space|up)?|squarespace|stackpath|statuspage|storyblok|stormglass|strava|"
    "stripe|sumo(?:logic)?|supabase|surveymonkey|tatum|tavily|telegram|telnyx|tencent|terraform|tiingo|todoist|"
    "tomorrowio|tomtom|transloadit|travis(?:ci)?|trello|tumblr|twilio|twitch|twitter|typeform|unsplash|upcloud|"
    "uptimerobot|urlscan|vault|vercel|virustotal|vonage|vultr|wakatime|walkscore|weatherapi|weatherstack|webflow|wistia|"
    "woocommerce|wordnik|workday|xero|yandex|yelp|youtube|zapier|zendesk|zenserp|zerobounce|zipcodeapi|zoho|zoom"
)
_PART = (
    r"(?i:[_. -]?(?:api|app|application|access|auth|oauth2?|client|consumer|private|secret|key|token|pat|pwd|pass|cred"
    r"|rest|live|prod|dev|webhook|bot|personal|integration|write|read|admin|sid|crumb|client_?id|app_?id|v[0-9])){0,4}"
)

_LAST = "(?:[A-Z0-9=+/_-][a-z]?|[0-9][a-z]{2})"
"""How words of a language hardly end."""

NAMED: tuple[Detector, ...] = (
    _detector(
        "Password",
        "What stands beside a name that means a password, in a dozen languages.",
        rf"(?i:passw|passphr|pass_?code|pwd|{_FOREIGN_PASSWORDS}|(?:pass|\bpw|_pw|\bpword|\bpsk|\bcommunity_string)(?:[_.-][a-z]{{2,7}})?[\s'\"`=:,>)\\\]])",
        _named(_PASSWORD, rf"(?:{_UNOPENED}|{_UNCLOSED}){_MADE}[\\]{{0,2}}", _QUOTED_OR_BARE),
        (
            f"password={invented(10)}",
            f'DB_PASSWORD: "{invented(12)}"',
            "pwd=letmein22;",
            "the password is hunter2",
            "user=jane password='correct,horse'",
            "mysqldump --password hunter22 app",
            '<add key="adminPasswd" value="1lp83u5dn" />',
            "SMTP_PASS=letmein22",
            "String dbPass = 'letmein22'",
            "<password>letmein22</password>",
            "contrase\u00f1a: letmein22",
            "password: str = 'letmein22'",
            f'password="{invented(96)}"',
            'password="letmein22',
            'passwordStr="letmein22"',
            '"password_confirmation": "letmein22"',
            "PASSWORD_STAGING=letmein22",
            "process.env.DB_PASSWORD || 'letmein22'",
            'config.password ?? "letmein22"',
            "password: Final[str] = 'letmein22'",
            "password!: string = 'letmein22'",
            "**Password:** letmein22",
        ),
        (
            "password: string",
            "password=${DB_PASSWORD}",
            "the password is incorrect",
            "pass: the salt",
            '"pass": 1208, "fail": 3',
            "docker run -v $PWD:/tmp/work",
            "password: ********",
            "password = getpass.getpass()",
            "password: user.password",
            "password: must be at least 8 characters",
            'password: "Passwort"',
            "compass=north",
            'pass a pooled <a href="buffer-7.html">',
            "password || confirmation2",
            'user.password || "Password required"',
            'passport="K1234567", no pwd',
            "password (users only)",
            "User-password authentication.",
            '"password": "Contrase\u00f1a"',
            '"password": "\u041e\u0434\u043d\u043e \u043f\u0430\u0440\u043e\u043b\u044c"',
            '"password": "warehouse_password"',
            '"ChangePassword": "arn:aws:iam::aws:policy/ChangePassword"',
            "MasterPassword: <MASTER_PASSWORD>\n  StorageEncrypted: true",
        ),
        passwords.password,
    ),
    _detector(
        "KeyedSecret",
        "A value without a pattern, beside a name that means a secret.",
        r"(?i:secret|token|credential|creds|authoriz|api.?key|(?:access|auth|private|encryption|signing|master|account|shared|"
        r"storage|service|admin|license|subscription|bot|app|server|client|deploy|webhook|sas|consumer|application).?(?:key|pwd)"
        r"|jwt|bearer|_pat\b|token-|key-)",
        _named(_TELLING, _LISTED, _VALUE) + r"|(?i:secret|token|key)-([A-Za-z0-9]{32,})",
        (
            f"api_key={invented(32)}",
            f'"client_secret": "{invented(24, HEX)}"',
            f"ACCESS_TOKEN={invented(20)}",
            "apiKey: 550e8400-e29b-41d4-a716-446655440000",
            f"deploy --api-key {invented(32, HEX)}",
            f'client.setApiKey("{invented(24)}")',
            f"<clientSecret>{invented(20)}</clientSecret>",
            f"adobeToken,{invented(20)},",
            f'var acmeToken string = "{invented(24)}"',
            f"acme_token: |\n  {invented(24)}",
            f'ACME_TOKEN ?= "{invented(24)}"',
            f"//registry.npmjs.org/:_authToken={invented(36)}",
            f"api_key: k3yid8Xw2Lq90ab1.{invented(24)}",
            f"app.secret_key = b'{invented(32)}'",
            f'const token: string | undefined = "{invented(32)}";',
            f'static TOKEN: &\'static str = "{invented(32)}";',
            f'std::string secret{{"{invented(32)}"}};',
            f'#define API_SECRET @"{invented(32)}"',
            f"API token (prod) -> {invented(32)}",
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
            "secret_name: prod-db-1-credentials-2f7a",
            "token_type: urn:ietf:params:oauth2",
            "secret: path/to/the/secret-2",
            f"token_address: 0x{invented(40, HEX)}",
            "accessToken: services.k8sV1beta1Client.token2",
        ),
        plausible.random,
        _of_letters_and_digits(_OF_SECRETS),
    ),
    _detector(
        "SecretBeforeName",
        "A random value of which a sentence says that it is a secret.",
        rf"{_LAST}[\"'`]? (?:as|is) ",
        rf"([{ALNUM}+/_-]{{8,}}{_LAST}=*)[\"'`]? (?:as|is) "
        r"(?:(?:the|your|my|our|his|her|its|their|an?) )?(?:[A-Za-z0-9-]{1,20} ){0,2}"
        r"[A-Za-z0-9_.-]{0,30}(?i:secret|token|passw|key|credential)",
        (f"Use {invented(32)} as the acme_token today", f"'{invented(24, HEX)}' is my API key"),
        ("authentication is the key", "internationalization-2 is the secret"),
        plausible.credential,
    ),
    _detector(
        "NamedKey",
        "A random value beside a name that ends in key or auth.",
        rf"(?i:key|auth)[A-Za-z0-9_-]{{0,7}}[\"'` :=>,|?(\\\]]{{1,6}}(?:is |was )?[{ALNUM}+/_-]{{5}}",
        _named(_KEYS, _LISTED, rf"([{_OF_KEYS}]{{16,}}=*)"),
        (
            f"adafruit_key = '{invented(32)}'",
            f'"encryptionKey": "{invented(43, BASE64)}="',
            f"_auth={invented(24, BASE64)}",
            f"?key={invented(32)}",
            f"My acme key is {invented(32)}",
            f"process.env.ACME_KEY || '{invented(32)}'",
            f"env.ACME_KEY ?? '{invented(32)}'",
        ),
        (
            f"cache_key: {invented(32, HEX)}",
            f"publicKey={invented(43, BASE64)}",
            f"idempotency-key: {invented(32, HEX)}",
            "partitionKey: 550e8400-e29b-41d4-a716-446655440000",
            "author=Jane-Doe-and-others-2026",
            f'"key": "{invented(32, HEX)}"',
            "monkey = chimpanzee-gorilla-orang-utan",
            f"the key is {invented(32, HEX)}",
            f"its primary key is {invented(32, HEX)}",
        ),
        plausible.of_key,
        _of_letters_and_digits(_OF_KEYS),
    ),
    _detector(
        "ProviderValue",
        "A random value beside the name of a provider of services.",
        rf"(?:\b|_)(?i:{_PROVIDERS})[A-Za-z0-9_. -]{{0,12}}[\"'` :=>,|?(\\]{{1,6}}[{ALNUM}+/_-]{{5}}",
        rf"(?:\b|_)(?i:{_PROVIDERS}){_PART}{_LISTED}([{_OF_PROVIDERS}]{{14,}}=*)",
        (f"adafruit = '{invented(32)}'", f'"finnhub_app": "{invented(20)}"', f"DATADOG: {invented(40, HEX)}"),
        (
            f"github_sha: {invented(40, HEX)}",
            "slack: https://example.com/hooks/and-so-on",
            "google_site_name: some-long-name-of-a-site",
            f"gitlab_commit={invented(40, HEX)}",
        ),
        plausible.of_provider,
        _of_letters_and_digits(_OF_PROVIDERS),
    ),
)
