//! Tests of tokens as a whole: their shape, and what is refused.

use base64::Engine as _;
use serde_json::{Value, json};

use super::jwt::{BASE64, TokenType};
use super::keys::Key;
use super::testing::Repeatable;
use super::*;

const NOW: u64 = 1_700_000_000;
const KINDS: [SessionKind; 3] = [SessionKind::AppServices, SessionKind::V1, SessionKind::Cookie];

struct World {
    _root: tempfile::TempDir,
    store: KeyStore,
    entropy: Repeatable,
    tokens: Tokens,
}

impl World {
    fn new(access: Algorithm) -> Self {
        let root = tempfile::tempdir().unwrap();
        let entropy = Repeatable::default();
        let store = KeyStore::open_or_create(&root.path().join("keys"), access, false, &entropy, NOW).unwrap();
        let tokens = tokens(&store, "https://id.example.org", "passerby");
        Self { _root: root, store, entropy, tokens }
    }

    fn reload(&self) {
        self.tokens.replace_keys(self.store.ring().unwrap());
    }

    fn key(&self, purpose: KeyUse) -> std::sync::Arc<Key> {
        self.tokens.signers.read().keys.signing(purpose).clone()
    }

    /// A token that a key of ours signs, whatever it says.
    fn forge(&self, purpose: KeyUse, header: &Value, payload: &Value) -> String {
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(payload.to_string()));
        let mut out = [0; MAX_SIGNATURE];
        let signature = BASE64.encode(self.key(purpose).sign(signed.as_bytes(), &mut out));
        format!("{signed}.{signature}")
    }
}

fn tokens(store: &KeyStore, issuer: &str, app_id: &str) -> Tokens {
    Tokens::new(store.ring().unwrap(), issuer.to_owned(), app_id.to_owned(), 1800, 1000)
}

fn user() -> UserId {
    UserId::object(1_700_000_000, [1, 2, 3, 4, 5, 6, 7, 255])
}

fn access_claims(kind: SessionKind) -> AccessClaims {
    AccessClaims {
        user: user(),
        session: SessionId([0xab; 12]),
        epoch: 3,
        device: DeviceId([0xcd; 12]),
        kind,
        issued_at_s: NOW,
        jti: [0xef; 12],
    }
}

fn refresh_claims(kind: SessionKind) -> RefreshClaims {
    RefreshClaims {
        user: user(),
        session: SessionId([0xab; 12]),
        number: 70_000,
        counter: 9,
        kind,
        device: DeviceId([0xcd; 12]),
        issued_at_s: NOW,
        lasting: false,
    }
}

fn part(token: &str, number: usize) -> Value {
    serde_json::from_slice(&BASE64.decode(token.split('.').nth(number).unwrap()).unwrap()).unwrap()
}

fn with_part(token: &str, number: usize, text: &str) -> String {
    let mut parts: Vec<&str> = token.split('.').collect();
    parts[number] = text;
    parts.join(".")
}

#[test]
fn an_access_token_has_exactly_these_claims() {
    for (algorithm, name) in [(Algorithm::EdDSA, "EdDSA"), (Algorithm::ES256, "ES256"), (Algorithm::HS256, "HS256")] {
        let world = World::new(algorithm);
        let token = world.tokens.access(&access_claims(SessionKind::AppServices));
        let kid = world.key(KeyUse::Access).id.to_string();
        assert_eq!(part(&token, 0), json!({ "alg": name, "kid": kid, "typ": "at+jwt" }));
        let device = "cdcdcdcdcdcdcdcdcdcdcdcd";
        let domain = "96e22a6cc52dd10d85fcbd34";
        let claims = json!({
            "iss": "https://id.example.org", "aud": "passerby", "client_id": "passerby",
            "sub": "6553f10001020304050607ff", "iat": 1_700_000_000, "exp": 1_700_001_800,
            "jti": "efefefefefefefefefefefef", "sid": "abababababababababababab", "ep": 3, "typ": "access", "k": "app",
            "baas_device_id": device, "baas_domain_id": domain, "stitch_devId": device, "stitch_domainId": domain,
        });
        assert_eq!(part(&token, 1), claims);
        let access = world.tokens.verify_access(&token, NOW).unwrap();
        let wanted = Access {
            user: user(),
            session: SessionId([0xab; 12]),
            epoch: 3,
            kind: SessionKind::AppServices,
            device: DeviceId([0xcd; 12]),
            issued_at_s: NOW,
            expires_at_s: NOW + 1800,
            key: world.key(KeyUse::Access).id,
        };
        assert_eq!(access, wanted);
        assert_eq!(world.tokens.verify_access(&token, NOW), Ok(wanted), "from the cache");
    }
}

