# SPDX-License-Identifier: GPL-3.0-or-later
# Note that this module util is PRIVATE to the collection. It can have breaking changes at any time.

"""Where the API server is and who we are.

kubernetes.core knows every way to say it: options, K8S_AUTH_* variables, exec plugins, in-cluster accounts, proxies.
But to import the client library behind it takes longer than all the rest of a run that changes nothing. So the plain
cases, one kubeconfig file with a certificate or a token, and a host with a token, are read here, and everything else is
left to kubernetes.core.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import ssl
import tempfile
import traceback
import typing as t

from ansible.module_utils.basic import missing_required_lib
from ansible.module_utils.common.yaml import yaml_load
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
from ansible_collections.stateful.galera.plugins.module_utils._errors import GaleraError, shorten

try:
    import urllib3

    URLLIB3_ERROR: str | None = None
except ImportError:
    URLLIB3_ERROR = traceback.format_exc()

_MAXSIZE = 10
_PLAIN_USER = frozenset({"client-certificate", "client-certificate-data", "client-key", "client-key-data", "token"})
_PLAIN_CLUSTER = frozenset(
    {"server", "certificate-authority", "certificate-authority-data", "insecure-skip-tls-verify", "extensions"}
)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_ALIASES = {"verify_ssl": "validate_certs", "ssl_ca_cert": "ca_cert"}
_ALPN = ["http/1.1"]


@dataclasses.dataclass(frozen=True)
class Connection:
    """pool: a urllib3.PoolManager; headers: those that authenticate, asked for at each request: tokens expire."""

    host: str
    pool: t.Any
    headers: t.Callable[[], list[tuple[str, str]]]


class Context(ssl.SSLContext):
    """A TLS context for the connections of several threads.

    urllib3 names the protocols anew for each connection, by which OpenSSL frees the memory that a handshake of another
    thread is reading: that one sends what the server cannot decode. Here they are named once.
    """

    def name_protocols(self) -> None:
        """Say what is spoken (ALPN)."""
        super().set_alpn_protocols(_ALPN)

    def set_alpn_protocols(self, alpn_protocols: t.Iterable[str]) -> None:
        """Leave them as they are."""


@dataclasses.dataclass(frozen=True)
class Plain:
    """A plain case. ca, certificate, key: PEM, "" when there is none; token: of a bearer."""

    host: str
    ca: str = ""
    certificate: str = ""
    key: str = ""
    token: str = ""
    verify: bool = True


def connect(params: t.Mapping[str, t.Any]) -> Connection:
    """A connection for the options of kubernetes.core.k8s_auth_options. Raises GaleraError."""
    auth = {name: params.get(name) for name in AUTH_ARG_SPEC}
    try:
        plain = find_plain(auth, os.environ)
    except Exception:  # whatever is wrong with it: kubernetes.core finds the words for it
        plain = None
    return _by_kubernetes_core(auth) if plain is None else _by_plain(plain)


def find_plain(auth: t.Mapping[str, t.Any], environ: t.Mapping[str, str]) -> Plain | None:
    """The connection that options and environment mean, in the order of kubernetes.core; None when it is not plain.

    Raises any exception for files and contents that are not as they should be.
    """
    given = {name: value for name, value in auth.items() if value is not None}
    for name, value in environ.items():
        if name.startswith("K8S_AUTH_"):
            option = name[len("K8S_AUTH_") :].lower()
            given.setdefault(_ALIASES.get(option, option), value)
    if any(environ.get(name) or environ.get(name.lower()) for name in _PROXIES):
        return None
    if given.keys() >= {"host", "api_key"}:
        return _plain_of_options(given)
    if not given.keys() <= {"kubeconfig", "context"} or (not given and environ.get("KUBERNETES_SERVICE_HOST")):
        return None
    path = given.get("kubeconfig") or environ.get("KUBECONFIG") or "~/.kube/config"
    if not isinstance(path, str) or os.pathsep in path:
        return None
    path = os.path.expanduser(path)
    with open(path, encoding="utf-8") as file:
        return _plain_of(yaml_load(file), str(given.get("context") or ""), os.path.dirname(path))


def _plain_of_options(given: t.Mapping[str, t.Any]) -> Plain | None:
    if not given.keys() <= {"host", "api_key", "validate_certs", "ca_cert"}:
        return None
    ca = ""
    if given.get("ca_cert"):
        with open(given["ca_cert"], encoding="utf-8") as file:
            ca = file.read()
    verify = str(given.get("validate_certs", True)).lower() not in ("0", "false", "no")
    return Plain(str(given["host"]).rstrip("/"), ca, token=str(given["api_key"]), verify=verify)


def _plain_of(config: t.Any, context: str, folder: str) -> Plain | None:
    contexts, clusters, users = (
        {each["name"]: each[kind] for each in config[f"{kind}s"]} for kind in ("context", "cluster", "user")
    )
    chosen = contexts[context or config["current-context"]]
    cluster, user = clusters[chosen["cluster"]], users[chosen["user"]] or {}
    if not set(cluster) <= _PLAIN_CLUSTER or not set(user) <= _PLAIN_USER:
        return None

    def pem(section: t.Mapping[str, t.Any], name: str) -> str:
        if section.get(f"{name}-data"):
            return base64.b64decode(section[f"{name}-data"]).decode()
        if not section.get(name):
            return ""
        with open(os.path.join(folder, section[name]), encoding="utf-8") as file:
            return file.read()

    return Plain(
        host=str(cluster["server"]).rstrip("/"),
        ca=pem(cluster, "certificate-authority"),
        certificate=pem(user, "client-certificate"),
        key=pem(user, "client-key"),
        token=str(user.get("token") or ""),
        verify=not cluster.get("insecure-skip-tls-verify"),
    )


def _by_plain(plain: Plain) -> Connection:
    headers = [("Authorization", f"Bearer {plain.token}")] if plain.token else []
    urllib3.disable_warnings()  # who asks for no verification knows it; kubernetes.core is silent, too
    try:
        context = _tls(plain) if plain.host.startswith("https:") else None
    except (ssl.SSLError, OSError) as error:
        raise GaleraError(f"The certificates of the kubeconfig are not usable: {shorten(str(error))}.") from error
    return Connection(plain.host, urllib3.PoolManager(maxsize=_MAXSIZE, ssl_context=context), lambda: headers)


def _tls(plain: Plain) -> ssl.SSLContext:
    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.post_handshake_auth = True
    # who is named in the kubeconfig is trusted, whoever signed that one, as by kubectl
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.name_protocols()
    if not plain.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif plain.ca:
        context.load_verify_locations(cadata=plain.ca)
    else:
        context.load_default_certs()
    if plain.certificate:
        # the library reads certificates of a client from files only; nobody else can read these, and they go at once
        with _file(plain.certificate) as certificate, _file(plain.key or plain.certificate) as key:
            context.load_cert_chain(certificate, key)
    return context


@contextlib.contextmanager
def _file(text: str) -> t.Iterator[str]:
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="galera-") as file:
        file.write(text)
        file.flush()
        yield file.name


def _told(auth: t.Mapping[str, t.Any]) -> str:
    """The variables that say where the API server is, with their values; the content of a kubeconfig is not shown."""
    path, context = auth.get("kubeconfig"), auth.get("context")
    shown = [f"galera_cluster_kubeconfig={path}"] if isinstance(path, str) and "{" not in path else []
    shown += [f"galera_cluster_context={context}"] if context else []
    return f" ({', '.join(shown)})" if shown else ""


def _by_kubernetes_core(auth: t.Mapping[str, t.Any]) -> Connection:
    try:
        import kubernetes
        from ansible_collections.kubernetes.core.plugins.module_utils.k8s import client as core
    except ImportError as error:
        raise GaleraError(missing_required_lib("kubernetes")) from error
    try:
        configuration = core._create_configuration(core._create_auth_spec(None, **auth))
    except Exception as error:  # each way to authenticate has exceptions of its own
        reason = shorten(str(error)).rstrip(".")
        raise GaleraError(f"No usable connection to an API server is configured{_told(auth)}: {reason}.") from error
    impersonation = [
        (name, each)
        for name, value in core._create_headers(None, **auth).items()
        for each in (value if isinstance(value, list) else [value])
    ]

    def headers() -> list[tuple[str, str]]:
        settings = configuration.auth_settings().values()
        return [
            (each["key"], each["value"]) for each in settings if each["in"] == "header" and each["value"]
        ] + impersonation

    return Connection(
        str(configuration.host), kubernetes.client.rest.RESTClientObject(configuration).pool_manager, headers
    )
