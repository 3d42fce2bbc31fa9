//! Names that an operator registers: nothing is mailed, and the address counts as confirmed.

use passerby_actors::domain::{Credential, CredentialRefusal};
use passerby_actors::handle::NewName;
use serde_json::{Map, Value};

use super::{LONGEST_NAME, LocalUserpass, Password, UserpassError};

impl LocalUserpass {
    /// A name with its password, as a user is created with it.
    ///
    /// # Errors
    /// Names and passwords that will not do; `Taken`; too many passwords are being hashed.
    pub async fn by_hand(&self, name: &str, password: Password) -> Result<NewName, UserpassError> {
        password.check()?;
        let name = &*self.kept(name);
        self.check_name(name)?;
        if self.known(&Credential::identity(name)).is_some() {
            return Err(CredentialRefusal::Taken.into());
        }
        let password = self.passwords().hash(password, None).await?.into();
        Ok(NewName { name: name.into(), password, data: data_of(name) })
    }

    /// Another name for a user who has one, with what is told of it.
    ///
    /// # Errors
    /// Names that will not do.
    pub fn another_name(&self, name: &str) -> Result<(Box<str>, Box<str>), UserpassError> {
        let name = &*self.kept(name);
        self.check_name(name)?;
        // as App Services had it here, also where a registration may have a longer one
        if name.chars().count() > LONGEST_NAME {
            return Err(UserpassError::Name);
        }
        Ok((name.into(), data_of(name)))
    }
}

/// What is told of a name: a JSON object.
fn data_of(name: &str) -> Box<str> {
    Value::Object(Map::from_iter([("email".to_owned(), Value::from(name))])).to_string().into()
}