#[test]
fn a_refresh_token_has_exactly_these_claims() {
    let world = World::new(Algorithm::EdDSA);
    let kid = world.key(KeyUse::Refresh).id.to_string();
    let types = ["appservices-refresh+jwt", "v1-refresh+jwt", "cookie-refresh+jwt"];
    for (kind, name) in KINDS.into_iter().zip(types) {
        let token = world.tokens.refresh(&refresh_claims(kind));
        assert_eq!(part(&token, 0), json!({ "alg": "HS256", "kid": kid, "typ": name }));
        let (session, device) = ("abababababababababababab", "cdcdcdcdcdcdcdcdcdcdcdcd");
        let domain = "96e22a6cc52dd10d85fcbd34";
        let identity = json!({
            "id": user().anonymous_identity(), "provider_type": "anon-user", "provider_id": "3df173d24caf508c204e0984",
        });
        let claims = json!({
            "typ": "refresh", "sub": "6553f10001020304050607ff", "iat": 1_700_000_000, "exp": 3_276_800_000_u64,
            "sno": 70_000, "ctr": 9, "baas_data": null, "stitch_data": null,
            "baas_id": session, "stitch_id": session, "baas_identity": identity, "stitch_ident": identity,
            "baas_device_id": device, "stitch_devId": device, "baas_domain_id": domain, "stitch_domainId": domain,
        });
        assert_eq!(part(&token, 1), claims);
        let RefreshClaims { user, session, number, counter, kind, device, .. } = refresh_claims(kind);
        let wanted = Refresh { user, session, number, counter, kind, device };
        assert_eq!(world.tokens.verify_refresh(&token), Ok(wanted));
    }
}

#[test]
fn the_longest_values_fit_and_configured_text_is_escaped() {
    let world = World::new(Algorithm::EdDSA);
    let tokens = tokens(&world.store, "https://\"é\"\\\n", "my \"app\"\u{1}");
    let user = UserId::from_bytes([255; 16]);
    let claims = AccessClaims { user, epoch: 255, issued_at_s: u64::MAX - 5, ..access_claims(SessionKind::Cookie) };
    let token = tokens.access(&claims);
    assert_eq!(part(&token, 1)["iss"], "https://\"é\"\\\n");
    assert_eq!(part(&token, 1)["client_id"], "my \"app\"\u{1}");
    assert_eq!(tokens.verify_access(&token, u64::MAX - 1).map(|access| access.user), Ok(user));
    let most =
        RefreshClaims { user, number: u32::MAX, counter: u32::MAX, issued_at_s: u64::MAX, ..refresh_claims(KINDS[0]) };
    let refresh = tokens.verify_refresh(&tokens.refresh(&most)).unwrap();
    assert_eq!((refresh.user, refresh.number, refresh.counter), (user, u32::MAX, u32::MAX));
}

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

/// S29: through a rotation no token fails, the published keys are both, and retiring ends what the old key signed.
#[test]
fn rotation_refuses_nothing_and_retirement_everything() {
    let mut world = World::new(Algorithm::EdDSA);
    let old = world.key(KeyUse::Access).id;
    let old_refresh = world.key(KeyUse::Refresh).id;
    let (access, refresh) =
        (world.tokens.access(&access_claims(KINDS[0])), world.tokens.refresh(&refresh_claims(KINDS[0])));
    world.store.rotate(KeyUse::Access, &world.entropy, NOW + 1).unwrap();
    world.store.rotate(KeyUse::Refresh, &world.entropy, NOW + 1).unwrap();
    world.reload();

    let new = world.key(KeyUse::Access).id;
    assert_eq!(part(&world.tokens.access(&access_claims(KINDS[0])), 0)["kid"], new.to_string());
    assert!(world.tokens.verify_access(&access, NOW).is_ok());
    assert!(world.tokens.verify_refresh(&refresh).is_ok());
    let kids = |tokens: &Tokens| {
        let jwks = tokens.jwks();
        let mut kids: Vec<String> =
            jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
        kids.sort();
        kids
    };
    let mut both = [old.to_string(), new.to_string()];
    both.sort();
    assert_eq!(kids(&world.tokens), both);

    world.store.retire(old).unwrap();
    world.store.retire(old_refresh).unwrap();
    world.reload();
    assert_eq!(world.tokens.verify_access(&access, NOW), Err(TokenError::UnknownKey), "and not from the cache");
    assert_eq!(world.tokens.verify_refresh(&refresh), Err(TokenError::UnknownKey));
    assert_eq!(kids(&world.tokens), [new.to_string()]);
}

