//! What is read at start, what is refused, and what an operator can save.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use passerby_actors::domain::{Cause, DeviceId, SessionKind, UserId};
use passerby_actors::handle::IdForm;
use passerby_actors::store::embedded::files::{Disk, Files};
use passerby_actors::store::embedded::{self, Durability, OpenError};
use passerby_actors::testkit::faulty::Faulty;
use passerby_actors::testkit::{Running, World, until};

async fn logins(running: &Running, n: usize) -> Vec<UserId> {
    let mut users = Vec::new();
    for _ in 0..n {
        users.push(running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap().user);
    }
    users
}

/// Every file of a folder with its content, sled's own and the lock aside.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("snapshot") {
            found.extend(contents(&path));
        } else if path.is_file() && !path.ends_with("LOCK") {
            found.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

fn generation(world: &World, n: u64) -> PathBuf {
    world.dir.join(format!("gen-{n:010}"))
}

fn open_error(world: &World) -> String {
    match world.try_open() {
        Ok(_) => panic!("it opened"),
        Err(error) => error.to_string(),
    }
}

#[actix_rt::test]
async fn a_restart_finds_everybody_through_journals_and_generations() {
    let world = World::new(1);
    let mut running = world.open();
    let mut users = Vec::new();
    for round in 0..6 {
        users.extend(logins(&running, 20).await);
        let extended = users[round * 20];
        running.handle.open_session(&extended, SessionKind::AppServices, DeviceId([9; 12]), None).await.unwrap();
        if round % 2 == 0 {
            running.new_generation().await;
        }
        users.extend(logins(&running, 1).await);
        let states: Vec<_> = users.iter().map(|id| running.store.load(id)).collect();
        running.close();
        running = world.open();
        assert_eq!(users.iter().map(|id| running.store.load(id)).collect::<Vec<_>>(), states);
        users.pop();
    }
    assert_eq!(std::fs::read_dir(&world.dir).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count(), 1);
}

#[actix_rt::test]
async fn a_data_folder_serves_one_process() {
    let world = World::new(1);
    let _running = world.open();
    assert!(matches!(world.try_open(), Err(OpenError::InUse(_))));
}

#[actix_rt::test]
async fn a_torn_end_is_cut_and_everything_before_it_is_there() {
    let world = World::new(1);
    let running = world.open();
    let users = logins(&running, 10).await;
    running.close();
    let journal = generation(&world, 1).join("journal");
    let whole = std::fs::read(&journal).unwrap();
    for torn in [1, 7, 30] {
        std::fs::write(&journal, [&whole[..], &whole[20..20 + torn]].concat()).unwrap();
        let store = world.try_open().unwrap();
        assert_eq!(store.opened().torn_bytes, torn as u64);
        assert!(users.iter().all(|id| store.record(id).is_some()));
        drop(store);
        std::fs::write(&journal, &whole).unwrap();
    }
}

#[actix_rt::test]
async fn damage_is_refused_the_folder_is_left_alone_and_what_can_be_read_can_be_saved() {
    let world = World::new(1);
    let running = world.open();
    let users = logins(&running, 30).await;
    running.close();
    let journal = generation(&world, 1).join("journal");
    let mut bytes = std::fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&journal, &bytes).unwrap();

    let before = contents(&world.dir);
    let error = open_error(&world);
    assert!(error.contains("journal: it is damaged at byte") && error.contains("passerby recover"), "{error}");
    let inspection = embedded::inspect(&world.dir, &world.options, &Disk).unwrap();
    assert_eq!((inspection.users, inspection.intact), (29, false), "{:?}", inspection.findings);
    assert_eq!(contents(&world.dir), before, "nothing was changed");

    let (_, kept) = embedded::salvage(&world.dir, &world.options, &Disk, &*world.clock).unwrap();
    assert_eq!(std::fs::read(kept.join("gen-0000000001/journal")).unwrap(), bytes, "the old files are kept");
    let store = world.try_open().unwrap();
    assert_eq!(users.iter().filter(|id| store.record(id).is_some()).count(), 29);
}

