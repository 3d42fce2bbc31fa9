//! A disk that fails or is full: callers get errors and never "dead", and the store heals when it can.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use passerby_actors::domain::{Cause, DeviceId, SessionKind};
use passerby_actors::handle::{Error, IdForm};
use passerby_actors::store::Health;
use passerby_actors::store::embedded::files::Disk;
use passerby_actors::testkit::faulty::{Faulty, Mode};
use passerby_actors::testkit::{DAY_S, World, until};

#[actix_rt::test]
async fn a_failing_disk_gives_errors_and_calls_nobody_dead_and_then_heals() {
    for mode in [Mode::SyncsFail, Mode::Full] {
        let folder = tempfile::tempdir().unwrap();
        let files = Faulty::new();
        let world = World::over(&folder.path().join("data"), 1, files.clone());
        let running = world.open();
        let handle = &running.handle;
        let v1 = handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap();
        let sdk = handle.login(SessionKind::AppServices, IdForm::Object).await.unwrap();
        handle.open_session(&v1.user, SessionKind::V1, DeviceId::default(), None).await.unwrap();

        files.set(mode);
        assert_eq!(handle.login(SessionKind::V1, IdForm::Object).await, Err(Error::OutcomeUnknown), "{mode:?}");
        assert_eq!(running.store.health(), Health::Failing);
        assert_eq!(handle.login(SessionKind::V1, IdForm::Object).await, Err(Error::NotWritable));
        let rotated = handle.rotate(&v1.user, v1.number, 0).await;
        assert!(matches!(rotated, Err(Error::NotWritable | Error::OutcomeUnknown)), "{rotated:?}");
        assert_eq!(handle.logout(&v1.user, v1.number).await, Err(Error::NotWritable));
        // checks of live users go on, and no user is called dead, not even one who is
        handle.check(&sdk.user, &sdk.session, Some(sdk.epoch)).unwrap();
        assert_eq!(handle.check(&v1.user, &sdk.session, None).map(drop), Err(Error::NotWritable));
        world.clock.advance_s(91 * DAY_S);
        assert_eq!(handle.check(&sdk.user, &sdk.session, None).map(drop), Err(Error::NotWritable));
        assert_eq!(running.sweep().await, 0, "sweeps pause");
        // it tries again every second, and fails again
        running.store.nudge();
        let failures = || running.store.stats().generation_failures.load(Ordering::SeqCst);
        until("a new generation was tried", || failures() > 0).await;
        assert_eq!(running.store.health(), Health::Failing);

        files.set(Mode::Works);
        world.clock.advance_s(2);
        running.store.nudge();
        until("it is healed", || running.store.health() == Health::Writable).await;
        let late = handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap();
        running.close();
        let again = world.open();
        assert!(again.knows(&late.user) && again.knows(&sdk.user));
        assert_eq!(again.handle.load(&v1.user), None, "who was inactive for so long is refused");
    }
}

#[actix_rt::test]
async fn a_failure_while_a_generation_is_made_loses_nothing() {
    for (mode, sync) in [(Mode::SyncsFail, 0), (Mode::SyncsFail, 2), (Mode::Full, 0), (Mode::Full, 2)] {
        let folder = tempfile::tempdir().unwrap();
        let files = Faulty::new();
        let world = World::over(&folder.path().join("data"), 1, files.clone());
        let running = world.open();
        let user = running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap();
        files.turn_at_sync(sync, mode);
        running.store.new_generation();
        until("it failed", || running.store.stats().generation_failures.load(Ordering::SeqCst) > 0).await;
        files.set(Mode::Works);
        world.clock.advance_s(120);
        running.store.nudge();
        until("it is tried again", || running.store.stats().generations.load(Ordering::SeqCst) > 0).await;
        until("it can write", || running.store.health() == Health::Writable).await;
        let late = running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap();
        running.close();
        let again = world.open();
        assert!(again.knows(&user.user) && again.knows(&late.user), "{mode:?} {sync}");
    }
}

/// What is at the path of a folder that was moved away belongs to a different server: nothing of it is removed.
#[actix_rt::test]
async fn a_generation_that_fails_because_its_folder_was_replaced_clears_nothing_away_there() {
    let folder = tempfile::tempdir().unwrap();
    let files = Faulty::new();
    let world = World::over(&folder.path().join("data"), 1, files.clone());
    let running = world.open();
    running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap();
    let (ours, away) = (world.dir.clone(), folder.path().join("away"));
    let theirs = ours.join("gen-0000000002").join("snapshot").join("users");
    let of_theirs = theirs.clone();
    files.before_naming(move || {
        std::fs::rename(&ours, &away).unwrap();
        std::fs::create_dir_all(of_theirs.parent().unwrap()).unwrap();
        std::fs::copy(away.join("CURRENT"), ours.join("CURRENT")).unwrap();
        std::fs::write(&of_theirs, "theirs").unwrap();
    });
    running.store.new_generation();
    until("it failed", || running.store.stats().generation_failures.load(Ordering::SeqCst) > 0).await;
    until("it is noticed", || running.store.health() == Health::Failing).await;
    assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "theirs");
}