#[test]
fn others_can_verify_with_the_published_key_and_no_secret_is_published() {
    let world = World::new(Algorithm::EdDSA);
    let jwks = world.tokens.jwks();
    assert_eq!(jwks["keys"].as_array().map(Vec::len), Some(1));
    let key = &jwks["keys"][0];
    let kid = world.key(KeyUse::Access).id.to_string();
    let x = key["x"].as_str().unwrap();
    assert_eq!(key, &json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x }));
    let token = world.tokens.access(&access_claims(SessionKind::V1));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let public =
        aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, BASE64.decode(x).unwrap());
    public.verify(signed.as_bytes(), &BASE64.decode(signature).unwrap()).unwrap();

    assert_eq!(World::new(Algorithm::HS256).tokens.jwks(), json!({ "keys": [] }));
}

#[test]
fn others_can_verify_es256_with_the_published_key() {
    let world = World::new(Algorithm::ES256);
    let jwks = world.tokens.jwks();
    let kid = world.key(KeyUse::Access).id.to_string();
    let key = &jwks["keys"][0];
    let (x, y) = (key["x"].as_str().unwrap(), key["y"].as_str().unwrap());
    let expected = json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid, "x": x, "y": y });
    assert_eq!(jwks["keys"], json!([expected]));
    let point = [vec![4], BASE64.decode(x).unwrap(), BASE64.decode(y).unwrap()].concat();
    let public = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED, point);
    let claims = access_claims(SessionKind::V1);
    let tokens =
        [world.tokens.access(&claims), world.tokens.access(&claims), world.tokens.assertion(&user(), true, NOW)];
    for token in &tokens {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        public.verify(signed.as_bytes(), &BASE64.decode(signature).unwrap()).unwrap();
    }
    // ECDSA is not deterministic: two signatures of one text differ, and both are good, from the cache and without
    assert_ne!(tokens[0], tokens[1]);
    for token in &tokens[..2] {
        for _ in 0..2 {
            world.tokens.verify_access(token, NOW).unwrap();
        }
        world.tokens.verify_access_at_any_time(token).unwrap();
    }
}

/// S29: while the algorithm changes both keys are published, and tokens of both are good.
#[test]
fn a_different_algorithm_is_a_rotation() {
    let mut world = World::new(Algorithm::EdDSA);
    let dir = world._root.path().join("keys");
    let mut tokens = vec![world.tokens.access(&access_claims(SessionKind::V1))];
    for (at, algorithm, published) in [
        (1, Algorithm::ES256, vec!["EdDSA", "ES256"]),
        (2, Algorithm::HS256, vec!["EdDSA", "ES256"]),
        (3, Algorithm::EdDSA, vec!["EdDSA", "ES256", "EdDSA"]),
    ] {
        world.store = KeyStore::open_or_create(&dir, algorithm, true, &world.entropy, NOW + at).unwrap();
        world.reload();
        tokens.push(world.tokens.access(&access_claims(SessionKind::V1)));
        assert_eq!(part(&tokens[tokens.len() - 1], 0)["alg"], algorithm.name());
        let jwks = world.tokens.jwks();
        let algorithms: Vec<_> = jwks["keys"].as_array().unwrap().iter().map(|key| key["alg"].clone()).collect();
        assert_eq!(algorithms, published);
        for token in &tokens {
            world.tokens.verify_access(token, NOW).unwrap();
        }
    }
}

