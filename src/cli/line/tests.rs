//! Command lines, good ones and bad ones.

use super::*;

fn parsed(line: &str) -> Result<Cli, Exit> {
    parse(line.split_whitespace())
}

fn read(cli: &Cli, environment: &[(&str, &str)]) -> Result<Loaded, SettingsErrors> {
    let environment: Vec<_> = environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let mut wrong = SettingsErrors::default();
    let loaded = cli.settings.read(&environment, &mut wrong).unwrap();
    wrong.or(loaded)
}

#[test]
fn verify_cli() {
    command().debug_assert();
}

#[test]
fn every_command_is_understood() {
    let file = |passphrase_file: Option<&str>| KeyFile {
        file: "k.age".into(),
        passphrase_file: passphrase_file.map(PathBuf::from),
    };
    let keys = |command| Command::Keys { command };
    let export = |weak| keys(KeysCommand::Export { file: file(None), weak });
    let cases = [
        ("passerby", Command::Serve { test: false }),
        ("passerby serve", Command::Serve { test: false }),
        ("passerby serve --test", Command::Serve { test: true }),
        ("passerby recover", Command::Recover { accept_loss: false }),
        ("passerby recover --accept-loss", Command::Recover { accept_loss: true }),
        ("passerby keys list", keys(KeysCommand::List)),
        ("passerby keys rotate", keys(KeysCommand::Rotate { usage: KeyUse::Access })),
        ("passerby keys rotate cookie", keys(KeysCommand::Rotate { usage: KeyUse::Cookie })),
        ("passerby keys retire a1", keys(KeysCommand::Retire { id: "a1".into(), yes: false })),
        ("passerby keys retire a1 --yes", keys(KeysCommand::Retire { id: "a1".into(), yes: true })),
        ("passerby keys export k.age", export(false)),
        ("passerby keys export k.age --weak", export(true)),
        ("passerby keys import k.age --passphrase-file p", keys(KeysCommand::Import(file(Some("p"))))),
        ("passerby config", Command::Config { explain: false }),
        ("passerby config --explain", Command::Config { explain: true }),
        ("passerby check", Command::Check),
        ("passerby demo", Command::Demo { trial: false }),
        ("passerby demo --trial", Command::Demo { trial: true }),
        ("passerby completions bash", Command::Completions { shell: clap_complete::Shell::Bash }),
        ("passerby man --dir d", Command::Man { dir: Some("d".into()) }),
    ];
    for (line, expected) in cases {
        assert_eq!(parsed(line).unwrap().action(), &expected, "{line}");
    }
}

#[test]
fn settings_may_stand_before_and_after_the_command() {
    for line in [
        "passerby --data-dir d --keys-dir x",
        "passerby serve --data-dir d --keys-dir x",
        "passerby --data-dir d serve --keys-dir x",
        "passerby keys --keys-dir x list --data-dir d",
    ] {
        let loaded = read(&parsed(line).unwrap(), &[]).unwrap();
        let settings = loaded.settings();
        assert_eq!((settings.data_dir.to_str(), settings.keys_dir.to_str()), (Some("d"), Some("x")), "{line}");
    }
}

#[test]
fn a_wrong_line_exits_with_64_and_help_with_0() {
    for (line, code, part) in [
        ("passerby --help", 0, "Usage: passerby"),
        ("passerby help", 0, "Usage: passerby"),
        ("passerby help keys rotate", 0, "Usage: passerby keys rotate"),
        ("passerby serve --help", 0, "--data-dir"),
        ("passerby --version", 0, "passerby 0."),
        ("passerby --nonsense", 64, "unexpected argument '--nonsense'"),
        ("passerby --lisen x", 64, "'--listen'"),
        ("passerby nonsense", 64, "unrecognized subcommand 'nonsense'"),
        ("passerby keys", 64, "Usage: passerby keys"),
        ("passerby keys rotate session", 64, "possible values: access, refresh, cookie"),
        ("passerby keys retire", 64, "<ID>"),
        ("passerby users", 64, "Usage: passerby users"),
        ("passerby users show", 64, "<USER>"),
        ("passerby users list --limit 0", 64, "0 is not in 1..=500"),
        ("passerby users list --anonymous --accounts", 64, "cannot be used with"),
        ("passerby meters grant u m -1", 64, "unexpected argument '-1'"),
        ("passerby admin create", 64, "<NAME>"),
        ("passerby admin create ada --role root", 64, "possible values: read, operate, owner"),
        ("passerby --workers", 64, "a value is required for '--workers <N>'"),
        ("passerby completions csh", 64, "possible values: bash"),
    ] {
        let exit = parsed(line).unwrap_err();
        assert_eq!(exit.code, code, "{line}: {}", exit.text);
        assert!(exit.text.contains(part) && exit.text.ends_with('\n'), "{line}: {}", exit.text);
    }
}

