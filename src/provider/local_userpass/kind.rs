//! The kind of provider that it is.

use passerby_actors::domain::LOCAL_USERPASS;

use super::LocalUserpass;
use super::config::UserpassConfig;
use crate::config::SettingsErrors;
use crate::provider::kind::{Given, Kind, Needs, Plan, Rules};

pub(in crate::provider) const KIND: Kind = Kind {
    name: LOCAL_USERPASS,
    is_of_app_services: true,
    read: Some(read),
    table: Some("local_userpass"),
    rules: Rules { hashes_passwords: true, one_identity: true, ..Rules::PLAIN },
};

fn read(given: &Given<'_>) -> Result<Plan, SettingsErrors> {
    let config = UserpassConfig::read(given.file, given.path, given.content)?;
    let needs = Needs { mail: config.sends_mail(), ..Needs::default() };
    Ok(Plan {
        needs,
        ..Plan::with(move |parts| LocalUserpass::new(config.clone(), parts).map(|provider| provider as _))
    })
}
