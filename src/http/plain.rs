//! JSON answers of tokens and ids, written in place: half of a login's answer is tokens, and a serializer would copy them
//! once and look at each byte for something to escape.

use actix_web::web::Bytes;

/// Room for two tokens and what stands between them.
const CAPACITY: usize = 1536;

/// A JSON object whose texts hold nothing that JSON escapes: tokens and ids of our own, never a stranger's text.
pub(crate) struct PlainObject(String);

impl PlainObject {
    pub(crate) fn new() -> Self {
        let mut out = String::with_capacity(CAPACITY);
        out.push('{');
        Self(out)
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push('"');
        self.0.push_str(name);
        self.0.push_str("\":");
    }

    pub(crate) fn with(mut self, name: &str, write: impl FnOnce(&mut String)) -> Self {
        self.name(name);
        self.0.push('"');
        write(&mut self.0);
        self.0.push('"');
        self
    }

    pub(crate) fn text(self, name: &str, text: &str) -> Self {
        self.with(name, |out| out.push_str(text))
    }

    pub(crate) fn number(mut self, name: &str, number: u32) -> Self {
        self.name(name);
        self.0.push_str(&number.to_string());
        self
    }

    /// A member that is JSON already.
    pub(crate) fn json(mut self, name: &str, json: &str) -> Self {
        self.name(name);
        self.0.push_str(json);
        self
    }

    pub(crate) fn finish(mut self) -> Bytes {
        self.0.push('}');
        Bytes::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_json_as_a_serializer_writes_it() {
        let object = PlainObject::new().text("a", "x-1").with("b", |out| out.push('y')).number("c", 1800);
        let object = object.json("d", r#"[1,"\""]"#);
        let expected = serde_json::json!({"a": "x-1", "b": "y", "c": 1800, "d": [1, "\""]});
        assert_eq!(object.finish(), expected.to_string());
        assert_eq!(PlainObject::new().finish(), "{}");
    }
}