#[actix_rt::test]
async fn a_journal_that_has_taken_groups_outlives_its_generations_failure() {
    let folder = tempfile::tempdir().unwrap();
    let files = Faulty::new();
    let world = World::over(&folder.path().join("data"), 1, files.clone());
    let running = world.open();
    let mut users = Vec::new();
    for _ in 0..20 {
        users.push(running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap());
    }
    // the snapshot fails once the new journal has taken over, and then the journal fails too
    files.fail_snapshots(true);
    running.store.new_generation();
    until("it failed", || running.store.stats().generation_failures.load(Ordering::SeqCst) > 0).await;
    users.push(running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap());
    running.handle.delete(&users[0].user, Cause::DeletedByUser).await.unwrap();
    files.set(Mode::SyncsFail);
    assert!(running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.is_err());
    world.clock.advance_s(2);
    running.store.nudge();
    until("healing failed", || running.store.stats().generation_failures.load(Ordering::SeqCst) > 1).await;
    running.close();
    files.set(Mode::Works);
    files.fail_snapshots(false);
    let again = world.open();
    assert!(users[1..].iter().all(|user| again.knows(&user.user)), "what was acknowledged is there");
    assert!(!again.knows(&users[0].user), "and who was deleted is not");
    until("the generation is made up for", || again.store.stats().generations.load(Ordering::SeqCst) > 0).await;
    let generations = std::fs::read_dir(&world.dir).unwrap().filter(|e| e.as_ref().unwrap().path().is_dir()).count();
    assert_eq!(generations, 1, "what was given up is cleared away");
}

/// Once for real: a file system of 4 MiB that is filled up and then freed.
#[actix_rt::test]
async fn a_disk_that_is_really_full_heals_when_there_is_space_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mounted) = Tmpfs::mount(folder.path(), "4m") else {
        assert!(std::env::var("CI").is_err(), "a tmpfs cannot be mounted here, and CI must test a full disk");
        eprintln!("NOT TESTED: a tmpfs cannot be mounted here, so no disk was really full");
        return;
    };
    let world = World::over(&mounted.0.join("data"), 1, Arc::new(Disk));
    let running = world.open();
    let first = running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap();
    let ballast = mounted.0.join("ballast");
    // whatever space there is, down to the last byte
    for size in [1 << 20, 1 << 12, 1] {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&ballast).unwrap();
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    let mut last = first;
    loop {
        match running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await {
            Ok(user) => last = user,
            Err(error) => break assert_eq!(error, Error::OutcomeUnknown),
        }
    }
    world.clock.advance_s(2);
    running.store.nudge();
    let failures = || running.store.stats().generation_failures.load(Ordering::SeqCst);
    until("a new generation was tried in vain", || failures() > 0).await;
    running.handle.check(&last.user, &last.session, None).unwrap();

    std::fs::remove_file(&ballast).unwrap();
    world.clock.advance_s(2);
    running.store.nudge();
    until("it is healed", || {
        world.clock.advance_s(1);
        running.store.nudge();
        running.store.health() == Health::Writable
    })
    .await;
    let late = running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap();
    running.close();
    let again = world.open();
    assert!([first, last, late].iter().all(|user| again.knows(&user.user)));
    again.close();
}

struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn mount(under: &std::path::Path, size: &str) -> Option<Self> {
        let path = under.join("small");
        std::fs::create_dir(&path).unwrap();
        let options = format!("size={size}");
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(&path)
            .stderr(std::process::Stdio::null())
            .status();
        mount.is_ok_and(|status| status.success()).then_some(Self(path))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// What a start would read is removed: no change is acknowledged before it is there again.
#[actix_rt::test]
async fn what_a_start_needs_is_missed_and_made_anew() {
    type Taken = fn(&Path);
    let kinds: [(&str, Taken); 4] = [
        ("CURRENT", |dir| std::fs::remove_file(dir.join("CURRENT")).unwrap()),
        ("another CURRENT", |dir| {
            std::fs::write(dir.join("other"), "nonsense").unwrap();
            std::fs::rename(dir.join("other"), dir.join("CURRENT")).unwrap();
        }),
        ("the snapshot", |dir| std::fs::remove_dir_all(dir.join("gen-0000000002/snapshot")).unwrap()),
        ("a file of it", |dir| std::fs::remove_file(dir.join("gen-0000000002/snapshot/db")).unwrap()),
    ];
    for (what, take) in kinds {
        let world = World::new(1);
        let running = world.open();
        let early = running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap();
        running.new_generation().await;
        let user = running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap();
        world.clock.advance_s(2);
        running.store.nudge();
        running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap();
        assert_eq!(running.store.health(), Health::Writable, "nothing is missing");

        take(&world.dir);
        world.clock.advance_s(2);
        running.store.nudge();
        until("it is missed", || running.store.health() == Health::Failing).await;
        let refused = running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await;
        assert_eq!(refused, Err(Error::NotWritable), "{what}");
        world.clock.advance_s(2);
        running.store.nudge();
        until("it is there again", || running.store.health() == Health::Writable).await;
        let late = running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap();
        world.clock.advance_s(2);
        running.store.nudge();
        running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap();
        assert_eq!(running.store.health(), Health::Writable, "{what}: the new one is the one that is looked for");
        running.close();
        let again = world.open();
        assert!([early, user, late].iter().all(|user| again.knows(&user.user)), "{what}");
    }
}
