#!/usr/bin/env bash
# Widely used libraries for JSON Web Tokens cannot check EdDSA (RFC 8037, of 2017), or do so only when they are told.
#
# Version:  npm jsonwebtoken 9.0.3, node-jose 2.2.0, jose 6.2.18; PyPI python-jose 3.5.0, joserfc 1.8.0, PyJWT 2.15.1.
# Source:   their documentation: https://github.com/auth0/node-jsonwebtoken#algorithms-supported, https://python-jose.readthedocs.io/.
# Expected: a good token signed with Ed25519 is good.
# Seen:     jsonwebtoken knows no such key, node-jose and python-jose no such key type, joserfc wants the algorithm named. jose and PyJWT
#           take it.
source "$(dirname "$0")/common.sh"
npm_packages jsonwebtoken@9.0.3 node-jose@2.2.0 jose@6.2.18
python_packages python-jose==3.5.0 joserfc==1.8.0 PyJWT==2.15.1 cryptography==50.0.2

cat >"$work/check.mjs" <<'END'
import { KeyObject } from "node:crypto";
import { writeFileSync } from "node:fs";
import { exportJWK, generateKeyPair, jwtVerify, SignJWT } from "jose";
import jsonwebtoken from "jsonwebtoken";
import nodeJose from "node-jose";

const { publicKey, privateKey } = await generateKeyPair("EdDSA", { extractable: true });
const token = await new SignJWT({ sub: "somebody" })
  .setProtectedHeader({ alg: "EdDSA" }).setExpirationTime("1h").sign(privateKey);
const jwk = await exportJWK(publicKey);
const pem = KeyObject.from(publicKey).export({ type: "spki", format: "pem" });
writeFileSync("token.json", JSON.stringify({ token, jwk, pem }));
const says = async (name, check) => console.log(name, await check().catch(({ message }) => message));
await says("jose", async () => (await jwtVerify(token, publicKey)).payload.sub);
await says("jsonwebtoken", async () => jsonwebtoken.verify(token, pem, { algorithms: ["EdDSA"] }).sub);
await says("node-jose", async () => (await nodeJose.JWS.createVerify(await nodeJose.JWK.asKey(jwk)).verify(token)).payload);
END
cat >"$work/check.py" <<'END'
import json

import jwt
from jose import jwt as python_jose
from joserfc import jwt as joserfc
from joserfc.jwk import OKPKey

given = json.load(open("token.json"))
token, jwk = given["token"], given["jwk"]


def says(name, check):
    try:
        print(name, check())
    except Exception as error:
        print(name, error)


says("PyJWT", lambda: jwt.decode(token, jwt.PyJWK(jwk), algorithms=["EdDSA"])["sub"])
says("python-jose", lambda: python_jose.decode(token, given["pem"], algorithms=["EdDSA"])["sub"])
says("joserfc", lambda: joserfc.decode(token, OKPKey.import_key(jwk)).claims["sub"])
says("joserfc(EdDSA)", lambda: joserfc.decode(token, OKPKey.import_key(jwk), algorithms=["EdDSA"]).claims["sub"])
END
cd "$work"
said=$(node check.mjs; "$work/venv/bin/python" -W ignore check.py)
of() { sed -n "s/^$1 //p" <<<"$said"; }
seen jose somebody "$(of jose)"
seen jsonwebtoken 'Unknown key type "ed25519".' "$(of jsonwebtoken)"
seen node-jose 'unsupported key type' "$(of node-jose)"
seen PyJWT somebody "$(of PyJWT)"
seen python-jose 'Unable to find an algorithm for key' "$(of python-jose)"
seen joserfc "unsupported_algorithm: Algorithm of 'EdDSA' is not recommended" "$(of joserfc)"
seen 'joserfc, told of EdDSA' somebody "$(of 'joserfc(EdDSA)')"
finish
