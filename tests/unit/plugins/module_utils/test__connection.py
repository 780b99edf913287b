# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import datetime
import http.server
import ssl
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.stateful.galera.plugins.module_utils import _connection
from ansible_collections.stateful.galera.plugins.module_utils._connection import Plain, find_plain
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError, UnreachableError
from ansible_collections.stateful.galera.plugins.module_utils._k8s import Client
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _config(cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "one",
        "contexts": [
            {"name": "one", "context": {"cluster": "c", "user": "u", "namespace": "db"}},
            {"name": "two", "context": {"cluster": "d", "user": "u"}},
        ],
        "clusters": [
            {"name": "c", "cluster": {"server": "https://one:6443/", **(cluster or {})}},
            {"name": "d", "cluster": {"server": "https://two:6443"}},
        ],
        "users": [{"name": "u", "user": {"token": "secret"} if user is None else user}],
    }


def _write(folder: Path, config: dict[str, Any]) -> str:
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.mark.parametrize(
    ("cluster", "user", "plain"),
    [
        ({}, None, Plain("https://one:6443", token="secret")),
        ({"certificate-authority-data": _b64("ca")}, None, Plain("https://one:6443", ca="ca", token="secret")),
        ({"certificate-authority": "ca.pem"}, None, Plain("https://one:6443", ca="text of ca.pem", token="secret")),
        ({"insecure-skip-tls-verify": True}, None, Plain("https://one:6443", token="secret", verify=False)),
        (
            {},
            {"client-certificate-data": _b64("cert"), "client-key-data": _b64("key")},
            Plain("https://one:6443", certificate="cert", key="key"),
        ),
        ({}, {}, Plain("https://one:6443")),
        ({"proxy-url": "http://proxy"}, None, None),
        ({"tls-server-name": "other"}, None, None),
        ({}, {"exec": {"command": "aws"}}, None),
        ({}, {"tokenFile": "/token"}, None),
        ({}, {"token": "secret", "as": "jane"}, None),
        ({}, {"auth-provider": {"name": "oidc"}}, None),
    ],
)
def test_kubeconfig(tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any] | None, plain: Plain | None) -> None:
    (tmp_path / "ca.pem").write_text("text of ca.pem")
    path = _write(tmp_path, _config(cluster, user))
    assert find_plain({"kubeconfig": path, "context": None}, {}) == plain


def test_context(tmp_path: Path) -> None:
    path = _write(tmp_path, _config())
    plain = find_plain({"kubeconfig": path, "context": "two"}, {})
    assert plain is not None
    assert plain.host == "https://two:6443"


@pytest.mark.parametrize(
    ("options", "environ", "found"),
    [
        ({"kubeconfig": "FILE"}, {}, True),
        ({}, {"K8S_AUTH_KUBECONFIG": "FILE"}, True),
        ({}, {"KUBECONFIG": "FILE"}, True),
        ({"kubeconfig": "FILE"}, {"KUBECONFIG": "/elsewhere"}, True),
        ({}, {"KUBECONFIG": "FILE", "KUBERNETES_SERVICE_HOST": "10.0.0.1"}, False),
        ({"kubeconfig": "FILE"}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, True),
        ({"kubeconfig": "FILE"}, {"HTTPS_PROXY": "http://proxy"}, False),
        ({"kubeconfig": "FILE"}, {"https_proxy": "http://proxy"}, False),
        ({"kubeconfig": "FILE"}, {"K8S_AUTH_IMPERSONATE_USER": "jane"}, False),
        ({"kubeconfig": "FILE", "validate_certs": False}, {}, False),
        ({"kubeconfig": "FILE:FILE"}, {}, False),
        ({"kubeconfig": {"apiVersion": "v1"}}, {}, False),
        ({"kubeconfig": "FILE", "proxy": "http://proxy"}, {}, False),
        ({"host": "https://one:6443"}, {}, False),
        ({"host": "https://one:6443", "username": "u", "password": "p"}, {}, False),
    ],
)
def test_what_is_plain(tmp_path: Path, options: dict[str, Any], environ: dict[str, str], found: bool) -> None:
    path = _write(tmp_path, _config())

    def fill(values: dict[str, Any]) -> dict[str, Any]:
        return {key: value.replace("FILE", path) if isinstance(value, str) else value for key, value in values.items()}

    assert (find_plain(fill(options), fill(environ)) is not None) is found


