#!/usr/bin/env bash
# "alg": "Ed25519", the name that RFC 9864 gives to what was "EdDSA" with such a key, is not understood, or is another algorithm.
#
# Version:  npm jose 6.2.18; PyPI PyJWT 2.15.1, joserfc 1.8.0.
# Source:   RFC 9864 (2025), which deprecates "EdDSA" because it does not say which curve.
# Expected: both names verify with the same key.
# Seen:     jose takes either. PyJWT has no such algorithm, neither for tokens nor in a key. joserfc takes it when it is named, and takes
#           neither name for the other.
source "$(dirname "$0")/common.sh"
npm_packages jose@6.2.18
python_packages PyJWT==2.15.1 joserfc==1.8.0 cryptography==50.0.2

cat >"$work/check.mjs" <<'END'
import { writeFileSync } from "node:fs";
import { exportJWK, generateKeyPair, jwtVerify, SignJWT } from "jose";

const { publicKey, privateKey } = await generateKeyPair("Ed25519", { extractable: true });
const token = await new SignJWT({ sub: "somebody" })
  .setProtectedHeader({ alg: "Ed25519" }).setExpirationTime("1h").sign(privateKey);
const { alg, ...jwk } = await exportJWK(publicKey);
writeFileSync("token.json", JSON.stringify({ token, jwk }));
console.log("jose", (await jwtVerify(token, publicKey)).payload.sub);
END
cat >"$work/check.py" <<'END'
import json

import jwt
from joserfc import jwt as joserfc
from joserfc.jwk import OKPKey

given = json.load(open("token.json"))
token, jwk = given["token"], given["jwk"]


def says(name, check):
    try:
        print(name, check())
    except Exception as error:
        print(name, str(error).split(": {")[0])


says("PyJWT", lambda: jwt.decode(token, jwt.PyJWK(jwk).key, algorithms=["Ed25519", "EdDSA"])["sub"])
says("PyJWK", lambda: jwt.PyJWK({**jwk, "alg": "Ed25519"}).key_id)
says("joserfc(EdDSA)", lambda: joserfc.decode(token, OKPKey.import_key(jwk), algorithms=["EdDSA"]).claims["sub"])
says("joserfc(Ed25519)", lambda: joserfc.decode(token, OKPKey.import_key(jwk), algorithms=["Ed25519"]).claims["sub"])
END
cd "$work"
said=$(node check.mjs; "$work/venv/bin/python" -W ignore check.py)
of() { sed -n "s/^$1 //p" <<<"$said"; }
seen jose somebody "$(of jose)"
seen 'PyJWT, a token' 'Algorithm not supported' "$(of PyJWT)"
seen 'PyJWT, a key' 'Unable to find an algorithm for key' "$(of PyJWK)"
seen 'joserfc, told of EdDSA' "unsupported_algorithm: Algorithm of 'Ed25519' is not allowed" "$(of 'joserfc(EdDSA)')"
seen 'joserfc, told of Ed25519' somebody "$(of 'joserfc(Ed25519)')"
finish
