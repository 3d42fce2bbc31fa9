//! The app folder while a server runs: whether it has changed since it was taken.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use crate::provider::app_folder::{FolderState, state};

/// How long from one look to the next. A change is taken when two looks find the same: whoever writes it may not be done.
pub(super) const LOOK: Duration = Duration::from_secs(2);

/// A folder that is looked at now and then.
pub(super) struct AppWatch {
    dir: PathBuf,
    /// As it was when it was taken; none before.
    taken: RefCell<Option<FolderState>>,
    /// As it was at the last look.
    last: RefCell<FolderState>,
    /// Why it was refused the last time; none where it was not.
    refused: RefCell<Option<String>>,
}

impl AppWatch {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, taken: RefCell::default(), last: RefCell::default(), refused: RefCell::default() }
    }

    /// Whether it has changed since it was taken, and not any more since the last look.
    pub(super) fn has_changed(&self) -> bool {
        let now = state(&self.dir);
        let is_still = self.last.replace(now.clone()) == now;
        is_still && *self.taken.borrow() != Some(now)
    }

    /// As it is now it is taken, unless it is refused.
    pub(super) fn take(&self) {
        *self.taken.borrow_mut() = Some(state(&self.dir));
    }

    /// It was refused, and is tried again at each look: settings, secrets or the store may be mended while the folder stays as it is.
    /// Returns whether that is news.
    pub(super) fn refuse(&self, why: &str) -> bool {
        *self.taken.borrow_mut() = None;
        self.refused.replace(Some(why.to_owned())).as_deref() != Some(why)
    }

    /// It was not refused.
    pub(super) fn accept(&self) {
        *self.refused.borrow_mut() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_taken_once_and_not_before_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let watch = AppWatch::new(folder.path().to_owned());
        for (name, text) in [
            ("auth/providers.json", "{}"),
            ("auth/providers.json", "{ }"),
            ("auth/custom_user_data.json", "{}"),
            (".mdb/meta.json", "{}"),
            ("realm_config.json", "{}"),
            ("auth_providers/api-key.json", "{}"),
        ] {
            put(name, text);
            assert!(!watch.has_changed(), "{name} may be written still");
            assert!(watch.has_changed(), "{name}");
            watch.take();
            assert!(!watch.has_changed(), "{name} is taken");
        }
        put("functions/hello.js", "");
        assert!(!watch.has_changed(), "it is not read");
        assert!(watch.refuse("the store is full"));
        for _ in 0..2 {
            assert!(watch.has_changed(), "it is tried until it is accepted");
            watch.take();
            assert!(!watch.refuse("the store is full"), "which was said");
        }
        assert!(watch.refuse("a secret is missing"));
        watch.take();
        watch.accept();
        assert!(!watch.has_changed());
        assert!(watch.refuse("a secret is missing"), "again");
        std::fs::remove_file(folder.path().join("auth/providers.json")).unwrap();
        assert!(!watch.has_changed());
        assert!(watch.has_changed(), "it is gone");
    }
}
