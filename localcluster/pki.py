"""Certificates of the cluster's parts, made with openssl."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

DAYS = "365"


class Pki:
    """A certificate authority in a folder. Everything that is there already is left as it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.ca = folder / "ca.crt"
        if not self.ca.exists():
            self._key("ca")
            self._openssl(
                "req", "-x509", "-new", "-key", str(self.key("ca")), "-subj", "/CN=toolpolicy-local-ca",
                "-days", DAYS, "-out", str(self.ca),
            )  # fmt: skip

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def certificate(self, name: str) -> Path:
        return self.folder / f"{name}.crt"

    def issue(self, name: str, subject: str, names: Sequence[str] = ()) -> None:
        """For server and client; `names` as of subjectAltName: `DNS:x`, `IP:1.2.3.4`."""
        if self.certificate(name).exists():
            return
        self._key(name)
        extensions = self.folder / f"{name}.ext"
        lines = [
            "keyUsage=digitalSignature",
            "extendedKeyUsage=serverAuth,clientAuth",
            # As on EKS: what refuses such an API server is of no use.
            "subjectKeyIdentifier=none",
            "authorityKeyIdentifier=none",
        ]
        if names:
            lines.append(f"subjectAltName={','.join(names)}")
        extensions.write_text("\n".join(lines) + "\n")
        request = self.folder / f"{name}.csr"
        self._openssl("req", "-new", "-key", str(self.key(name)), "-subj", subject, "-out", str(request))
        half = self.folder / f"{name}.half"
        self._openssl(
            "x509", "-req", "-in", str(request), "-CA", str(self.ca), "-CAkey", str(self.key("ca")),
            "-CAcreateserial", "-days", DAYS, "-extfile", str(extensions), "-out", str(half),
        )  # fmt: skip
        half.rename(self.certificate(name))

    def service_account_key(self) -> tuple[Path, Path]:
        """Private and public key that ServiceAccount tokens are signed with."""
        public = self.folder / "sa.pub"
        if not public.exists():
            self._key("sa")
            self._openssl("ec", "-in", str(self.key("sa")), "-pubout", "-out", str(public))
        return self.key("sa"), public

    def _key(self, name: str) -> None:
        self._openssl(
            "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(self.key(name))
        )

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def kubeconfig(path: Path, *, context: str, server: str, pki: Pki, user: str) -> Path:
    """Writes a kubeconfig for the client certificate `user`; returns its path."""
    path.write_text(
        "apiVersion: v1\nkind: Config\n"
        f'clusters: [{{name: {context}, cluster: {{server: "{server}", certificate-authority: {pki.ca}}}}}]\n'
        f"users: [{{name: {user}, user: {{client-certificate: {pki.certificate(user)}, "
        f"client-key: {pki.key(user)}}}}}]\n"
        f"contexts: [{{name: {context}, context: {{cluster: {context}, user: {user}}}}}]\n"
        f"current-context: {context}\n"
    )
    path.chmod(0o600)
    return path
