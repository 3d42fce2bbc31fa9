//! Settings of passwords as an export of App Services has them.

use super::*;

fn read(text: &str) -> Result<UserpassConfig, String> {
    let Value::Object(options) = serde_json::from_str(text).unwrap() else { panic!("{text}") };
    UserpassConfig::read("auth/providers.json", "local-userpass", &options).map_err(|error| error.to_string())
}

fn config(text: &str) -> Result<UserpassConfig, String> {
    read(&format!(r#"{{"name":"local-userpass","type":"local-userpass","disabled":false,"config":{text}}}"#))
}

fn link(page: &str, subject: &str) -> MailLink {
    MailLink { page: Page::parse(page).unwrap(), subject: Subject::parse(subject).unwrap() }
}

#[test]
fn an_export_of_app_services_is_read() {
    // of realm-js, examples/electron-todo-list
    let todo = config(r#"{"autoConfirm":true,"resetPasswordUrl":"https://","runConfirmationFunction":false}"#);
    let todo = todo.unwrap();
    assert_eq!(todo, UserpassConfig { confirmation: Confirmation::Automatic, reset: None });
    assert!(!todo.sends_mail());

    let full = config(
        r#"{"autoConfirm":false,"emailConfirmationUrl":"https://app.example/confirm","confirmEmailSubject":"Welcome",
                "runConfirmationFunction":false,"confirmationFunctionName":"confirm","confirmationFunctionId":"",
                "resetPasswordUrl":"http://localhost:3000/reset","resetPasswordSubject":"",
                "runResetFunction":false,"resetFunctionName":null,"resetFunctionId":"65"}"#,
    );
    let full = full.unwrap();
    let expected = UserpassConfig {
        confirmation: Confirmation::Mail(link("https://app.example/confirm", "Welcome")),
        reset: Some(link("http://localhost:3000/reset", "Reset your password")),
    };
    assert_eq!(full, expected);
    assert!(full.sends_mail());
}

#[test]
fn mails_are_needed_where_there_is_a_link_to_send() {
    let cases = [
        (r#"{"autoConfirm":true}"#, false),
        (r#"{"autoConfirm":true,"emailConfirmationUrl":"https://app.example"}"#, false),
        (r#"{"autoConfirm":true,"resetPasswordUrl":"https://app.example"}"#, true),
        (r#"{"emailConfirmationUrl":"https://app.example"}"#, true),
    ];
    for (text, sends) in cases {
        assert_eq!(config(text).map(|config| config.sends_mail()), Ok(sends), "{text}");
    }
}

#[test]
fn what_cannot_be_honoured_is_refused_with_file_key_and_reason() {
    let missing = "config.emailConfirmationUrl: is missing: without autoConfirm no address could be confirmed";
    let cases = [
        ("{}", missing),
        ("null", missing),
        (r#"{"autoConfirm":false,"emailConfirmationUrl":"https://"}"#, missing),
        ("[]", "config: expected an object, found []"),
        (
            r#"{"autoconfirm":true}"#,
            "config.autoconfirm: there is no such option, only autoConfirm, emailConfirmationUrl, confirmEmailSubject, \
                 resetPasswordUrl, resetPasswordSubject, runConfirmationFunction, confirmationFunctionName, confirmationFunctionId, \
                 runResetFunction, resetFunctionName, resetFunctionId (did you mean \"autoConfirm\"?)",
        ),
        (r#"{"autoConfirm":"yes"}"#, r#"config.autoConfirm: expected true or false, found "yes""#),
        (
            r#"{"autoConfirm":true,"runConfirmationFunction":true,"confirmationFunctionName":"f"}"#,
            "config.runConfirmationFunction: is on, but this server runs no functions: set it to false and use \
                 autoConfirm or emailConfirmationUrl",
        ),
        (
            r#"{"autoConfirm":true,"runResetFunction":true,"resetFunctionName":"f"}"#,
            "config.runResetFunction: is on, but this server runs no functions: set it to false and use \
                 resetPasswordUrl",
        ),
        (r#"{"autoConfirm":true,"resetFunctionName":7}"#, "config.resetFunctionName: expected a text, found 7"),
        (
            r#"{"autoConfirm":true,"resetPasswordUrl":"http://app.example/reset"}"#,
            "config.resetPasswordUrl: expected an https:// address, or http:// on this machine, found \
                 \"http://app.example/reset\"",
        ),
        (
            r#"{"autoConfirm":true,"resetPasswordUrl":"https://a.example","resetPasswordSubject":"a\r\nBcc: b@c.d"}"#,
            "config.resetPasswordSubject: expected 1 to 200 characters in one line",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(config(text), Err(format!("auth/providers.json: local-userpass.{expected}")), "{text}");
    }
    let error = read(r#"{"name":"local-userpass","metadata_fields":[]}"#).unwrap_err();
    let expected = "local-userpass.metadata_fields: there is no such option, only name, type, disabled, config";
    assert_eq!(error, format!("auth/providers.json: {expected}"));
}
