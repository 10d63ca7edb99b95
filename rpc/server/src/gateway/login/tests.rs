use super::*;
use crate::accounts::NewToken;
use api::Role;
use std::{collections::BTreeSet, path::PathBuf, task::Poll};

const GUESSER: &str = "203.0.113.1";
const OTHER: &str = "203.0.113.2";

struct House {
    _folder: tempfile::TempDir,
    file: AccountsFile,
    login: Login,
}

fn house(fill: impl FnOnce(&mut Accounts)) -> House {
    let folder = tempfile::tempdir().unwrap();
    let file = AccountsFile::in_folder(folder.path());
    file.edit(|accounts| {
        fill(accounts);
        Ok(())
    })
    .unwrap();
    let login = Login::open(file.clone()).unwrap();
    House { _folder: folder, file, login }
}

fn with_ann() -> House {
    house(|accounts| {
        accounts.add_user("ann", Role::User, "correct horse", vec!["/data".into()]).unwrap();
    })
}

fn peer(ip: &str) -> Peer {
    Peer::of(ip.parse().unwrap())
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()))
}

impl House {
    async fn ask(&self, from: &str, authorization: &str) -> Result<Caller, Refusal> {
        let mut headers = HeaderMap::new();
        if !authorization.is_empty() {
            headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        }
        self.login.identify(peer(from), &headers, Some(3)).await
    }
}

#[test]
fn the_hash_that_stands_for_nobody_costs_what_others_do() {
    let hash = crate::accounts::hash_password("whatever else").unwrap();
    let params = |hash: &str| hash.rsplitn(3, '$').nth(2).unwrap().to_owned();
    assert_eq!(params(NOBODY), params(&hash));
    let accounts = r#"{"users":[{"name":"x","role":"user","password":"HASH"}]}"#;
    let accounts: Accounts = serde_json::from_str(&accounts.replace("HASH", NOBODY)).unwrap();
    accounts.check().unwrap();
}

#[tokio::test]
async fn without_users_this_machine_is_let_in_and_no_other() {
    let house = house(|_| {});
    assert!(!house.login.is_asked_for());
    for ip in ["127.0.0.1", "::1", "127.9.9.9", "::ffff:127.0.0.1"] {
        // A header that means nothing does no harm.
        let caller = house.ask(ip, &basic("a", "b")).await.unwrap();
        assert_eq!((&*caller.who, caller.role), ("local", Role::Admin));
    }
    assert_eq!(house.ask(OTHER, &basic("a", "b")).await, Err(Refusal::NobodyYet));
}

#[tokio::test]
async fn a_password_lets_its_user_in_from_everywhere_and_a_unix_socket_needs_none() {
    let house = with_ann();
    for ip in ["127.0.0.1", OTHER] {
        assert_eq!(house.ask(ip, "").await, Err(Refusal::Unknown));
        for scheme in ["Basic", "basic", "BASIC"] {
            let header = basic("ann", "correct horse").replacen("Basic", scheme, 1);
            let caller = house.ask(ip, &header).await.unwrap();
            assert_eq!((&*caller.who, caller.role, caller.peer), ("ann", Role::User, peer(ip)));
            assert_eq!(*caller.folders, [PathBuf::from("/data")]);
        }
    }
    let unix = house.login.identify(Peer::Unix, &HeaderMap::new(), Some(3)).await.unwrap();
    assert_eq!(unix.role, Role::Admin);
}

#[tokio::test]
async fn what_is_no_log_in_is_refused() {
    let house = with_ann();
    for header in [
        "Basic",
        "Basic !",
        "Basic YW5u",
        "Digest x",
        "Bearer",
        "Bearer rs_x",
        &basic("ann", ""),
        &basic("bob", "correct horse"),
        &basic("", "correct horse"),
        &format!("Basic {}", "QUFB".repeat(2000)),
    ] {
        // No threshold: what is asked here is whether each is refused for itself.
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, header.parse().unwrap());
        let refused = house.login.identify(peer(OTHER), &headers, None).await;
        assert_eq!(refused, Err(Refusal::Unknown), "{header}");
    }
}

