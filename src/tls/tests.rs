//! Which pairs are taken, and when.

use super::*;

/// A certificate and its key in a folder.
struct Pair {
    folder: tempfile::TempDir,
}

impl Pair {
    fn new() -> Self {
        let pair = Self { folder: tempfile::tempdir().unwrap() };
        pair.write_both();
        pair
    }

    fn files(&self) -> TlsFiles {
        TlsFiles { cert: Some(self.path("cert.pem")), key: Some(self.path("key.pem")) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// As those do it who renew certificates: a new file takes the place of the old one.
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path("new"), text).unwrap();
        std::fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    fn write_both(&self) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (cert, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        self.write("cert.pem", &cert);
        self.write("key.pem", &key);
        (cert, key)
    }

    fn read(&self) -> Tls {
        Tls::read("tls", &self.files()).unwrap().unwrap()
    }

    fn fault(&self) -> String {
        let Err(error) = Tls::read("tls", &self.files()) else { panic!("it is taken") };
        error.to_string().replace(self.folder.path().to_str().unwrap(), "FOLDER")
    }
}

/// Whether `look` takes another certificate.
fn takes_another(tls: &Tls) -> bool {
    let before = tls.in_force.load_full();
    tls.look();
    !Arc::ptr_eq(&before, &tls.in_force.load())
}

#[test]
fn a_pair_that_will_not_do_is_said_in_one_sentence_that_names_the_setting_and_the_file() {
    let pair = Pair::new();
    let (cert, key) = pair.write_both();
    pair.write("key.pem", "nothing of the kind");
    assert_eq!(pair.fault(), "tls.key: FOLDER/key.pem holds no private key in PEM without a passphrase");
    pair.write("key.pem", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    assert_eq!(pair.fault(), "tls.key: FOLDER/key.pem is not the key of the certificate in FOLDER/cert.pem");
    pair.write("key.pem", &key);
    pair.write("cert.pem", &key);
    assert_eq!(pair.fault(), "tls.cert: FOLDER/cert.pem holds no certificate in PEM");
    pair.write("cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_eq!(pair.fault(), "tls.cert: FOLDER/cert.pem holds a certificate that cannot be read");
    std::fs::remove_file(pair.path("cert.pem")).unwrap();
    assert!(pair.fault().starts_with("tls.cert: FOLDER/cert.pem cannot be read: No such file"), "{}", pair.fault());
    // a certificate and its key in one file
    pair.write("cert.pem", &(cert.clone() + &key));
    pair.write("key.pem", &(cert + &key));
    pair.read();
    assert!(Tls::read("tls", &TlsFiles::default()).unwrap().is_none());
}

#[test]
fn a_new_pair_is_taken_when_it_has_come_to_rest_and_a_half_of_one_never() {
    let pair = Pair::new();
    let tls = pair.read();
    assert!(!takes_another(&tls));
    pair.write_both();
    assert!(!takes_another(&tls), "it may still be written to");
    assert!(takes_another(&tls));
    assert!(!takes_another(&tls));

    // one half of the next pair
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    pair.write("cert.pem", &made.cert.pem());
    assert_eq!([0; 3].map(|_| takes_another(&tls)), [false; 3]);
    pair.write("key.pem", &made.signing_key.serialize_pem());
    assert_eq!([0; 3].map(|_| takes_another(&tls)), [false, true, false]);

    // SIGHUP waits for nothing, and a file that is only written anew is no news
    pair.write("key.pem", &made.signing_key.serialize_pem());
    let before = tls.in_force.load_full();
    tls.reload();
    assert!(Arc::ptr_eq(&before, &tls.in_force.load()));
    pair.write_both();
    tls.reload();
    assert!(!Arc::ptr_eq(&before, &tls.in_force.load()));
}

#[test]
fn a_pair_that_is_gone_stays_in_force() {
    let pair = Pair::new();
    let tls = pair.read();
    std::fs::remove_file(pair.path("key.pem")).unwrap();
    assert_eq!([0; 3].map(|_| takes_another(&tls)), [false; 3]);
    assert_eq!(tls.seen.lock().read[1], None, "it was read once, and said to be wrong");
}
