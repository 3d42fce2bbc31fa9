//! Which users a command means.

use clap::Args;
use serde_json::{Map, Value};

/// Which users are meant: those to whom all of it applies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Which users")]
pub struct UserFilter {
    /// Anonymous users
    #[arg(long, conflicts_with = "accounts")]
    anonymous: bool,
    /// Accounts
    #[arg(long)]
    accounts: bool,
    /// Disabled users
    #[arg(long, conflicts_with = "enabled")]
    disabled: bool,
    /// Users who are not disabled
    #[arg(long)]
    enabled: bool,
    /// Users who were created and never came back
    #[arg(long)]
    never_came_back: bool,
    /// Users who have a document
    #[arg(long)]
    with_document: bool,
    /// Users with an identity of this provider
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// Created at or after this time, such as 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    created_from: Option<String>,
    /// Created before this time
    #[arg(long, value_name = "TIME")]
    created_until: Option<String>,
    /// Last seen at or after this time
    #[arg(long, value_name = "TIME")]
    seen_from: Option<String>,
    /// Last seen before this time
    #[arg(long, value_name = "TIME")]
    seen_until: Option<String>,
}

impl UserFilter {
    /// As the API takes it.
    pub(super) fn fields(&self) -> Map<String, Value> {
        let flags = [
            ("anonymous", self.anonymous, self.accounts),
            ("disabled", self.disabled, self.enabled),
            ("never_came_back", self.never_came_back, false),
            ("has_document", self.with_document, false),
        ];
        let flags = flags.into_iter().filter(|(_, yes, no)| yes | no);
        let texts = [
            ("provider", &self.provider),
            ("created_from", &self.created_from),
            ("created_until", &self.created_until),
            ("seen_from", &self.seen_from),
            ("seen_until", &self.seen_until),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::from(text.as_deref()?))));
        flags.map(|(name, yes, _)| (name.to_owned(), Value::from(yes))).chain(texts).collect()
    }

    /// The same as parameters of a query.
    pub(super) fn query(&self) -> Vec<(&'static str, Option<String>)> {
        const NAMES: [&str; 9] = [
            "anonymous",
            "disabled",
            "never_came_back",
            "has_document",
            "provider",
            "created_from",
            "created_until",
            "seen_from",
            "seen_until",
        ];
        let fields = self.fields();
        let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        NAMES.into_iter().map(|name| (name, fields.get(name).map(shown))).collect()
    }
}
