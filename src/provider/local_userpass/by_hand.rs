//! Names that an operator registers: nothing is mailed, and the address counts as confirmed.

use passerby_actors::domain::{Credential, CredentialRefusal};
use passerby_actors::handle::NewName;
use serde_json::{Map, Value};

use super::{LocalUserpass, Password, UserpassError};

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
        let data = Value::Object(Map::from_iter([("email".to_owned(), Value::from(name))]));
        Ok(NewName { name: name.into(), password, data: data.to_string().into() })
    }
}
