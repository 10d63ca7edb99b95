//! A WebSocket ends when its owner would not be let in any more.

use crate::support::{Rig, accounts, basic, run, run_with, token};
use api::{
    Role,
    native::{Nothing, SettingsChange, StatisticsStream, call},
};
use client::{Client, Error, Login, Subscription, Target};
use serde_json::json;
use std::time::Duration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

type Figures = Subscription<api::native::Statistics>;

async fn subscribe(rig: &Rig, login: Login) -> Result<Figures, Error> {
    let target = Target::parse(&format!("http://{}", rig.addr)).unwrap();
    let client = Client::new(target, login).unwrap();
    let params = StatisticsStream { interval: 100 };
    client.subscribe::<call::Figures>(params).await
}

async fn is_told(figures: &mut Figures) {
    let next = timeout(PATIENCE, figures.next()).await.expect("figures come every moment");
    next.expect("it is open").unwrap();
}

/// Whether messages end; those that were on their way still come.
async fn ends(figures: &mut Figures) {
    let end = async { while let Some(Ok(_)) = figures.next().await {} };
    timeout(PATIENCE, end).await.expect("it ends");
}

fn password(user: &str) -> Login {
    Login::Password { user: user.into(), password: "correct horse".into() }
}

/// Runs a test with users and a token.
fn with_users(test: impl AsyncFnOnce(&Rig, &str, &str)) {
    let kept = std::cell::RefCell::default();
    run_with(
        |_, config_dir| {
            accounts(config_dir, |accounts| {
                for (name, role) in [("ann", Role::User), ("bob", Role::User), ("eve", Role::Admin)]
                {
                    accounts.add_user(name, role, "correct horse", Vec::new()).unwrap();
                }
                let (secret, token) = token(accounts, Role::ReadOnly, &[]);
                kept.replace((secret, token.id));
            });
            basic("eve", "correct horse")
        },
        |rig| async {
            let rig = rig;
            let (secret, id) = kept.take();
            test(&rig, &secret, &id).await;
        },
    );
}

#[test]
fn a_revoked_token_and_a_changed_user_get_no_more_messages() {
    with_users(async |rig, secret, id| {
        let mut script = subscribe(rig, Login::Token(secret.into())).await.unwrap();
        let mut ann = subscribe(rig, password("ann")).await.unwrap();
        let mut bob = subscribe(rig, password("bob")).await.unwrap();
        let mut eve = subscribe(rig, password("eve")).await.unwrap();
        for figures in [&mut script, &mut ann, &mut bob, &mut eve] {
            is_told(figures).await;
        }
        rig.change_accounts(|accounts| accounts.revoke_token(id).unwrap());
        ends(&mut script).await;
        assert!(subscribe(rig, Login::Token(secret.into())).await.is_err());
        is_told(&mut ann).await;
        rig.change_accounts(|accounts| accounts.remove_user("ann").unwrap());
        ends(&mut ann).await;
        assert!(subscribe(rig, password("ann")).await.is_err());
        is_told(&mut bob).await;
        // Another role, though subscribing is still allowed to it: the next one has it.
        rig.change_accounts(|accounts| accounts.user("bob").unwrap().role = Role::ReadOnly);
        ends(&mut bob).await;
        is_told(&mut subscribe(rig, password("bob")).await.unwrap()).await;
        is_told(&mut eve).await;
        let hash = ringseed_server::accounts::hash_password("battery staple").unwrap();
        rig.change_accounts(|accounts| accounts.user("eve").unwrap().password = hash);
        ends(&mut eve).await;
    });
}

#[test]
fn a_change_of_the_file_is_noticed_without_being_told() {
    with_users(async |rig, secret, id| {
        let mut script = subscribe(rig, Login::Token(secret.into())).await.unwrap();
        is_told(&mut script).await;
        // As `ringseed token revoke` does it.
        accounts(&rig.config_dir(), |accounts| accounts.revoke_token(id).unwrap());
        ends(&mut script).await;
    });
}

#[test]
fn a_token_that_ends_ends_its_subscriptions() {
    with_users(async |rig, _, _| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let secret = rig.change_accounts(|accounts| {
            let (secret, _) = token(accounts, Role::User, &[]);
            accounts.tokens.last_mut().unwrap().expires = Some(now.as_secs() + 4);
            secret
        });
        let mut script = subscribe(rig, Login::Token(secret)).await.unwrap();
        ends(&mut script).await;
        let after = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert!(after.as_secs() >= now.as_secs() + 4, "not before its time");
    });
}

#[test]
fn who_came_without_a_log_in_goes_with_the_first_user() {
    run(|rig| async move {
        let mut local = subscribe(&rig, Login::None).await.unwrap();
        is_told(&mut local).await;
        rig.change_accounts(|accounts| {
            accounts.add_user("ann", Role::Admin, "correct horse", Vec::new()).unwrap();
        });
        ends(&mut local).await;
        assert!(matches!(
            subscribe(&rig, Login::None).await,
            Err(Error::Unauthorised { .. } | Error::NotLetIn { .. } | Error::Strange { .. })
        ));
    });
}

#[test]
fn an_address_that_is_taken_off_the_list_is_no_longer_told() {
    run(|rig| async move {
        let mut local = subscribe(&rig, Login::None).await.unwrap();
        is_told(&mut local).await;
        let target = Target::parse(&format!("http://{}", rig.addr)).unwrap();
        let client = Client::new(target, Login::None).unwrap();
        let settings = [("rpc_whitelist".to_owned(), json!("203.0.113.0/24"))];
        let change = SettingsChange { settings: settings.into_iter().collect() };
        client.call::<call::SettingsSet>(change).await.unwrap();
        ends(&mut local).await;
        assert!(client.call::<call::StatisticsGet>(Nothing {}).await.is_err());
    });
}

#[test]
fn calls_over_a_websocket_are_bounded_in_number_as_requests_are() {
    run_with(
        |settings, config_dir| {
            settings.rpc_user_rate_limit = 1;
            accounts(config_dir, |accounts| {
                accounts.add_user("eve", Role::Admin, "correct horse", Vec::new()).unwrap();
            });
            basic("eve", "correct horse")
        },
        |rig| async move {
            // A subscription is one call over a socket of its own. Ten may be made at once.
            let mut refused = None;
            for _ in 0..20 {
                if let Err(error) = subscribe(&rig, password("eve")).await {
                    refused = Some(error);
                    break;
                }
            }
            assert!(refused.is_some(), "as often as they like");
            let json =
                format!("Content-Type: application/json\r\n{}", basic("eve", "correct horse"));
            let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "statistics.get" });
            let batch = serde_json::Value::from(vec![call; 20]).to_string();
            for _ in 0..600 {
                let answer = rig.request("POST", "/rpc/v1", &json, batch.as_bytes()).await;
                if answer.status == 429 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                let answers = answer.value();
                let last = answers.as_array().unwrap().last().unwrap();
                assert_eq!(last["error"]["code"], 7, "{answers}");
                return;
            }
            panic!("it is never let in again");
        },
    );
}
