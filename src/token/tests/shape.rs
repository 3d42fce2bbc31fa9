//! What tokens look like.

use super::*;

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