@pytest.mark.parametrize(
    ("options", "environ", "plain"),
    [
        ({"host": "https://a/", "api_key": "x"}, {}, Plain("https://a", token="x")),
        (
            {"host": "https://a", "api_key": "x", "validate_certs": False},
            {},
            Plain("https://a", token="x", verify=False),
        ),
        (
            {},
            {"K8S_AUTH_HOST": "https://a", "K8S_AUTH_API_KEY": "x", "K8S_AUTH_VERIFY_SSL": "No"},
            Plain("https://a", token="x", verify=False),
        ),
        (
            {},
            {"K8S_AUTH_HOST": "https://a", "K8S_AUTH_API_KEY": "x", "K8S_AUTH_SSL_CA_CERT": "FILE"},
            Plain("https://a", ca="text of the file", token="x"),
        ),
        ({"host": "https://a", "api_key": "x"}, {"K8S_AUTH_HOST": "https://b"}, Plain("https://a", token="x")),
        ({"host": "https://a", "api_key": "x", "client_cert": "/c"}, {}, None),
    ],
)
def test_host_with_a_token(
    tmp_path: Path, options: dict[str, Any], environ: dict[str, str], plain: Plain | None
) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("text of the file")
    assert find_plain(options, {key: value.replace("FILE", str(file)) for key, value in environ.items()}) == plain


@pytest.mark.parametrize("text", ["", "a: [", "{}", "{current-context: one, contexts: [], clusters: [], users: []}"])
def test_broken_kubeconfig_is_told_in_the_words_of_kubernetes_core(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(GaleraError) as error:
        _connection.connect({"kubeconfig": str(path)})
    told = f"galera_cluster_kubeconfig={path}"
    assert str(error.value).startswith(f"No usable connection to an API server is configured ({told}): ")


def test_certificate_that_is_none(tmp_path: Path) -> None:
    path = _write(tmp_path, _config({"certificate-authority-data": _b64("no certificate")}))
    with pytest.raises(GaleraError, match=r"^The certificates of the kubeconfig are not usable: "):
        _connection.connect({"kubeconfig": path})


def _pair(name: str, issuer: tuple[str, str] | None = None, own: str = "") -> tuple[str, str]:
    """Certificate and key as PEM, signed by `issuer` or by itself; own: the key of an authority, "" for a new one."""
    key: Any = (
        serialization.load_pem_private_key(own.encode(), None) if own else ec.generate_private_key(ec.SECP256R1())
    )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer: Any = key
    issued_by = subject
    if issuer:
        signer = serialization.load_pem_private_key(issuer[1].encode(), None)
        issued_by = x509.load_pem_x509_certificate(issuer[0].encode()).subject
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issued_by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=bool(own) or issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), text.decode()


CA = _pair("ca")


@pytest.fixture
def tls_host(tmp_path: Path) -> Iterator[str]:
    """An HTTPS server that wants a client certificate of CA and answers with the name in it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            connection: Any = self.connection
            subject = dict(item[0] for item in connection.getpeercert()["subject"])
            body = f'{{"user": "{subject["commonName"]}"}}'.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    for name, text in zip(("server.pem", "server.key"), _pair("server", CA), strict=True):
        (tmp_path / name).write_text(text)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    context.load_verify_locations(cadata=CA[0])
    context.verify_mode = ssl.CERT_REQUIRED
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def _tls_config(host: str, ca: str) -> dict[str, Any]:
    certificate, key = _pair("jane", CA)
    user = {"client-certificate-data": _b64(certificate), "client-key-data": _b64(key)}
    return _config({"server": host, "certificate-authority-data": _b64(ca)}, user)


def test_client_certificate(tmp_path: Path, tls_host: str) -> None:
    path = _write(tmp_path, _tls_config(tls_host, CA[0]))
    assert find_plain({"kubeconfig": path}, {}) is not None
    assert Client({"kubeconfig": path}).read("/version") == {"user": "jane"}


def test_server_of_another_authority_is_not_trusted(tmp_path: Path, tls_host: str) -> None:
    path = _write(tmp_path, _tls_config(tls_host, _pair("other")[0]))
    with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
        Client({"kubeconfig": path}).read("/version")


def test_an_authority_below_another_one_is_trusted_as_kubectl_does(tmp_path: Path, tls_host: str) -> None:
    """That of the kubeconfig, by itself: urllib3 does so from Python 3.13 on, where no context is given."""
    below = _pair("ca", _pair("root"), own=CA[1])[0]
    path = _write(tmp_path, _tls_config(tls_host, below))
    assert Client({"kubeconfig": path}).read("/version") == {"user": "jane"}


def test_no_connection_changes_the_protocols_that_another_one_is_reading(
    tmp_path: Path, tls_host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[list[str]] = []
    monkeypatch.setattr(ssl.SSLContext, "set_alpn_protocols", lambda self, protocols: named.append(list(protocols)))
    client = Client({"kubeconfig": _write(tmp_path, _tls_config(tls_host, CA[0]))})
    assert named == [["http/1.1"]]
    client.all_of([lambda: client.read("/version")] * 4)
    assert named == [["http/1.1"]]


def test_keys_do_not_stay_on_the_disk(tmp_path: Path, tls_host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    client = Client({"kubeconfig": _write(tmp_path, _tls_config(tls_host, CA[0]))})
    assert list(folder.iterdir()) == []
    assert client.read("/version") == {"user": "jane"}