#[test]
fn a_flag_that_a_command_does_not_use_is_neither_offered_nor_taken() {
    for (line, part) in [
        ("passerby keys list --workers 2", "unexpected argument '--workers'"),
        ("passerby --workers 2 keys list", "--workers has no effect with `passerby keys`"),
        ("passerby recover --listen localhost:1", "unexpected argument '--listen'"),
        ("passerby --listen localhost:1 recover", "--listen has no effect with `passerby recover`"),
        ("passerby demo --data-dir d", "unexpected argument '--data-dir'"),
        ("passerby --config f demo", "--config has no effect with `passerby demo`"),
        ("passerby --config f completions bash", "--config has no effect with `passerby completions`"),
        ("passerby check --test", "unexpected argument '--test'"),
    ] {
        let exit = parsed(line).unwrap_err();
        assert!(exit.code == 64 && exit.text.contains(part), "{line}: {}", exit.text);
    }
    for (line, offered, not_offered) in [
        ("passerby keys list --help", "--keys-dir", "--workers"),
        ("passerby recover --help", "--data-dir", "--keys-dir"),
        ("passerby admin create --help", "--data-dir", "--listen"),
        ("passerby demo --help", "--listen", "--data-dir"),
        ("passerby man --help", "--dir", "--config"),
        ("passerby users list --help", "--data-dir", "--keys-dir"),
        ("passerby audit export --help", "--server", "--listen"),
    ] {
        let help = parsed(line).unwrap_err().text;
        assert!(help.contains(offered) && !help.contains(not_offered), "{line}: {help}");
    }
}

#[test]
fn the_settings_file_can_be_named_by_a_variable_and_the_flag_goes_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (one, two) = (path("one.toml", "workers = 1\n"), path("two.toml", "workers = 2\n"));
    let workers = |line: &str| {
        let loaded = read(&parsed(line).unwrap(), &[("PASSERBY_CONFIG", &one)]).unwrap();
        loaded.settings().workers
    };
    assert_eq!(workers("passerby check"), Some(1));
    assert_eq!(workers(&format!("passerby check --config {two}")), Some(2));
    for (line, variable, origin) in [
        ("passerby check", "", "environment variable PASSERBY_CONFIG"),
        ("passerby check --config=", &one, "flag --config"),
    ] {
        let empty = read(&parsed(line).unwrap(), &[("PASSERBY_CONFIG", variable)]).unwrap_err();
        assert!(empty.to_string().starts_with(&format!("{origin}: is empty")), "{empty}");
    }
    let missing = read(&parsed("passerby").unwrap(), &[("PASSERBY_CONFIG", "/nonexistent/p.toml")]).unwrap_err();
    assert!(missing.to_string().starts_with("/nonexistent/p.toml: cannot be read"), "{missing}");
}

#[test]
fn each_flag_of_the_table_is_taken_and_kept_for_its_setting() {
    let flags: Vec<_> = config::flags().map(|flag| format!("--{}", flag.name())).collect();
    let line = flags.iter().flat_map(|flag| [flag.clone(), "x".to_owned()]);
    let cli = parse(std::iter::once("passerby".to_owned()).chain(line)).unwrap();
    assert!(
        cli.settings
            .given
            .keys()
            .copied()
            .eq(config::flags().map(|flag| flag.key).collect::<std::collections::BTreeSet<_>>())
    );
}

#[test]
fn completions_and_manual_know_every_command_and_flag() {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    for shell in clap_complete::Shell::value_variants() {
        let text = text(completions(*shell));
        for word in ["recover", "rotate", "admin-listen", "accept-loss", "never-came-back", "grant"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
    let manual = text(manual().unwrap());
    for word in [".TH", "passerby\\-keys(1)", "admin\\-listen"] {
        assert!(manual.contains(word), "{word} in {manual}");
    }
}