#[tokio::test]
async fn tokens_carry_their_role_scope_and_end() {
    let mut secrets = Vec::new();
    let house = house(|accounts| {
        let new = |methods: &[&str], lifetime| NewToken {
            name: "script".into(),
            role: Role::ReadOnly,
            methods: methods.iter().map(|&method| method.to_owned()).collect(),
            folders: Vec::new(),
            lifetime,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        secrets.push(accounts.add_token(new(&[], None), now).unwrap());
        secrets.push(accounts.add_token(new(&["torrent_get"], Some(3600)), now).unwrap());
        secrets.push(accounts.add_token(new(&[], Some(10)), now - 11).unwrap());
    });
    let bearer = |at: usize| format!("Bearer {}", secrets[at].0);
    let caller = house.ask(OTHER, &bearer(0)).await.unwrap();
    assert_eq!((&*caller.who, caller.role, caller.methods), ("token:script", Role::ReadOnly, None));
    let scoped = house.ask(OTHER, &bearer(1)).await.unwrap();
    assert_eq!(scoped.methods.as_deref(), Some(&["torrent_get".to_owned()][..]));
    assert_eq!(house.ask(OTHER, &bearer(2)).await, Err(Refusal::Unknown));
    // For clients that know Basic only.
    assert!(house.ask(OTHER, &basic("whoever", &secrets[0].0)).await.is_ok());
    house.file.edit(|accounts| accounts.revoke_token(&secrets[0].1.id)).unwrap();
    house.login.reload().unwrap();
    assert_eq!(house.ask(OTHER, &bearer(0)).await, Err(Refusal::Unknown));
}

#[tokio::test]
async fn a_flood_of_wrong_log_ins_slows_its_address_and_no_other() {
    let house = with_ann();
    let right = basic("ann", "correct horse");
    // Known from here before the flood, and so not verified during it.
    house.ask(GUESSER, &right).await.unwrap();
    let mut answers = BTreeSet::new();
    for guess in 0..50 {
        let refused = house.ask(GUESSER, &basic("ann", &guess.to_string())).await.unwrap_err();
        answers.insert(matches!(refused, Refusal::Slowed(_)));
    }
    assert_eq!(answers, BTreeSet::from([false, true]));
    assert!(matches!(house.ask(GUESSER, "Bearer rs_x").await, Err(Refusal::Slowed(_))));
    assert!(house.ask(OTHER, &right).await.is_ok());
    assert!(house.ask(GUESSER, &right).await.is_ok());
    // Nor can somebody there, whose log-in nobody remembers, find out whether a guess is right.
    (0..50).for_each(|_| {
        lock(&house.login.failures).failed(GUESSER.parse().unwrap(), None, 3, Instant::now())
    });
    lock(&house.login.remembered).clear();
    assert!(matches!(house.ask(GUESSER, &right).await, Err(Refusal::Slowed(_))));
}

#[tokio::test]
async fn a_log_in_is_verified_once_however_many_ask_and_forgotten_when_it_changes() {
    let house = with_ann();
    let right = basic("ann", "correct horse");
    let start = Instant::now();
    house.ask(OTHER, &right).await.unwrap();
    let verified = start.elapsed();
    let start = Instant::now();
    for _ in 0..1000 {
        house.ask(OTHER, &right).await.unwrap();
    }
    assert!(start.elapsed() / 1000 < verified / 10, "{:?} of {verified:?}", start.elapsed() / 1000);
    let new = crate::accounts::hash_password("battery staple").unwrap();
    house.file.edit(|accounts| accounts.user("ann").map(|user| user.password = new)).unwrap();
    house.login.reload().unwrap();
    assert_eq!(house.ask(OTHER, &right).await, Err(Refusal::Unknown));
    assert!(house.ask(OTHER, &basic("ann", "battery staple")).await.is_ok());
}

#[tokio::test]
async fn the_line_for_verification_is_short_for_each_address() {
    let house = with_ann();
    let guesser = throttle::key(peer(GUESSER));
    let places: Vec<_> =
        (0..limits::WAITING_PER_ADDRESS).map(|_| house.login.line_up(guesser).unwrap()).collect();
    assert!(house.login.line_up(guesser).is_err());
    assert!(house.login.line_up(throttle::key(peer(OTHER))).is_ok());
    drop(places);
    assert!(lock(&house.login.waiting).is_empty());
}

#[tokio::test]
async fn accounts_that_cannot_be_read_leave_the_old_ones_in_force() {
    let house = with_ann();
    std::fs::write(house.file.path(), "{").unwrap();
    assert!(house.login.reload().is_err());
    assert!(house.ask(OTHER, &basic("ann", "correct horse")).await.is_ok());
}

#[tokio::test]
async fn who_hangs_up_while_a_guess_is_verified_has_guessed() {
    let house = with_ann();
    let start = Instant::now();
    for guess in 0..3 {
        let guess = basic("ann", &guess.to_string());
        let mut ask = std::pin::pin!(house.ask(GUESSER, &guess));
        // Polled until it waits for the verification, and dropped at the end of the round.
        let is_waiting =
            std::future::poll_fn(|context| Poll::Ready(ask.as_mut().poll(context).is_pending()));
        assert!(is_waiting.await, "a verification takes a while");
        while Arc::strong_count(&house.login.failures) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert!(lock(&house.login.failures).wait(GUESSER.parse().unwrap(), start).is_some());
    assert_eq!(house.login.verifying.available_permits(), limits::VERIFYING);
}

#[tokio::test]
async fn who_was_let_in_holds_until_the_account_changes() {
    let mut tokens = Vec::new();
    let house = house(|accounts| {
        accounts.add_user("ann", Role::User, "correct horse", vec!["/data".into()]).unwrap();
        accounts.add_user("bob", Role::Admin, "battery staple", Vec::new()).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        for lifetime in [None, Some(3600)] {
            let (name, role) = ("script".into(), Role::ReadOnly);
            let (methods, folders) = (Vec::new(), Vec::new());
            let new = NewToken { name, role, methods, folders, lifetime };
            tokens.push(accounts.add_token(new, now).unwrap());
        }
    });
    let ann = house.ask(OTHER, &basic("ann", "correct horse")).await.unwrap();
    let bob = house.ask(OTHER, &basic("bob", "battery staple")).await.unwrap();
    let script = house.ask(OTHER, &format!("Bearer {}", tokens[0].0)).await.unwrap();
    let ending = house.ask(OTHER, &format!("Bearer {}", tokens[1].0)).await.unwrap();
    let unix = Caller::local(Peer::Unix);
    let all = [&ann, &bob, &script, &ending, &unix];
    let hold = || all.map(|caller| house.login.still_holds(caller));
    let change = |change: &dyn Fn(&mut Accounts)| {
        let changed = house.file.edit(|accounts| {
            change(accounts);
            Ok(())
        });
        changed.unwrap();
        house.login.reload().unwrap();
    };
    assert_eq!(hold(), [true; 5]);
    assert!(!house.login.still_holds(&Caller::local(peer("127.0.0.1"))), "there are users");
    change(&|accounts| accounts.user("ann").unwrap().folders.clear());
    assert_eq!(hold(), [false, true, true, true, true]);
    change(&|accounts| accounts.user("ann").unwrap().folders.push("/data".into()));
    assert_eq!(hold(), [true; 5], "it is again what it was");
    change(&|accounts| accounts.user("bob").unwrap().role = Role::User);
    change(&|accounts| accounts.tokens[1].expires = Some(1));
    assert_eq!(hold(), [true, false, true, false, true]);
    let hash = crate::accounts::hash_password("correct horse").unwrap();
    change(&|accounts| accounts.user("ann").unwrap().password.clone_from(&hash));
    change(&|accounts| drop(accounts.revoke_token(&tokens[0].1.id).unwrap()));
    assert_eq!(hold(), [false, false, false, false, true]);
}

#[tokio::test]
async fn a_file_that_has_gone_lets_nobody_in_who_was_not() {
    let house = with_ann();
    std::fs::remove_file(house.file.path()).unwrap();
    assert!(house.login.reload().is_err());
    assert_eq!(house.ask("127.0.0.1", "").await, Err(Refusal::Unknown));
    assert!(house.ask(OTHER, &basic("ann", "correct horse")).await.is_ok());
    // Without a file from the beginning there is nobody.
    let house = self::house(|_| {});
    std::fs::remove_file(house.file.path()).unwrap();
    house.login.reload().unwrap();
}
