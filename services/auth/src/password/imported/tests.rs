use super::*;

/// Strings of `correct horse`, made with libxcrypt and Python's hashlib, and some that others have published.
const RIGHT: &[(&str, &str)] = &[
    ("correct horse", "$1$deadbeef$dedjvjO4ZAEydph55Edcn/"),
    ("pässwort", "$1$ab$whTyd6SHXuOaipc9zdcev."),
    ("", "$1$ab$rn6aQS/o7141mj179E/zA."),
    ("password", "$1$xxxxxxxx$UYCIxa628.9qXjpQCjM4a."),
    ("correct horse", "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"),
    ("correct horse", "$2a$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"),
    ("correct horse", "$2y$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"),
    // The last character of the salt has four bits to spare.
    ("correct horse", "$2y$04$abcdefghijklmnopqrstuvjydOTSfIH/d5oUHpsygqV5X9xJLQc6e"),
    ("", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
    ("correct horse", "$5$saltstring$vc6YOOogU4kWVvwga8e9zTFgKcy4tb5LaPxIiPJzqEC"),
    ("Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
    ("Hello world!", "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"),
    (
        "correct horse",
        "$6$rounds=1000$saltstring$YiR6NSM0LQXmu7vAhkMXfkdYk7qtFouVx1Mdr3HmzXspT8kONjlpU3CsV7ezCB62uXJoAdaagsH4ck7/tB9js.",
    ),
    (
        "Hello world!",
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    ),
    (
        "correct horse",
        "$scrypt$ln=4,r=8,p=2$c29tZXNhbHRzb21lc2FsdA$xZYsWqaW4rFSqhCsd1saCrvdYz3uVCKCTxjl4RP0Veg",
    ),
    // RFC 7914, section 12.
    (
        "password",
        "$scrypt$ln=10,r=8,p=16$TmFDbA$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/xCSedmDDaxyevuUqD7m2DYMvfoswGQA",
    ),
    (
        "correct horse",
        "$pbkdf2-sha256$i=1000,l=32$c29tZXNhbHRzb21lc2FsdA$f2yJk+Dph1FxQ+yhQ5KLmg1c5wfFtFU14dLQONYBoAE",
    ),
    (
        "correct horse",
        "$pbkdf2-sha256$i=1000$c29tZXNhbHRzb21lc2FsdA$f2yJk+Dph1FxQ+yhQ5KLmg1c5wfFtFU14dLQONYBoAE",
    ),
    (
        "correct horse",
        "$pbkdf2-sha256$1000$c29tZXNhbHRzb21lc2FsdA$f2yJk.Dph1FxQ.yhQ5KLmg1c5wfFtFU14dLQONYBoAE",
    ),
    (
        "correct horse",
        "$pbkdf2-sha512$1000$c29tZXNhbHRzb21lc2FsdA$RbkohYpABhrVf6dAjV1mgswjeaDcEw/Z9Lqqoc7ZO6eeqGc4EIBheeCgNOsc3H1ATsxkis9nQ04P4KAKB0FMcA",
    ),
    ("correct horse", "pbkdf2_sha256$1000$seasalt$mQnueSakb748zqBAC1tmWVZsZbi2zPGZarEzTGdfmso="),
    // From the test suite of Argon2's reference implementation, src/test.c; the first is of version 0x10.
    ("password", "$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY"),
    ("password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"),
];

#[test]
fn each_scheme_finds_the_password_right_and_others_wrong() {
    for (password, crypt) in RIGHT {
        assert_eq!(matches(password.as_bytes(), crypt), Some(true), "{crypt}");
        for wrong in [format!("{password} "), format!("x{password}"), password.to_uppercase() + "!"] {
            assert_eq!(matches(wrong.as_bytes(), crypt), Some(false), "{wrong:?} {crypt}");
        }
    }
}

#[test]
fn long_passwords_count_as_the_schemes_have_it() {
    let long = "x".repeat(100);
    assert_eq!(matches(long.as_bytes(), "$1$abcdefgh$ax3Kvr/hbxTbyc0QiTLcg/"), Some(true));
    let bcrypt = "$2b$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i";
    for length in [72, 80, 1024] {
        assert_eq!(matches("x".repeat(length).as_bytes(), bcrypt), Some(true), "{length}");
    }
    assert_eq!(matches("x".repeat(71).as_bytes(), bcrypt), Some(false));
}

#[test]
fn what_would_cost_too_much_is_not_computed() {
    for crypt in [
        "$argon2id$v=19$m=1048577,t=1,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=256,t=4294967295,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2d$v=19$m=4294967295,t=4294967295,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$2b$17$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$2b$31$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$scrypt$ln=19,r=8,p=1$c29tZXNhbHRzb21lc2FsdA$xZYsWqaW4rFSqhCsd1saCrvdYz3uVCKCTxjl4RP0Veg",
        "$scrypt$ln=4,r=8,p=1000000$c29tZXNhbHRzb21lc2FsdA$xZYsWqaW4rFSqhCsd1saCrvdYz3uVCKCTxjl4RP0Veg",
        "$scrypt$ln=63,r=4294967295,p=4294967295$c29tZXNhbHRzb21lc2FsdA$xZYsWqaW4rFSqhCsd1saCrvdYz3uVCKCTxjl4RP0Veg",
        "$scrypt$ln=64,r=8,p=1$c29tZXNhbHRzb21lc2FsdA$xZYsWqaW4rFSqhCsd1saCrvdYz3uVCKCTxjl4RP0Veg",
        "$pbkdf2-sha256$10000001$c29tZXNhbHRzb21lc2FsdA$f2yJk.Dph1FxQ.yhQ5KLmg1c5wfFtFU14dLQONYBoAE",
        "pbkdf2_sha256$4294967295$seasalt$mQnueSakb748zqBAC1tmWVZsZbi2zPGZarEzTGdfmso=",
        "$5$rounds=5000001$saltstring$vc6YOOogU4kWVvwga8e9zTFgKcy4tb5LaPxIiPJzqEC",
        "$6$rounds=999999999$saltstring$vc6YOOogU4kWVvwga8e9zTFgKcy4tb5LaPxIiPJzqEC",
    ] {
        assert_eq!(matches(b"correct horse", crypt), None, "{crypt}");
    }
    let long = format!("$pbkdf2-sha256$1$c29tZXNhbHQ${}", "A".repeat(900));
    assert_eq!(matches(b"correct horse", &long), None);
}

#[test]
fn what_cannot_be_read_matches_nothing() {
    for crypt in [
        "",
        "$",
        "$$",
        "correct horse",
        "$2x$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$2b$4$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$2b$03$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$2b$+4$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6",
        "$2b$04$äbcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e",
        "$2b$04$",
        "$7$C6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D",
        "$y$j9T$salt$hash",
        "$sha1$1000$salt$hash",
        "$argon2id$",
        "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ",
        "$argon2id$v=19$m=0,t=0,p=0$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$scrypt$ln=0,r=8,p=1$c29tZXNhbHQ$xZYs",
        "$scrypt$ln=4,r=8$c29tZXNhbHQ$xZYs",
        "$scrypt$ln=4,r=8,p=1,x=1$c29tZXNhbHQ$xZYs",
        "$scrypt$ln=4,r=8,p=1$c29tZXNhbHQ$",
        "$pbkdf2-sha256$0$c29tZXNhbHQ$f2yJ",
        "$pbkdf2-sha256$1$c29tZXNhbHQ$",
        "$pbkdf2-sha256$i=1,l=x$c29tZXNhbHQ$f2yJ",
        "$pbkdf2-sha256$1$c29tZXNhbHQ$f2yJ$f2yJ",
        "pbkdf2_sha1$1$seasalt$f2yJ",
        "$pbkdf2_sha256$1$seasalt$f2yJ",
        "$5$",
        "$5$salt",
        "$5$rounds=1000",
        "$5$rounds=999$salt$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "$5$sält$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        "$6$salt$",
        "$6$salt$5B8v$5B8v",
        "$1$",
        "$1$salt",
        "$1$salt$",
        "$1$äöüäö$dedjvjO4ZAEydph55Edcn/$",
    ] {
        for password in ["", "correct horse"] {
            assert_ne!(matches(password.as_bytes(), crypt), Some(true), "{password:?} {crypt}");
        }
    }
}
