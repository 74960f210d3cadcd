"""Secrets in statements, calls and commands: there the place says what a value is, more than a name beside it."""

# ruff: noqa: E501 -- one alternative a line reads best

from toolpolicy_sidecar.redact.detectors import passwords, plausible
from toolpolicy_sidecar.redact.detectors.detector import Detector, invented, secret

_STRING = r"[\"'][^\"'\n]{0,120}[\"']"
_LITERAL = r"[\"']([^\"'\n\\]{4,120})"
_ARGUMENT = r"""(?:"[^"\n]{0,120}"|'[^'\n]{0,120}'|[A-Za-z0-9_.$]{1,60})\s{0,4},\s{0,8}"""
_IDENTIFIED_BY = r"identified\s+(?:with\s+[\"'`]?[a-z0-9_]{1,40}[\"'`]?\s+(?:by|as)|by)\s+(?:password\s+)?"
_OF_PASSWORDS = r"(?:(?i:passw|pwd|passphrase)|(?i:[_.-]|\b)(?i:pass)(?i:[_.-]|\b))"
_OF_SECRETS = rf"(?:{_OF_PASSWORDS}|(?i:secret|token|api_?key|credential|(?:access|private|auth|encryption|signing)_?key))"

STATEMENTS: tuple[Detector, ...] = (
    secret(
        "SQLPassword",
        "Passwords in the statements of SQL that make and change users.",
        "the manuals of MySQL, PostgreSQL, Oracle and SQL Server: CREATE USER, ALTER ROLE, SET PASSWORD",
        r"(?i:\bidentified\s(?:with|by)\s|\b(?:create|alter)\s(?:user|role|login|group)\s|\bpassword ?\(\s?[\"'])",
        rf"\b(?i:{_IDENTIFIED_BY})[\"']([^\s\"'`;,()\\]{{4,100}})"
        rf"|\b(?i:(?:(?:create|alter)\s(?:user|role)\s[^;\n]{{1,120}}?|to\s+[^\s;]{{1,100}})\s+{_IDENTIFIED_BY})([^\s\"'`;,()\\]{{4,100}})"
        r"|\b(?i:(?:create|alter)\s(?:user|role|login|group)\s[^;\n]{0,120}?\bpassword(?:\s{1,2}=?|=)\s{0,2})[NE]?[\"']?"
        r"([^\s\"';,()\\]{4,100})"
        r"|(?i:\bset\s[^;\n]{0,120}?=\s{0,2}password ?\(\s?)" + _LITERAL,
        (
            "CREATE USER 'jane'@'%' IDENTIFIED BY 'letmein22';",
            "alter user jane identified with mysql_native_password by 'letmein22'",
            "ALTER ROLE jane WITH LOGIN PASSWORD 'letmein22' VALID UNTIL '2027-01-01'",
            "CREATE LOGIN jane WITH PASSWORD = N'letmein22'",
            "SET PASSWORD FOR 'jane'@'%' = PASSWORD('letmein22')",
        ),
        (
            "CREATE USER jane IDENTIFIED BY PASSWORD '?'",
            "identified by its hash",
            "the server identified by <code>ServerId</code>",
            "a scan identified by **scanId**",
            "each of them is identified by order-id-2",
            "Create a user with username:password@host",
            "ALTER ROLE jane PASSWORD NULL",
        ),
        passwords.in_a_statement,
        confidence="Medium",
    ),
    secret(
        "CallPassword",
        "Passwords and keys among the arguments of calls that log in, connect or sign.",
        "the interfaces of requests, smtplib, JDBC, Go's database/sql, libcurl, PowerShell, Arduino, PyJWT, Node's crypto",
        r"(?i:login|logon|sign_?in|authenticat|auth|connection|password[a-z]{3,20}|wifi\.begin|twilio)\(\s{0,3}[\"']"
        r"|\bauth ?[=:] ?[(\[]|@(?:tcp|unix)\(|CURLOPT_|(?i:SecureString) ['\"-]|(?i:jwt\.[a-z]{4,6}|hmac[a-z.]{0,6})\(",
        r"(?i:\b(?:login|logon|sign_?in|authenticate)|(?:basic|digest|plain)_?auth(?:entication)?|connection"
        r"|password_?authentication|user_?name_?password_?[a-z]{0,20}|wifi\.begin|twilio)\(\s{0,3}"
        rf"(?:{_STRING},\s{{0,3}}){{1,3}}{_LITERAL}"
        rf"|\bauth ?[=:] ?[(\[]\s?{_STRING},\s?{_LITERAL}"
        r"|\b[A-Za-z0-9_.-]{1,40}:([^\s\"'@]{3,100})@(?:tcp|unix)\("
        rf"|CURLOPT_(?:PROXY)?(?:PASSWORD|KEYPASSWD)\s?,\s?{_LITERAL}"
        r"|CURLOPT_(?:PROXY)?USERPWD\s?,\s?[\"'][^\"':\n]{1,80}:([^\"'\n\\]{3,100})"
        r"|(?i:ConvertTo-SecureString)(?: -[A-Za-z]{2,12}){0,3} [\"']([^\"'\n\\]{4,100})"
        rf"|\b(?i:jwt\.(?:sign|verify|encode|decode))\([^()\"'\n,]{{1,60}},\s?b?{_LITERAL}"
        rf"|\bhmac\.new\(b?{_LITERAL}|\bcreateHmac\({_STRING},\s?{_LITERAL}",
        (
            'requests.get(url, auth=("jane", "letmein22"))',
            'smtp.login("jane@example.com", "letmein22")',
            'DriverManager.getConnection("jdbc:oracle:thin:@db", "scott", "letmein22")',
            'sql.Open("mysql", "root:letmein22@tcp(db:3306)/app")',
            'curl_easy_setopt(curl, CURLOPT_USERPWD, "jane:letmein22")',
            'ConvertTo-SecureString -String "letmein22" -AsPlainText -Force',
            'WiFi.begin("office", "letmein22")',
            "jwt.sign(payload, 'letmein22')",
        ),
        (
            'login("username", "password")',
            'getConnection("primary", "replica")',
            "auth=(user, secret)",
            "jwt.verify(token, publicKey)",
            'ConvertTo-SecureString "$env:PASSWORD" -AsPlainText',
        ),
        passwords.no_word,
        confidence="Medium",
    ),
    secret(
        "LoginArgument",
        "Passwords that code hands over by their place: behind an address and a user, or behind a user.",
        "PDO, mysqli, PyMySQL, JDBC, DBI; basic authentication in Ruby, Rust, Java",
        r"(?i:mysqli?_p?connect|mysql\.connect|getconnection|dbi(?:->|\.|::)connect|new pdo|basic_?auth|withcredentials)[( ]",
        r"(?i:mysqli?_p?connect|mysql\.connect|getconnection|dbi(?:->|\.|::)connect|new pdo)\(\s{0,8}"
        + _ARGUMENT * 2
        + _LITERAL
        + r"|(?i:basic_?auth|withcredentials)[( ]\s{0,8}"
        + _ARGUMENT
        + r"(?:Some\()?"
        + _LITERAL,
        (
            'mysqli_connect("localhost", "root", "letmein22", "app");',
            "new PDO('mysql:host=db', 'root', 'letmein22');",
            'DriverManager.getConnection(url, "app", "letmein22");',
            '.basic_auth("app", Some("letmein22"))',
            "http.basic_auth 'app', 'letmein22'",
        ),
        (
            'mysqli_connect("localhost", "root", "");',
            'basic_auth(user, "password")',
            "getConnection(url, user, pw)",
        ),
        passwords.no_word,
        confidence="Medium",
    ),
    secret(
        "FallbackSecret",
        "Secrets that stand in code for a setting that is not there.",
        "getenv and its like in Python, JavaScript, Ruby, PHP, C#, Go, Java",
        r"(?i:env|environ|get|put|fetch|variable|property|config|setting)[(\[]{1,2}[\"']|\benv\.[A-Z]",
        r"(?i:env|environ|get|put|fetch|getenv|environmentvariable|property|config|setting)(?:[(\[]{1,2}[\"']|\.)[A-Za-z0-9_.-]{0,40}"
        + _OF_SECRETS
        + r"[A-Za-z0-9_.-]{0,20}(?:[\"']?[\])]{0,2} ?(?:\|\||\?\?|\bor\b|\{)|[\"'],) ?b?"
        + _LITERAL,
        (
            f'os.environ.get("API_TOKEN", "{invented(24)}")',
            f"ENV['API_TOKEN'] || '{invented(24)}'",
            "'password' => env('DB_PASSWORD', 'letmein22')",
            'getenv("PASSWORD") or "letmein22"',
            'ENV.fetch("DB_PASSWORD") { "letmein22" }',
            "process.env.SECRET || 'letmein22'",
            'props.put("mail.smtp.password", "letmein22")',
        ),
        (
            'os.environ.get("TOKEN_URL", "https://example.com/token")',
            'env("DB_PASSWORD", "")',
            'getenv("SECRET_NAME", "my-secret")',
            'config.get("token", "value")',
        ),
        passwords.no_word,
        confidence="Medium",
    ),
    secret(
        "QuotedPassword",
        "Passwords in quotes right behind their name, or behind the name of a setting that is a line of its own.",
        "Gradle, C's #define, R, esmtprc, Dockerfile, redis.conf, nslcd.conf, kickstart, IOS",
        r"(?i:passw(?:or)?d|passphrase|_pass|\bpsk)[A-Za-z_]{0,6}\*{0,2}(?:\[[0-9]{0,4}\])?(?: ?(?:<-|=|:\*{0,2}) ?|[ \t]{1,8})\\?[\"'`]"
        r"|\b(?:ENV|ARG|SET) [A-Z]|requirepass|masterauth|(?i:bind_?pw|root_?pw|snmp-server community|password 7 |(?:with|using) (?:the )?p(?:assw(?:or)?d|ass|w) |and passw(?:or)?d )",
        r"(?i:passw(?:or)?d|passphrase|_pass|\bpsk)(?i:_[a-z]{2,6})?(?:(?:\[[0-9]{0,4}\] ?=|\*{0,2}:\*{0,2}|[ \t]? ?<-)[ \t]{0,8}|[ \t]{1,8})"
        r"\\?[\"'`]([^\"'`\s\\]{4,80})[\"'`\\]"
        r"|\b(?:ENV|ARG|SET) [A-Z0-9_]{0,30}(?:PASSWORD|PASSWD|PASS|PWD|SECRET|TOKEN|API_?KEY)[A-Z0-9_]{0,10} [\"']?([^\s\"'$=]{4,100})"
        r"|\b(?:requirepass|masterauth|(?i:bind_?pw|root_?pw(?: --plaintext)?))(?:[ \t]{1,8}|: ?)[\"']?([^\s\"'\\]{4,100})"
        r"|\bsnmp-server community ([^\s\"']{4,60})|\bpassword 7 ([0-9A-F]{8,60})\b"
        r"|\b(?i:(?:with|using) (?:the )?(?:passw(?:or)?d|pass|pw)|and passw(?:or)?d) [\"'`]?([^\s\"'`,;()\\]{5,80})",
        (
            'storePassword "letmein22"',
            'password[255] = "letmein22"',
            "**Password:** `letmein22`",
            'password <- "letmein22"',
            "ENV MYSQL_ROOT_PASSWORD letmein22",
            "requirepass letmein22",
            "bindpw letmein22",
            "username jane password 7 094F471A1A0A57",
            "log in as jane with password letmein22",
        ),
        (
            'the password "incorrect"',
            "**Password:** `required`",
            "ENV PASSWORD_FILE /run/secrets/db",
            "ENV TOKEN_TTL 3600s",
            "cy.get('#password').type(Cypress.env('password'))",
            "requirepass yourpassword",
            "snmp-server community public",
            "with password authentication",
            "pass `--build-from-source` to it",
        ),
        passwords.of_setting,
        confidence="Medium",
    ),
    secret(
        "OptionPassword",
        "Passwords in the options of more commands: archives, remote desktops, databases, mail, the web.",
        "the manual pages of these commands",
        r"\b(?:zip|7z|ssh|sshpass|plink|pscp|sqlcmd|az login|mongo(?:sh|dump|restore)?|mosquitto_[ps]ub|lftp|https?|htpasswd"
        r"|net use|x?freerdp|rdesktop|rabbitmqctl|kinit|echo|curl|useradd) |chpasswd",
        r"\b(?:zip|ssh|sqlcmd|mosquitto_[ps]ub)\b[^\n|]{0,120}? -P ?[\"']?([^\s\"']{4,100})"
        r"|\b(?:plink|pscp|psftp)\b[^\n|]{0,120}? -pw [\"']?([^\s\"']{4,100})"
        r"|\b(?:az login|mongo(?:sh|dump|restore)?|rdesktop)\b[^\n|]{0,200}? -p [\"']?([^\s\"']{4,100})"
        r"|\b7z\b[^\n|]{0,120}? -p([^\s\"']{4,100})"
        r"|\bcurl\b(?:[^\n]|\\\n){0,200}?\s--proxy-user[ =]?[\"']?[^\s:\"']{1,80}:([^\s\"'@]{3,100})"
        r"|\bhttps? (?:[^\n|]{0,120} )?-a [\"']?[^\s:\"']{1,80}:([^\s\"']{4,100})"
        r"|\blftp\b[^\n|]{0,120}? -u [\"']?[^\s,\"']{1,80},([^\s\"']{4,100})"
        r"|\bhtpasswd -[a-zA-Z]{0,4}b[a-zA-Z]{0,4} \S{1,120} \S{1,80} [\"']?([^\s\"']{4,100})"
        r"|\bnet use\b[^\n]{0,120}? /user:\S{1,80} [\"']?([^\s\"'/]{4,100})"
        r"|\bfreerdp\b[^\n]{0,200}? /p:[\"']?([^\s\"']{4,100})"
        r"|\brabbitmqctl (?:add_user|change_password) \S{1,80} [\"']?([^\s\"']{4,100})"
        r"|\becho (?:-n )?[\"']?([^\s\"'|]{4,200})[\"']? ?\| ?(?:docker|podman|helm|sudo|kinit|crane|oras|skopeo)\b"
        r"[^\n|]{0,100}(?:--password-stdin| -S\b|kinit)"
        r"|\becho (?:-e )?[\"']?[a-z_][a-z0-9_-]{0,31}:([^\s\"'|]{4,100})[\"']? ?\| ?(?:sudo )?chpasswd"
        r"|\bchpasswd:[^\n]{0,40}\n?[^\n]{0,40}?[\"' ][a-z_][a-z0-9_-]{0,31}:([^\s\"'\\}]{4,100})",
        (
            "zip -P letmein22 out.zip in.txt",
            "az login --service-principal -u app -p letmein22 --tenant t",
            "http -a jane:letmein22 https://example.com",
            "net use z: \\\\srv\\share /user:jane letmein22",
            'echo "letmein22" | docker login -u jane --password-stdin',
            "echo 'root:letmein22' | sudo chpasswd",
            "plink -ssh jane@host -pw letmein22",
        ),
        (
            "ssh -p 2222 jane@example.com",
            "echo $PASSWORD | docker login -u jane --password-stdin",
            "zip -r out.zip in",
            "http -a $USER:$PASSWORD https://example.com",
        ),
        passwords.no_word,
        confidence="Medium",
    ),
    secret(
        "VariableDefault",
        "Secrets that are the default of a variable or parameter.",
        "Terraform's variable blocks, the parameters of CloudFormation",
        r"(?i:passw(?:or)?ds?|passphrase|secret|token|key)(?:\" ?\{|:[ \t]{0,2}\r?\n)",
        r"(?i:variable\s{1,4}\"[a-z0-9_-]{0,60}(?:passw(?:or)?d|passphrase|secret|token|api_?key|(?:access|secret)_?key)s?\"\s?\{)"
        r"[^{}]{0,300}?\bdefault\s{0,12}=\s{0,4}\[?\s{0,8}\"([^\"\n$]{4,200})\""
        r"|[A-Za-z0-9]{0,60}(?:Password|Passphrase|Secret|Token|ApiKey|SecretKey|AccessKey):[ \t]{0,2}\r?\n"
        r"(?:[ \t]{1,16}[A-Z][^\n]{1,120}\n){0,5}?[ \t]{1,16}Default:[ \t]{1,4}[\"']?([^\s\"'{}!]{4,200})",
        (
            'variable "db_password" {\n  type    = string\n  default = "letmein22"\n}',
            "  DBPassword:\n    Type: String\n    NoEcho: true\n    Default: letmein22\n",
        ),
        (
            'variable "db_password" {\n  default = ""\n}',
            "  DBPassword:\n    Type: String\n    NoEcho: true\n",
        ),
        passwords.no_word,
        confidence="Medium",
    ),
    secret(
        "AccountAndPassword",
        "A password behind the account that it belongs to, where both are announced.",
        "how people write accounts down: ID/PW, user/pass, login:password",
        r"[/&|:,+] ?\(?(?i:pw|pwd|pass|passwd|password|비밀번호|비번)[): =(/-]"
        r"|(?i:creds|credentials|login)(?: are| is|:) [A-Za-z0-9_.@-]{1,60} / ",
        r"(?i:\b(?:id|user(?:[ _-]?name)?|login|account|email)|계정|아이디) ?\)? ?[/&|:,+] ?\(?"
        r"(?i:pw|pwd|pass|passwd|password|비밀번호|비번)(?:/[a-z]{2,8})?\)?"
        r"(?: ?(?:[:=(-]|->) ?| )(?:[a-z]{2,12}:)?[A-Za-z0-9_.@-]{1,60} ?(?://?|[:,(|]) ?([^\s/,;:()\"'|]{5,80})"
        r"|\b(?i:creds|credentials|login)(?: are| is|:) [A-Za-z0-9_.@-]{1,60} / ([^\s/,;:()\"'|]{5,80})",
        ("ID/PW: jane/letmein22", "username/password=jane:letmein22", "user/pass jane/letmein22"),
        ("user/password: see/the docs", "login/password page: /login/reset", "id/pw: jane/<password>"),
        plausible.credential,
        confidence="Medium",
    ),
    secret(
        "SeedPhrase",
        "Words from which the keys of a wallet are made.",
        "BIP 39",
        r"(?i:seed|mnemonic|recovery|backup|secret)[ _-]?(?:(?i:phrase|words|mnemonic|seed))?\W{1,4}[a-z]{3,8}[ ,]",
        r"(?i:(?:seed|mnemonic|recovery|backup|secret)(?:[ _-]?(?:phrase|words|mnemonic|seed))?)(?: is)?[\"'`]?\s{0,2}[:=]?\s{0,2}[\"'`]?"
        r"((?:[a-z]{3,8}[ ,]{1,2}){11,23}[a-z]{3,8})\b",
        ("seed phrase: " + " ".join(["zoo", "wrong", "abandon", "letter", "advice", "cage"] * 2),),
        ("the seed phrase: twelve words", "mnemonic: one two three"),
        plausible.of_seed,
        confidence="Medium",
        keyed=True,
    ),
    secret(
        "QuotedSecret",
        "A random value in quotes with signs in it, beside a name that means a secret.",
        "Django's SECRET_KEY, the salts of WordPress, base64 with its padding in the middle",
        r"(?i:secret|token|salt|(?:auth|in|nonce|api|access|private|encryption)_?key)[A-Za-z_]{0,8}[\"'\])]{0,3} ?(?:[:=]|=>|,) {0,10}\\?[\"']",
        r"(?i:\b[a-z0-9_.-]{0,30}(?:secret|token|salt|(?:secret|auth|in|nonce|api|access|private|encryption)_?key)(?:_?key|_?base|_?salt)?)"
        r"[\"'\])]{0,3} ?(?:[:=]|=>|,) {0,10}\\?(?:\"([^\s\"\\]{24,200})|'([^\s'\\]{24,200}))",
        (
            "SECRET_KEY = 'q7&w2(e9$rt=y4u!z3p%lk#a8s+d6f'",
            "define('AUTH_KEY',         'q7&w2(e9@rt=y4u!z3p%lk#a8s+d6f')",
        ),
        ("token: 'https://example.com/oauth/token?v=2'", "secret: '${{ secrets.DEPLOY_TOKEN_2_PROD }}'"),
        plausible.of_signs,
        confidence="Medium",
    ),
)
