//! The memory of a user, and which users are live.

use super::*;
use crate::domain::SessionKind;

#[test]
fn a_resting_user_takes_sixteen_bytes_of_key_and_sixteen_of_value() {
    assert_eq!(size_of::<(UserId, Slot)>(), 32);
}

#[test]
fn the_largest_maps_hold_twice_as_much_as_the_smallest() {
    let registry = Registry::new(1);
    for number in 0..200_000u128 {
        let id = UserId::from_bytes((number << 64).to_be_bytes());
        registry.put_user(id, Record::new(1, SessionKind::V1), || {});
    }
    let held: Vec<usize> = registry.users.maps.iter().map(DashMap::len).collect();
    let (small, large): (usize, usize) = (held[..32].iter().sum(), held[480..].iter().sum());
    let ratio = large as f64 / small as f64;
    assert!((1.8..2.05).contains(&ratio), "{ratio}");
    assert!(held.iter().all(|held| (200..700).contains(held)), "{held:?}");
    assert_eq!((0..registry.pages()).map(|page| registry.page(page).len()).sum::<usize>(), 200_000);
}

/// A snapshot copies users and extension records page by page, so a user who goes meanwhile may be in it by half.
#[test]
fn who_is_removed_leaves_no_extension_record_behind() {
    use crate::domain::{Identity, IdentityKey};
    let registry = Registry::new(1);
    let id = UserId::from_bytes([1; 16]);
    let key = IdentityKey { provider: "p".into(), external: "e".into() };
    let identities = vec![Identity { key: key.clone(), linked: 1, data: "".into() }];
    registry.put_extension(id, Extension { identities, ..Extension::default() }.encode().into());
    assert_eq!(registry.resolve(&key), Some(id));
    registry.remove_user(&id);
    assert_eq!(registry.resolve(&key), None);
    assert!((0..registry.pages()).all(|page| registry.page(page).is_empty()));
}

#[test]
fn a_touch_raises_and_never_revives() {
    let registry = Registry::new(1);
    let id = UserId::from_bytes([1; 16]);
    registry.put_user(id, Record::new(100, SessionKind::V1), || {});
    assert_eq!(registry.touch(&id, || 109, 100, 10), Touched::Recent);
    assert_eq!(registry.touch(&id, || 110, 100, 10), Touched::Raised(110));
    assert_eq!(registry.touch(&id, || 210, 100, 10), Touched::Gone, "the deadline itself is too late");
    assert_eq!(registry.record(&id).map(|r| r.last_seen), Some(110));
    registry.put_user(id, Record::new(90, SessionKind::V1), || {});
    assert_eq!(registry.record(&id).map(|r| r.last_seen), Some(110), "the later activity stays");
}

#[test]
fn of_two_touches_at_the_same_time_one_raises() {
    let registry = Registry::new(1);
    let id = UserId::from_bytes([1; 16]);
    registry.put_user(id, Record::new(100, SessionKind::V1), || {});
    // the other one comes when this one has looked at the record, and has not raised it yet
    let other = std::cell::Cell::new(None);
    let now = || {
        other.set(Some(registry.touch(&id, || 110, 100, 10)));
        110
    };
    assert_eq!(registry.touch(&id, now, 100, 10), Touched::Recent);
    assert_eq!(other.get(), Some(Touched::Raised(110)));
}

#[test]
fn an_entry_leaves_the_directory_only_without_leases() {
    let directory = Directory::<u8>::default();
    let id = UserId::from_bytes([1; 16]);
    let lease = directory.lease_or_activate(&id, 5, 0, 1, || 9);
    assert_eq!(directory.retire(&id, 100), None);
    directory.release(&id, lease.incarnation);
    assert_eq!(directory.retire(&id, 4), None, "used since");
    assert_eq!(directory.retire(&id, 5), Some(9));
    assert!(directory.is_empty());
}

#[test]
fn three_deaths_within_a_minute_block_and_the_block_doubles() {
    let directory = Directory::<u8>::default();
    let id = UserId::from_bytes([1; 16]);
    assert_eq!(directory.count_death(&id, 1_000), None);
    assert_eq!(directory.count_death(&id, 62_000), None, "the first is too long ago");
    assert_eq!(directory.count_death(&id, 63_000), None);
    assert_eq!(directory.count_death(&id, 64_000), Some(300_000));
    assert_eq!(directory.blocked_for_ms(&id, 364_000), None);
    assert_eq!(directory.blocked_for_ms(&id, 363_999), Some(1));
    let again: Vec<_> = (0..3).map(|i| directory.count_death(&id, 400_000 + i)).collect();
    assert_eq!(again, [None, None, Some(600_000)]);
}
