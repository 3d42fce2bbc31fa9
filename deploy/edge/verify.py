"""Verifies Passerby's tokens with nothing but its published keys. Needs PyJWT[crypto]. Copy it; README.md says when.

    verify_access_token(token)["sub"]                       # from Authorization: Bearer
    claims = verify_assertion(token)                        # from X-Passerby-Assertion
    claims["sub"], claims["anonymous"]

Both give the token's claims or raise: `jwt.InvalidTokenError` if the token is refused (answer 401), and `KeysUnavailable`
if nobody can tell, because its key is not known and the keys cannot be fetched (answer 503). They may be called from
many threads. A fetch, for the first token or one with an unknown key, blocks for up to FETCH_TIMEOUT_S.
"""

import contextlib
import os
import threading
import time

import jwt

# Where the keys are: https://PASSERBY/.well-known/jwks.json
JWKS_URL = os.environ["TOKENS_JWKS_URL"]
# The server's `public_url`, or urn:passerby:APPID if it has none.
ISSUER = os.environ["TOKENS_ISSUER"]
# The app id.
AUDIENCE = os.environ["TOKENS_AUDIENCE"]

# Keys older than this are fetched again, in the background: known keys go on, for as long as fetching fails.
MAX_AGE_S = 10 * 60
# Tokens that name an unknown key make us fetch the keys at most this often. The first fetch does not count.
UNKNOWN_KEY_S = 60
# After a fetch that failed there is no other for so long.
RETRY_S = 1
FETCH_TIMEOUT_S = 5


class KeysUnavailable(Exception):
    """The token's key is not known, and the keys cannot be fetched."""


def verify_access_token(token):
    return _verify(token, "at+jwt", "access")


def verify_assertion(token):
    return _verify(token, "reader-assertion+jwt", "assertion")


def _verify(token, header_type, claim_type):
    header = jwt.get_unverified_header(token)
    # Before a key is looked for, so that only what may be a token of ours makes us fetch.
    if header.get("alg") not in ("EdDSA", "ES256") or header.get("typ") != header_type or "kid" not in header:
        raise jwt.InvalidTokenError(f"not of the kind {header_type}")
    key = _keys.find(header["kid"])
    claims = jwt.decode(
        token,
        key,
        # The key decides: each is published with its `alg`.
        algorithms=[key.algorithm_name],
        audience=AUDIENCE,
        issuer=ISSUER,
        # `iat` would refuse a new token where this clock is a little behind the server's.
        options={"require": ["aud", "exp", "iss", "sub"], "verify_iat": False},
    )
    if claims.get("typ") != claim_type:
        raise jwt.InvalidTokenError(f"not of the kind {claim_type}")
    return claims


class _Keys:
    """PyJWT fetches and checks the keys. When it does so is decided here: by itself it would refuse every token while
    keys that are too old cannot be fetched, and a new key's tokens for a while after any fetch."""

    def __init__(self, url):
        self._client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=FETCH_TIMEOUT_S)
        self._fetching = threading.Lock()
        self._keys = None
        self._stale_at = self._unknown_key_at = self._retry_at = float("-inf")

    def find(self, kid):
        keys = self._keys
        is_due = time.monotonic() >= max(self._stale_at, self._retry_at) and not self._fetching.locked()
        if keys is not None and is_due:
            threading.Thread(target=self._refresh, daemon=True).start()
        if keys is not None and kid in keys:
            return keys[kid]
        with self._fetching:
            # A thread that had to wait finds what was fetched meanwhile.
            fetched_before = self._keys is not None
            if not fetched_before or (kid not in self._keys and time.monotonic() >= self._unknown_key_at):
                self._fetch()
                if fetched_before:
                    self._unknown_key_at = time.monotonic() + UNKNOWN_KEY_S
            if kid not in self._keys:
                raise jwt.InvalidTokenError("signed with an unknown key")
            return self._keys[kid]

    def _refresh(self):
        with self._fetching:
            with contextlib.suppress(KeysUnavailable):
                if time.monotonic() >= self._stale_at:
                    self._fetch()

    def _fetch(self):
        if time.monotonic() < self._retry_at:
            raise KeysUnavailable("the keys could not be fetched a moment ago")
        try:
            self._keys = {key.key_id: key for key in self._client.get_signing_keys()}
        except (jwt.PyJWTError, OSError, ValueError) as error:
            self._retry_at = time.monotonic() + RETRY_S
            raise KeysUnavailable("the keys cannot be fetched") from error
        self._stale_at = time.monotonic() + MAX_AGE_S


_keys = _Keys(JWKS_URL)
