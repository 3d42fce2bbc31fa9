//! Deployments as the store keeps them: a format byte and JSON, under their number.

use passerby_actors::domain::{Family, Listing, Rewrite, ValueKey};
use passerby_actors::handle::{Handle, OwnChange};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::{DeployError, MOST_BYTES, Unreadable};
use super::recipe::Recipe;
use crate::provider::app_folder::AppContent;

/// How many deployments are kept: the oldest go.
pub const MOST_KEPT: usize = 100;

const FORMAT: u8 = 1;

/// An app that was deployed, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// From 1, without gaps.
    pub number: u64,
    /// When: Unix time in milliseconds.
    pub at_ms: u64,
    /// Who.
    pub by: String,
    /// From where it came.
    pub origin: Origin,
    /// What it is called, in words of whoever deployed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The digest that the app folder had when it was last deployed, then or before.
    pub folder: Option<String>,
    /// What.
    pub app: AppContent,
}

/// From where a deployment came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// From nothing: there was no app folder.
    Default,
    /// From the app folder.
    Folder,
    /// From a page that is served on the admin listener.
    Console,
    /// From the admin API.
    Api,
    /// From the deployment of this number.
    Redeploy(u64),
}

impl Origin {
    /// In words.
    pub fn name(self) -> String {
        match self {
            Self::Default => "the defaults".to_owned(),
            Self::Folder => "the app folder".to_owned(),
            Self::Console => "the console".to_owned(),
            Self::Api => "the admin API".to_owned(),
            Self::Redeploy(number) => format!("deployment {number}"),
        }
    }
}

impl Deployment {
    /// The last one.
    pub(super) fn newest(handle: &Handle, recipe: &Recipe) -> Result<Option<Self>, Unreadable> {
        handle.own_values(&Self::NEWEST).first().map(|(_, bytes)| Self::of_bytes(bytes, recipe)).transpose()
    }

    /// The number of the last one; 0 without one.
    pub(super) fn newest_number(handle: &Handle) -> u64 {
        let number = |key: &ValueKey| <[u8; 8]>::try_from(&*key.key).map(u64::from_be_bytes);
        handle.own_values(&Self::NEWEST).first().and_then(|(key, _)| number(key).ok()).unwrap_or(0)
    }

    /// Where the last one is among the server's own values.
    pub const NEWEST: Listing<'static> = Listing { family: Family::DEPLOYMENT, after: None, last_first: true, most: 1 };

    /// One that was found there.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn of_bytes(bytes: &[u8], recipe: &Recipe) -> Result<Self, Unreadable> {
        let stored: Self = decode(bytes)?;
        Ok(Self { app: recipe.seen(stored.app), ..stored })
    }

    /// Whether it stays in force at a start with this folder, if with any: the folder has not changed since it was deployed.
    pub fn stays(&self, folder: Option<&AppContent>) -> bool {
        folder.is_none_or(|folder| self.folder == Some(folder.digest()))
    }

    /// The one of this number, if it is kept.
    pub(super) fn of_number(handle: &Handle, recipe: &Recipe, number: u64) -> Result<Option<Self>, Unreadable> {
        let found = handle.own_value(Family::DEPLOYMENT, &number.to_be_bytes());
        found.map(|bytes| Self::of_bytes(&bytes, recipe)).transpose()
    }

    /// All that are kept, the newest first.
    pub(super) fn kept(handle: &Handle, recipe: &Recipe) -> Result<Vec<Self>, Unreadable> {
        let listing = Listing { family: Family::DEPLOYMENT, after: None, last_first: true, most: MOST_KEPT };
        handle.own_values(&listing).iter().map(|(_, bytes)| Self::of_bytes(bytes, recipe)).collect()
    }

    /// What puts it into the store, behind the newest that is there, and takes away the oldest beyond what is kept.
    pub(super) fn changes(&self, handle: &Handle) -> Result<Vec<OwnChange>, DeployError> {
        let change = Rewrite::Put(encode(self, &self.app)?);
        let new = OwnChange { key: key(self.number), seen: None, change };
        let beyond = (handle.own_count(Family::DEPLOYMENT) + 1).saturating_sub(MOST_KEPT);
        let oldest = Listing { family: Family::DEPLOYMENT, after: None, last_first: false, most: beyond };
        let oldest = handle.own_values(&oldest).into_iter();
        let gone = oldest.map(|(key, bytes)| OwnChange { key, seen: Some(bytes), change: Rewrite::Remove });
        Ok([new].into_iter().chain(gone).collect())
    }
}

/// What writes down that a deployment has all that the folder of this digest says.
pub(super) fn taken_by_folder(
    handle: &Handle,
    deployment: &Deployment,
    digest: String,
) -> Result<OwnChange, DeployError> {
    let seen = handle.own_value(Family::DEPLOYMENT, &deployment.number.to_be_bytes());
    let taken = Deployment { folder: Some(digest), ..deployment.clone() };
    Ok(OwnChange { key: key(deployment.number), seen, change: Rewrite::Put(encode(&taken, &taken.app)?) })
}

/// Deployments and drafts are stored alike.
pub(super) fn encode(value: &impl Serialize, app: &AppContent) -> Result<Box<[u8]>, DeployError> {
    let length = app.to_json().len();
    if length > MOST_BYTES {
        return Err(DeployError::TooLarge(length));
    }
    let mut bytes = vec![FORMAT];
    serde_json::to_writer(&mut bytes, value).map_err(Unreadable::Json)?;
    Ok(bytes.into())
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    match bytes.split_first() {
        Some((&FORMAT, json)) => Ok(serde_json::from_slice(json)?),
        other => Err(Unreadable::Format(other.map_or(0, |(format, _)| *format))),
    }
}

/// In the order of numbers.
fn key(number: u64) -> ValueKey {
    ValueKey::own(Family::DEPLOYMENT, number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes are fixed: later versions read them.
    #[test]
    fn a_deployment_is_stored_as_a_format_and_json() {
        let mut app = AppContent::default();
        app.allowed_request_origins.push("https://news.example".to_owned());
        let (by, folder) = ("serve".to_owned(), Some(app.digest()));
        let deployment =
            Deployment { number: 7, at_ms: 1_800_000_000_123, by, origin: Origin::Folder, name: None, folder, app };
        let golden = concat!(
            "\u{1}",
            r#"{"number":7,"at_ms":1800000000123,"by":"serve","origin":"folder","#,
            r#""folder":"2caada3401f309302ea024ee34f2a4b0990ca457de9a5ba2bc81122732391f64","#,
            r#""app":{"providers":{"anon-user":{"disabled":false,"name":"anon-user","type":"anon-user"}},"#,
            r#""allowed_request_origins":["https://news.example"]}}"#
        );
        let bytes = encode(&deployment, &deployment.app).unwrap();
        assert_eq!(std::str::from_utf8(&bytes).unwrap(), golden);
        assert_eq!(decode::<Deployment>(golden.as_bytes()).unwrap(), deployment);
        assert!(matches!(decode::<Deployment>(b"\x02{}"), Err(Unreadable::Format(2))));
        assert!(matches!(decode::<Deployment>(b""), Err(Unreadable::Format(0))));
        assert!(matches!(decode::<Deployment>(b"\x01{}"), Err(Unreadable::Json(_))));
    }
}
