//! Keys and tokens of other systems, for tests. Created with the cryptography alone, not with the library under test.

use std::net::{IpAddr, Ipv4Addr};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};

use super::identity::Asked;

/// The circumstances of a login at this time (Unix seconds).
pub(super) fn asked(now_s: u64) -> Asked {
    Asked { now_s, client: IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

/// A key that signs tokens.
pub(super) enum Signer {
    Hs256(Vec<u8>),
    Rs256(rsa::KeyPair),
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Signer {
    pub(super) fn shared(secret: &str) -> Self {
        Self::Hs256(secret.as_bytes().to_vec())
    }

    pub(super) fn rsa() -> Self {
        Self::Rs256(rsa::KeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub(super) fn ec() -> Self {
        Self::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    pub(super) fn ed() -> Self {
        Self::EdDsa(Ed25519KeyPair::generate().unwrap())
    }

    pub(super) fn algorithm(&self) -> &'static str {
        match self {
            Self::Hs256(_) => "HS256",
            Self::Rs256(_) => "RS256",
            Self::Es256(_) => "ES256",
            Self::EdDsa(_) => "EdDSA",
        }
    }

    pub(super) fn token(&self, kid: &str, claims: &Value) -> String {
        self.token_with(&json!({ "alg": self.algorithm(), "typ": "JWT", "kid": kid }), claims)
    }

    pub(super) fn token_with(&self, header: &Value, claims: &Value) -> String {
        self.token_of(header, &claims.to_string())
    }

    /// Of claims as they are written.
    pub(super) fn token_of(&self, header: &Value, claims: &str) -> String {
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims));
        format!("{signed}.{}", BASE64.encode(self.sign(signed.as_bytes())))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Hs256(secret) => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec(),
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Self::Es256(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::EdDsa(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    pub(super) fn public_pem(&self) -> String {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Hs256(_) => panic!("a shared secret has no public key"),
            Self::Rs256(key) => key.public_key().as_der().unwrap(),
            Self::Es256(key) => key.public_key().as_der().unwrap(),
            Self::EdDsa(key) => key.public_key().as_der().unwrap(),
        };
        let text = STANDARD.encode(der.as_ref());
        let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// The key as it stands in a JWKS.
    pub(super) fn jwk(&self, kid: &str) -> Value {
        let mut jwk = match self {
            Self::Hs256(secret) => json!({ "kty": "oct", "k": BASE64.encode(secret) }),
            Self::Rs256(key) => {
                // SEQUENCE, INTEGER of 257 bytes with a leading zero, INTEGER 65537
                let der = key.public_key().as_ref();
                assert_eq!(
                    (der.len(), &der[..9], &der[265..]),
                    (270, &b"\x30\x82\x01\x0a\x02\x82\x01\x01\0"[..], &b"\x02\x03\x01\0\x01"[..])
                );
                json!({ "kty": "RSA", "n": BASE64.encode(&der[9..265]), "e": "AQAB" })
            }
            Self::Es256(key) => {
                let point = key.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..]) })
            }
            Self::EdDsa(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(key.public_key().as_ref()) })
            }
        };
        jwk["kid"] = json!(kid);
        jwk["alg"] = json!(self.algorithm());
        jwk["use"] = json!("sig");
        jwk
    }
}
