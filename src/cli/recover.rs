//! `passerby recover`: what can be read of a damaged data folder, and a new generation from it.

use passerby_actors::store::embedded;

use super::outcome::{EXIT_DATA, Failure, print};
use crate::config::Settings;
use crate::startup::{self, Ports};

pub(super) fn recover(settings: &Settings, accept_loss: bool) -> Result<(), Failure> {
    let (options, ports) = (startup::store_options(settings), Ports::system());
    if !settings.data_dir.is_dir() {
        return Err(Failure::usage(format!("{}: there is no such folder", settings.data_dir.display())));
    }
    let inspection = if accept_loss {
        let (inspection, kept) = embedded::salvage(&settings.data_dir, &options, &*ports.files, &*ports.clock)?;
        print(&format!("what could be read is a new generation; the old files are in {}\n", kept.display()));
        inspection
    } else {
        embedded::inspect(&settings.data_dir, &options, &*ports.files)?
    };
    for finding in &inspection.findings {
        print(&format!("{finding}\n"));
    }
    print(&format!("{} users can be read\n", inspection.users));
    let advice = match (inspection.intact, accept_loss) {
        (true, false) if inspection.spoilt_end => {
            "everything else that must be readable is, and the next start leaves the last group out\n"
        }
        (true, false) => "everything that must be readable is; there is nothing to recover\n",
        (false, false) => {
            "`passerby recover --accept-loss` gives up the rest and keeps the old files; \
             whoever ended in what is given up is back\n"
        }
        (_, true) => "",
    };
    print(advice);
    if inspection.intact || accept_loss {
        return Ok(());
    }
    let text = format!("{}: what must be readable is not", settings.data_dir.display());
    Err(Failure { code: EXIT_DATA, text })
}