#[actix_rt::test]
async fn under_os_durability_a_journal_is_cut_at_the_first_bad_frame_and_the_loss_is_said() {
    let mut world = World::new(1);
    world.options.durability = Durability::Os;
    let running = world.open();
    logins(&running, 30).await;
    running.close();
    let journal = generation(&world, 1).join("journal");
    let mut bytes = std::fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&journal, &bytes).unwrap();
    let store = world.try_open().unwrap();
    assert!(store.opened().loss.as_ref().unwrap().contains("is lost"));
    assert!((10..30).contains(&store.users()));
}

type Damage = fn(&Path, &Path);

#[actix_rt::test]
async fn each_kind_of_damage_is_named() {
    let kinds: [(&str, Damage); 6] = [
        ("CURRENT: it is missing, and there is data", |dir, _| std::fs::remove_file(dir.join("CURRENT")).unwrap()),
        ("CURRENT: it names no generation", |dir, _| std::fs::write(dir.join("CURRENT"), "nonsense").unwrap()),
        ("CURRENT names it, and it is missing", |_, generation| std::fs::remove_dir_all(generation).unwrap()),
        ("journal: it is missing", |_, generation| std::fs::remove_file(generation.join("journal")).unwrap()),
        ("does not begin as a journal", |_, generation| std::fs::write(generation.join("journal"), [0; 50]).unwrap()),
        ("the snapshot cannot be read", |_, generation| {
            std::fs::write(generation.join("snapshot/db"), vec![7; 100_000]).unwrap();
        }),
    ];
    for (message, damage) in kinds {
        let world = World::new(1);
        let running = world.open();
        logins(&running, 300).await;
        running.new_generation().await;
        logins(&running, 3).await;
        running.close();
        damage(&world.dir, &generation(&world, 2));
        let error = open_error(&world);
        assert!(error.contains(message), "{error}");
        assert!(!embedded::inspect(&world.dir, &world.options, &Disk).unwrap().intact);
    }
}

#[actix_rt::test]
async fn a_group_that_is_missing_between_two_journals_is_noticed() {
    let world = World::new(1);
    let running = world.open();
    logins(&running, 5).await;
    running.close();
    let journal = generation(&world, 1).join("journal");
    let bytes = std::fs::read(&journal).unwrap();
    let frame = 12 + u32::from_be_bytes(bytes[24..28].try_into().unwrap()) as usize;
    std::fs::write(&journal, [&bytes[..20], &bytes[20 + frame..]].concat()).unwrap();
    assert!(open_error(&world).contains("group 1 is missing"));
}

/// S44: within a day, an hour of which is for the writing.
#[actix_rt::test]
async fn erased_users_leave_the_disk_with_the_next_generation() {
    let world = World::new(1);
    let running = world.open();
    let users = logins(&running, 2).await;
    running.new_generation().await;
    running.handle.delete(&users[0], Cause::DeletedByUser).await.unwrap();
    world.clock.advance_s(23 * 3600);
    generation_of_age(&running, 2).await;
    running.close();
    fn holds(dir: &Path, needle: &[u8]) -> bool {
        std::fs::read_dir(dir).unwrap().any(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                holds(&path, needle)
            } else {
                std::fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle)
            }
        })
    }
    assert!(!holds(&world.dir, users[0].as_bytes()), "who was deleted is nowhere");
    assert!(holds(&world.dir, users[1].as_bytes()), "the search finds who lives");
}

/// S44: a user who is erased while a generation is written may be in it, and waits for the next one no longer because it took long.
#[actix_rt::test]
async fn the_age_of_a_generation_counts_from_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let files = Faulty::new();
    let world = World::over(&folder.path().join("data"), 1, Arc::clone(&files) as Arc<dyn Files>);
    let running = world.open();
    let clock = Arc::clone(&world.clock);
    files.before_naming(move || clock.advance_s(10 * 3600));
    running.new_generation().await;
    world.clock.advance_s(13 * 3600);
    generation_of_age(&running, 2).await;
    running.close();
}

async fn generation_of_age(running: &Running, number: u64) {
    running.store.nudge();
    until("the day's generation is complete", || {
        running.store.stats().generations.load(std::sync::atomic::Ordering::SeqCst) == number
    })
    .await;
}

#[actix_rt::test]
async fn two_handles_of_one_folder_after_each_other_go_on_with_the_same_numbers() {
    let world = World::new(1);
    for round in 0..5 {
        let store = world.try_open().unwrap();
        let running = world.run(store);
        assert_eq!(running.store.users(), round * 3);
        logins(&running, 3).await;
        running.close();
    }
}