#[test]
fn a_token_has_one_spelling() {
    for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::HS256] {
        let world = World::new(algorithm);
        let token = world.tokens.access(&access_claims(SessionKind::V1));
        for spelling in [
            format!("{token}="),
            format!("{token}=="),
            format!(" {token}"),
            format!("{token}\n"),
            format!("{token}."),
            format!("{token}.a"),
            format!(".{token}"),
            token.replacen('.', "=.", 1),
            token.replace('.', "=."),
        ] {
            assert!(world.tokens.verify_access(&spelling, NOW).is_err(), "{spelling}");
        }
        // the last letter of a signature of 32 or 64 bytes has bits to spare
        let (front, last) = token.split_at(token.len() - 1);
        for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/".chars() {
            let accepted = world.tokens.verify_access(&format!("{front}{letter}"), NOW).is_ok();
            assert_eq!(accepted, last.starts_with(letter), "{letter}");
        }
    }
}

#[test]
fn any_flipped_bit_is_noticed() {
    for algorithm in [Algorithm::EdDSA, Algorithm::ES256, Algorithm::HS256] {
        let world = World::new(algorithm);
        let access = world.tokens.access(&access_claims(SessionKind::V1));
        let refresh = world.tokens.refresh(&refresh_claims(SessionKind::V1));
        assert!(world.tokens.verify_access(&access, NOW).is_ok(), "also with the genuine one in the cache");
        for token in [&access, &refresh] {
            for (at, bit) in (0..token.len()).flat_map(|at| [0, 1, 5].map(|bit| (at, bit))) {
                let mut bytes = token.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let changed = String::from_utf8(bytes).unwrap();
                assert!(world.tokens.verify_access(&changed, NOW).is_err(), "{at} {bit}");
                assert!(world.tokens.verify_refresh(&changed).is_err(), "{at} {bit}");
            }
        }
    }
}

#[test]
fn garbage_is_malformed() {
    let world = World::new(Algorithm::EdDSA);
    let long = "a".repeat(MAX_TOKEN + 1);
    let dots = ".".repeat(MAX_TOKEN);
    for text in ["", ".", "..", "...", "null", "undefined", "a.b.c", "e30.e30.", "é.é.é", &long, &dots] {
        assert_eq!(world.tokens.verify_access(text, NOW), Err(TokenError::Malformed));
        assert_eq!(world.tokens.verify_refresh(text), Err(TokenError::Malformed));
    }
    let mut padded = part(&world.tokens.access(&access_claims(SessionKind::V1)), 1);
    padded["more"] = "a".repeat(MAX_TOKEN).into();
    let header = part(&world.tokens.access(&access_claims(SessionKind::V1)), 0);
    let forged = world.forge(KeyUse::Access, &header, &padded);
    assert_eq!(world.tokens.verify_access(&forged, NOW), Err(TokenError::Malformed), "too long, though signed");
}

#[test]
fn derived_ids_are_stable() {
    // golden: existing tokens and applications hold these
    let world = World::new(Algorithm::EdDSA);
    assert_eq!(world.tokens.domain_id(), "96e22a6cc52dd10d85fcbd34");
    assert_eq!(world.tokens.provider_id("anon-user"), "3df173d24caf508c204e0984");
    assert_ne!(world.tokens.provider_id("local-userpass"), world.tokens.provider_id("anon-user"));
}

#[test]
fn a_claim_of_a_later_version_is_passed_over() {
    let world = World::new(Algorithm::EdDSA);
    let token = world.tokens.access(&access_claims(SessionKind::V1));
    let rest = br#""sub":"6553f10001020304050607ff","iat":1700000000,"exp":1700001800,"sid":"abababababababababababab","ep":0,"k":"v1","baas_device_id":"000000000000000000000000","new":{"a":[1]}}"#;
    let mut later = String::new();
    world.tokens.signers.read().sign(TokenType::Access, &world.tokens.access_prefix, rest, &mut later);
    assert_ne!(later, token);
    assert_eq!(world.tokens.verify_access(&later, NOW).map(|access| access.user), Ok(user()));
}

#[test]
fn all_workers_can_share_it() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<Tokens>();
    shared::<KeyStore>();
}
