"""An OpenID Connect issuer in a process of its own: discovery, keys, login page, authorization code with PKCE, tokens.

What tests need beyond the standard is below /test: any token, and new keys.
"""

import base64
import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import jwt
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from flask import Flask, Response, jsonify, redirect, request

from tests.databases import free_port

ROOT = Path(__file__).parents[1]
AUDIENCE = "fileroom"
CLIENT = "fileroom-viewer"
PASSWORD = "correct horse"
_START_SECONDS = 60.0
_REALM = "/realms/hospital"
_SESSION = "issuer-session"
_LIFETIME = "OIDC_ISSUER_LIFETIME"
# realm roles and issuers of those who can log in
USERS: dict[str, dict[str, Any]] = {
    "alice": {"roles": ["fileroom-read", "fileroom-write", "fileroom-delete"], "issuers": ["NORTH", "SOUTH"]},
    "bob": {"roles": ["fileroom-read"], "issuers": ["NORTH"]},
    "eve": {"roles": ["offline_access"], "issuers": ["NORTH"]},
}

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_PAGE = """<!doctype html><title>Hospital login</title><link rel="icon" href="data:,"><form method="post">
<label>Name <input name="username"></label> <label>Password <input name="password" type="password"></label>
<button>Log in</button></form>"""


def new_key(algorithm: str) -> PrivateKey:
    if algorithm.startswith("ES"):
        return ec.generate_private_key({"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1()}[algorithm])
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


class KeyRing:
    """Keys by their ID, in a file, so that an issuer that comes back has them still; the last one signs."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.keys: dict[str, tuple[str, PrivateKey]] = {}
        if not file.exists():
            self.add("RS256")
            return
        for identifier, (algorithm, text) in json.loads(file.read_text()).items():
            key = serialization.load_pem_private_key(text.encode(), None)
            assert isinstance(key, PrivateKey)
            self.keys[identifier] = algorithm, key

    def add(self, algorithm: str) -> str:
        identifier = secrets.token_hex(8)
        self.keys[identifier] = algorithm, new_key(algorithm)
        self.write()
        return identifier

    def write(self) -> None:
        texts = {
            identifier: (
                algorithm,
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                ).decode(),
            )
            for identifier, (algorithm, key) in self.keys.items()
        }
        self._file.write_text(json.dumps(texts))

    def public(self) -> list[dict[str, Any]]:
        return [
            {**public_jwk(algorithm, key), "kid": identifier, "use": "sig", "alg": algorithm}
            for identifier, (algorithm, key) in self.keys.items()
        ]

    def signed(self, claims: dict[str, Any], header: dict[str, Any]) -> str:
        identifier = header.get("kid", list(self.keys)[-1])
        algorithm, key = self.keys[identifier]
        return jwt.encode(claims, key, algorithm, headers={"kid": identifier, **header})


def public_jwk(algorithm: str, key: PrivateKey) -> dict[str, Any]:
    made: Any = jwt.get_algorithm_by_name(algorithm)
    return dict(json.loads(made.to_jwk(key.public_key())))


def application(issuer: str, folder: Path) -> Flask:
    app = Flask("issuer")
    ring = KeyRing(folder / "keys.json")
    asked = {"keys": 0, "discovery": 0, "tokens": 0}
    add_discovery(app, issuer, ring, asked)
    add_login(app, issuer, ring, asked)
    add_test_resources(app, ring, asked)
    return app


def add_login(app: Flask, issuer: str, ring: KeyRing, asked: dict[str, int]) -> None:
    lifetime = int(os.environ.get(_LIFETIME, "300"))
    codes: dict[str, dict[str, str]] = {}
    sessions: dict[str, str] = {}

    def access_token(name: str, scope: str) -> str:
        user = USERS[name]
        now = int(time.time())
        claims = {
            "iss": issuer,
            "aud": [AUDIENCE, "account"],
            "sub": f"id-of-{name}",
            "azp": CLIENT,
            "typ": "Bearer",
            "preferred_username": name,
            "scope": scope,
            "realm_access": {"roles": user["roles"]},
            "issuers": user["issuers"],
            "iat": now,
            "exp": now + lifetime,
        }
        return ring.signed(claims, {})

    def tokens(name: str, scope: str, nonce: str | None) -> Response:
        now = int(time.time())
        identity = {"iss": issuer, "aud": CLIENT, "sub": f"id-of-{name}", "typ": "ID", "iat": now, "exp": now + 300}
        identity |= {"preferred_username": name, **({"nonce": nonce} if nonce else {})}
        return jsonify(
            access_token=access_token(name, scope),
            id_token=ring.signed(identity, {}),
            token_type="Bearer",
            expires_in=lifetime,
            scope=scope,
        )

    @app.route(f"{_REALM}/auth", methods=["GET", "POST"])
    def authorize() -> Response:
        asked_for = request.args
        if asked_for.get("client_id") != CLIENT or asked_for.get("code_challenge_method") != "S256":
            return Response("unknown client, or no PKCE", 400)
        name = sessions.get(request.cookies.get(_SESSION, ""))
        answer = Response(_PAGE, content_type="text/html; charset=utf-8")
        if request.method == "POST":
            name = request.form["username"]
            if name not in USERS or request.form["password"] != PASSWORD:
                return Response(_PAGE, 401, content_type="text/html; charset=utf-8")
        back = {"state": asked_for.get("state", "")}
        if name is not None:
            code = secrets.token_urlsafe(16)
            codes[code] = {**asked_for.to_dict(), "name": name}
            back["code"] = code
        elif asked_for.get("prompt") == "none":
            back["error"] = "login_required"
        else:
            return answer
        answer = Response(status=302, headers={"Location": f"{asked_for['redirect_uri']}?{urlencode(back)}"})
        if name is not None:
            session = secrets.token_urlsafe(16)
            sessions[session] = name
            answer.set_cookie(_SESSION, session, httponly=True, samesite="Lax")
        return answer

    @app.post(f"{_REALM}/token")
    def token() -> Response | tuple[Response, int]:
        form = request.form
        known = codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (
            form.get("grant_type") != "authorization_code"
            or known is None
            or known["redirect_uri"] != form.get("redirect_uri")
            or known["code_challenge"] != challenge.decode().rstrip("=")
        ):
            return jsonify(error="invalid_grant"), 400
        asked["tokens"] += 1
        return tokens(known["name"], known.get("scope", ""), known.get("nonce"))

    @app.get(f"{_REALM}/logout")
    def logout() -> Any:
        sessions.pop(request.cookies.get(_SESSION, ""), None)
        return redirect(request.args["post_logout_redirect_uri"])


def add_discovery(app: Flask, issuer: str, ring: KeyRing, asked: dict[str, int]) -> None:
    @app.after_request
    def cors(response: Response) -> Response:
        response.headers["Access-Control-Allow-Origin"] = request.headers.get("Origin", "*")
        response.headers["Access-Control-Allow-Headers"] = "authorization, content-type"
        return response

    @app.get(f"{_REALM}/.well-known/openid-configuration")
    def discovery() -> Response:
        asked["discovery"] += 1
        return jsonify(
            issuer=issuer,
            authorization_endpoint=f"{issuer}/auth",
            token_endpoint=f"{issuer}/token",
            userinfo_endpoint=f"{issuer}/userinfo",
            end_session_endpoint=f"{issuer}/logout",
            revocation_endpoint=f"{issuer}/revoke",
            jwks_uri=f"{issuer}/certs",
            response_types_supported=["code"],
            subject_types_supported=["public"],
            id_token_signing_alg_values_supported=["RS256"],
            code_challenge_methods_supported=["S256"],
        )

    @app.get(f"{_REALM}/certs")
    def certs() -> Response:
        asked["keys"] += 1
        return jsonify(keys=[*ring.public(), {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}, "no key"])

    @app.get(f"{_REALM}/userinfo")
    def userinfo() -> Response:
        claims = jwt.decode(request.headers["Authorization"].split()[1], options={"verify_signature": False})
        return jsonify(sub=claims["sub"], preferred_username=claims["preferred_username"])

    @app.post(f"{_REALM}/revoke")
    def revoke() -> Response:
        return jsonify()


def add_test_resources(app: Flask, ring: KeyRing, asked: dict[str, int]) -> None:
    @app.post("/test/token")
    def any_token() -> Response:
        body = request.get_json()
        return jsonify(token=ring.signed(body["claims"], body["header"]))

    @app.post("/test/rotate")
    def rotate() -> Response:
        body = request.get_json()
        if not body["keep"]:
            ring.keys.clear()
        return jsonify(kid=ring.add(body["algorithm"]))

    @app.get("/test/asked")
    def how_often() -> Response:
        return jsonify(asked)


class OidcIssuer:
    """The process, and what tests want of it."""

    def __init__(self, folder: Path, lifetime: int = 300) -> None:
        self.folder = folder
        self._environment = {**os.environ, _LIFETIME: str(lifetime)}
        self._port = free_port()
        self.origin = f"http://127.0.0.1:{self._port}"
        self.url = self.origin + _REALM
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        command = [sys.executable, "-m", "tests.oidc_issuer", str(self._port), str(self.folder)]
        with (self.folder / "issuer.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            try:
                if requests.get(f"{self.origin}/test/asked", timeout=5).ok:
                    return self
            except requests.RequestException:
                time.sleep(0.05)
        self.stop()
        raise TimeoutError(f"the issuer did not start:\n{(self.folder / 'issuer.log').read_text()}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def token(self, *roles: str, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A good access token, but for the claims that are given; those that are None are left out."""
        now = int(time.time())
        all_claims: dict[str, Any] = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "id-of-somebody",
            "preferred_username": "somebody",
            "realm_access": {"roles": list(roles)},
            "iat": now,
            "exp": now + 300,
        }
        all_claims = {name: value for name, value in {**all_claims, **claims}.items() if value is not None}
        body = {"claims": all_claims, "header": header or {}}
        return str(requests.post(f"{self.origin}/test/token", json=body, timeout=20).json()["token"])

    def rotate(self, *, keep: bool = True, algorithm: str = "RS256") -> str:
        """A new key that signs from now on; those before it stay known only where they are kept."""
        body = {"keep": keep, "algorithm": algorithm}
        return str(requests.post(f"{self.origin}/test/rotate", json=body, timeout=20).json()["kid"])

    def keys(self) -> list[Any]:
        return list(requests.get(f"{self.url}/certs", timeout=20).json()["keys"])

    def asked(self) -> dict[str, int]:
        """How often its keys and its discovery document were asked for."""
        return dict(requests.get(f"{self.origin}/test/asked", timeout=20).json())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


if __name__ == "__main__":
    PORT = int(sys.argv[1])
    application(f"http://127.0.0.1:{PORT}{_REALM}", Path(sys.argv[2])).run("127.0.0.1", PORT, threaded=True)
