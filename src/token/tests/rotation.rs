//! Rotations, and what others can verify.

use super::*;

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
