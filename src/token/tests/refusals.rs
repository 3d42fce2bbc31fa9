//! Which tokens are refused.

use super::*;

/// S24: the key decides the algorithm; `none`, a different one, and HMAC under the public key are refused.
#[test]
fn the_algorithm_is_the_keys() {
    let world = World::new(Algorithm::EdDSA);
    let token = world.tokens.access(&access_claims(SessionKind::V1));
    let (header, payload) = (part(&token, 0), part(&token, 1));
    for alg in ["none", "None", "HS256", "ES256", "EdDSA "] {
        let mut changed = header.clone();
        changed["alg"] = alg.into();
        let forged = world.forge(KeyUse::Access, &changed, &payload);
        assert_eq!(world.tokens.verify_access(&forged, NOW), Err(TokenError::Malformed), "{alg}");
        let unsigned = with_part(&forged, 2, "");
        assert_eq!(world.tokens.verify_access(&unsigned, NOW), Err(TokenError::Malformed), "{alg}");
    }
    assert_eq!(world.tokens.verify_access(&with_part(&token, 2, ""), NOW), Err(TokenError::BadSignature));

    let key = world.key(KeyUse::Access);
    let Some(PublicKey::Ed25519(public)) = key.public() else { panic!("{key:?}") };
    let confused = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, public);
    for alg in ["HS256", "EdDSA"] {
        let mut changed = header.clone();
        changed["alg"] = alg.into();
        let signed = world.forge(KeyUse::Access, &changed, &payload);
        let signed = signed.rsplit_once('.').unwrap().0;
        let tag = BASE64.encode(aws_lc_rs::hmac::sign(&confused, signed.as_bytes()));
        assert!(world.tokens.verify_access(&format!("{signed}.{tag}"), NOW).is_err(), "{alg}");
    }
}

/// S25: keys offered in a header are never used, and a strange `kid` is only ever refused.
#[test]
fn a_header_offers_no_key() {
    let world = World::new(Algorithm::EdDSA);
    let token = world.tokens.access(&access_claims(SessionKind::V1));
    let (header, payload) = (part(&token, 0), part(&token, 1));
    let attacker = World::new(Algorithm::HS256);
    let offers = json!({ "jku": "https://evil.example/jwks.json", "x5u": "https://evil.example/x", "jwk": world.tokens.jwks()["keys"][0] });
    for (name, value) in offers.as_object().unwrap() {
        let mut changed = header.clone();
        changed[name] = value.clone();
        let forged = attacker.forge(KeyUse::Access, &changed, &payload);
        assert_eq!(world.tokens.verify_access(&forged, NOW), Err(TokenError::Malformed), "{name}");
    }
    let long = "a".repeat(3000);
    let kids = ["", "../../etc/passwd", "' OR 1=1 --", "\u{0}", "00112233445566778899", &long].map(Value::from);
    for kid in kids.into_iter().chain([json!(null), json!(7), json!({}), json!(["0011223344556677"])]) {
        let forged = attacker.forge(KeyUse::Access, &json!({ "alg": "EdDSA", "kid": kid, "typ": "at+jwt" }), &payload);
        assert_eq!(world.tokens.verify_access(&forged, NOW), Err(TokenError::Malformed), "{kid}");
    }
    let stranger = json!({ "alg": "EdDSA", "kid": "0011223344556677", "typ": "at+jwt" });
    let forged = attacker.forge(KeyUse::Access, &stranger, &payload);
    assert_eq!(world.tokens.verify_access(&forged, NOW), Err(TokenError::UnknownKey));
}

/// S26: tokens of other applications, of other issuers, and without an audience are refused, whoever signed them.
#[test]
fn tokens_of_other_applications_are_refused() {
    let world = World::new(Algorithm::EdDSA);
    let other_app = tokens(&world.store, "https://id.example.org", "other");
    let other_issuer = tokens(&world.store, "https://evil.example", "passerby");
    let access = access_claims(SessionKind::V1);
    for tokens in [&other_app, &other_issuer] {
        assert_eq!(world.tokens.verify_access(&tokens.access(&access), NOW), Err(TokenError::WrongAudience));
    }
    let refresh = other_app.refresh(&refresh_claims(SessionKind::V1));
    assert_eq!(world.tokens.verify_refresh(&refresh), Err(TokenError::WrongAudience));
    assert!(world.tokens.verify_refresh(&other_issuer.refresh(&refresh_claims(SessionKind::V1))).is_ok());

    let genuine = world.tokens.access(&access);
    for claim in ["aud", "iss", "exp", "iat", "sub", "sid", "typ"] {
        let mut payload = part(&genuine, 1);
        payload.as_object_mut().unwrap().remove(claim);
        let forged = world.forge(KeyUse::Access, &part(&genuine, 0), &payload);
        assert_eq!(world.tokens.verify_access(&forged, NOW), Err(TokenError::Malformed), "{claim}");
    }
}

