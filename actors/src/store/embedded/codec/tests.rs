//! Frames and snapshot entries: their bytes, and how damage is noticed.

use super::*;
use crate::domain::SessionKind;

fn key(family: u8, key: &[u8]) -> ValueKey {
    ValueKey { family: Family(family), key: key.into() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_of_a_frame_are_as_they_always_were() {
    let id = UserId::from_bytes([0x11; 16]);
    let effects = [
        Effect::PutUser(id, Record::new(7, SessionKind::AppServices)),
        Effect::PutExtension(id, Arc::from([1u8])),
        Effect::RemoveExtension(id),
        Effect::RemoveUser(id),
        Effect::PutValue(key(200, &[1]), Arc::from([2u8, 3])),
        Effect::RemoveValue(key(200, &[1])),
    ];
    let mut frame = FrameWriter::new();
    frame.set(Cause::Created, 7, &effects);
    frame.touches(8, &[Effect::Touch(id, 9)]);
    let bytes = frame.finish(3, 8, 1_700_000_000_000, FrameKind::Group);
    assert_eq!(
        hex(&bytes),
        "50624672000000a957157ba90000000000000003000000080000018bcfe5680000010000000700000006011111111111111111111111111111111100000007000000070000000100000010031111111111111111111111111111111100000001010411111111111111111111111111111111021111111111111111111111111111111106c8000000010100000002020307c80000000101000000000800000001051111111111111111111111111111111100000009"
    );
    let FrameAt::Verified(body, len) = frame_at(&bytes) else { panic!("it verifies") };
    assert_eq!(len, bytes.len());
    let frame = decode_frame(body).unwrap();
    assert_eq!((frame.seq, frame.service, frame.wall_ms), (3, 8, 1_700_000_000_000));
    assert_eq!(frame.effects[..6], effects);
    assert_eq!(hex(&journal_head(5)), "5042594a524e000100000000000000052601539e");
}

/// The numbers stand in journals and snapshots.
#[test]
fn families_and_causes_have_the_numbers_that_they_always_had() {
    let families = Family::NAMES.map(|(family, name)| format!("{}={name}", family.0)).join(" ");
    assert_eq!(
        families,
        "1=users 2=extensions 3=credentials 5=meters 6=documents 4=ended-ids 7=admins 8=admin-keys 9=admin-sessions \
         10=audit-entries 11=deployments 12=audit-refusals 13=drafts 14=days 15=network-blocks \
         16=ended-sessions"
    );
    assert_eq!((Cause::Administered as u8, Cause::from_number(27)), (27, Some(Cause::Administered)));
    assert_eq!((Cause::MeterAdjusted as u8, Cause::from_number(28)), (28, Some(Cause::MeterAdjusted)));
    assert_eq!((Cause::Renamed as u8, Cause::from_number(29)), (29, Some(Cause::Renamed)));
    let mut frame = FrameWriter::new();
    frame.set(Cause::Administered, 7, &[Effect::PutValue(ValueKey::own(Family::ADMIN, *b"ada"), Arc::from([1u8]))]);
    let bytes = frame.finish(3, 8, 9, FrameKind::Group);
    assert_eq!(hex(&bytes[FRAME_HEAD + FRAME_FIXED..]), "1b00000007000000010607000000036164610000000101");
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let mut frame = FrameWriter::new();
    frame.touches(8, &[Effect::Touch(UserId::from_bytes([1; 16]), 9)]);
    let bytes = frame.finish(3, 8, 9, FrameKind::Closed);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(frame_at(&flipped), FrameAt::Bad), "bit {bit}");
    }
    for n in 0..bytes.len() {
        assert!(matches!(frame_at(&bytes[..n]), FrameAt::Bad), "{n} bytes");
    }
}

/// What only looks like a torn end: nothing of it is missing.
#[test]
fn a_whole_frame_of_which_one_byte_is_wrong_is_told_from_one_that_was_cut_off() {
    let mut frame = FrameWriter::new();
    frame.touches(8, &[Effect::Touch(UserId::from_bytes([1; 16]), 9)]);
    let bytes = frame.finish(3, 8, 9, FrameKind::Group);
    for bit in (0..bytes.len() * 8).step_by(5) {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(is_whole_frame(&flipped), "bit {bit}: of magic, length, checksum or body");
    }
    for n in 0..bytes.len() {
        assert!(!is_whole_frame(&bytes[..n]), "{n} bytes");
        let mut zeroed = bytes.clone();
        zeroed[n..].fill(0);
        // as a file that grew before its content came
        assert_eq!(is_whole_frame(&zeroed), n >= 8, "{n} bytes, then zeros");
    }
}

#[test]
fn snapshot_entries_round_trip_across_any_cut() {
    let id = UserId::from_bytes([0x22; 16]);
    let items = [
        Item::User(id, Record::new(1, SessionKind::V1)),
        Item::Extension(id, Arc::from([1u8])),
        Item::Value(key(200, &[1, 2]), vec![3; 20].into()),
    ];
    let mut bytes = Vec::new();
    items.iter().for_each(|item| put_item(&mut bytes, item));
    assert_eq!(
        hex(&bytes),
        "010010000000102222222222222222222222222222222200000001000000010000000100000020020010000000012222222222222222222222222222222201c800020000001401020303030303030303030303030303030303030303"
    );
    for cut in 0..bytes.len() {
        let mut seen = Vec::new();
        let used = take_items(&bytes[..cut], |item| seen.push(item)).unwrap();
        take_items(&bytes[used..], |item| seen.push(item)).unwrap();
        assert_eq!(seen, items);
    }
}