/// S26: `exp` is exact, the future is bounded, and the cache changes neither.
#[test]
fn an_access_token_has_its_time() {
    for entries in [0, 1000] {
        let world = World::new(Algorithm::EdDSA);
        let tokens = Tokens::new(world.store.ring().unwrap(), "i".to_owned(), "a".to_owned(), 1800, entries);
        let token = tokens.access(&access_claims(SessionKind::V1));
        for _ in 0..2 {
            assert!(tokens.verify_access(&token, NOW - 300).is_ok());
            assert_eq!(tokens.verify_access(&token, NOW - 301), Err(TokenError::Expired));
            assert!(tokens.verify_access(&token, NOW + 1799).is_ok());
            assert_eq!(tokens.verify_access(&token, NOW + 1800), Err(TokenError::Expired));
        }
    }
}

/// S27: every kind of token is good for one thing alone.
#[test]
fn kinds_exclude_each_other() {
    for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::HS256] {
        let world = World::new(algorithm);
        for kind in KINDS {
            let access = world.tokens.access(&access_claims(kind));
            let refresh = world.tokens.refresh(&refresh_claims(kind));
            assert_eq!(world.tokens.verify_access(&access, NOW).map(|access| access.kind), Ok(kind));
            assert_eq!(world.tokens.verify_refresh(&refresh).map(|refresh| refresh.kind), Ok(kind));
            assert_eq!(world.tokens.verify_access(&refresh, NOW), Err(TokenError::WrongType));
            assert_eq!(world.tokens.verify_refresh(&access), Err(TokenError::WrongType));

            // the other type is only told to a client with a genuine token
            let (access_end, refresh_end) = (access.rsplit_once('.').unwrap().1, refresh.rsplit_once('.').unwrap().1);
            let swapped = with_part(&refresh, 2, access_end);
            assert_eq!(world.tokens.verify_access(&swapped, NOW), Err(TokenError::BadSignature));
            let swapped = with_part(&access, 2, refresh_end);
            assert_eq!(world.tokens.verify_refresh(&swapped), Err(TokenError::BadSignature));

            for other in KINDS.into_iter().filter(|other| *other != kind) {
                let header = world.tokens.refresh(&refresh_claims(other));
                let header = header.split('.').next().unwrap();
                let passed_off = with_part(&refresh, 0, header);
                assert_eq!(world.tokens.verify_refresh(&passed_off), Err(TokenError::BadSignature));
            }
        }
        // headers and payloads that do not belong together, and keys that do not sign this
        let access = world.tokens.access(&access_claims(SessionKind::V1));
        let refresh = world.tokens.refresh(&refresh_claims(SessionKind::V1));
        let mixed = world.forge(KeyUse::Access, &part(&access, 0), &part(&refresh, 1));
        assert!(world.tokens.verify_access(&mixed, NOW).is_err());
        let mixed = world.forge(KeyUse::Refresh, &part(&refresh, 0), &part(&access, 1));
        assert!(world.tokens.verify_refresh(&mixed).is_err());
        for purpose in KeyUse::ALL {
            for (payload, own) in [(part(&access, 1), KeyUse::Access), (part(&refresh, 1), KeyUse::Refresh)] {
                for typ in ["at+jwt", "v1-refresh+jwt", "JWT", "link+jwt", "AT+JWT"] {
                    let key = world.key(purpose);
                    let header = json!({ "alg": key.algorithm.name(), "kid": key.id.to_string(), "typ": typ });
                    let forged = world.forge(purpose, &header, &payload);
                    let is_own =
                        purpose == own && typ == if own == KeyUse::Access { "at+jwt" } else { "v1-refresh+jwt" };
                    let accepted = world.tokens.verify_access(&forged, NOW).is_ok()
                        || world.tokens.verify_refresh(&forged).is_ok();
                    assert_eq!(accepted, is_own, "{purpose:?} {own:?} {typ}");
                }
            }
        }
    }
}

/// S27: cookie tags are computed and checked under cookie keys alone.
#[test]
fn a_cookie_tag_is_not_a_signature_of_tokens() {
    let mut world = World::new(Algorithm::HS256);
    let (key, tag) = world.tokens.cookie_tag(b"content");
    assert!(world.tokens.is_cookie_tag(key, b"content", &tag));
    assert!(!world.tokens.is_cookie_tag(key, b"Content", &tag));
    assert!(!world.tokens.is_cookie_tag(key, b"content", &tag[..31]));
    for purpose in [KeyUse::Access, KeyUse::Refresh] {
        let other = world.key(purpose);
        let tag = other.sign(b"content", &mut [0; MAX_SIGNATURE]).to_vec();
        assert!(!world.tokens.is_cookie_tag(other.id, b"content", &tag));
    }
    world.store.rotate(KeyUse::Cookie, &world.entropy, NOW + 1).unwrap();
    world.reload();
    assert!(world.tokens.is_cookie_tag(key, b"content", &tag));
    assert_ne!(world.tokens.cookie_tag(b"content").0, key);
    world.store.retire(key).unwrap();
    world.reload();
    assert!(!world.tokens.is_cookie_tag(key, b"content", &tag));
}
