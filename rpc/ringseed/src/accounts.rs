//! `ringseed user` and `ringseed token`: they edit the file of the daemon's folder, which a running
//! daemon takes over within seconds.

use crate::{
    cli::accounts::{Folder, TokenArgs, TokenCommand, UserArgs, UserCommand},
    config, human, output,
    table::{Align, Table},
};
use anyhow::{Context, bail};
use rustix::termios::{self, LocalModes, OptionalActions};
use serde_json::{Value, json};
use server::accounts::{AccountsFile, NewToken, generate_password, hash_password};
use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

/// `ringseed user`
pub fn user(args: UserArgs) -> anyhow::Result<()> {
    let file = file(&args.folder)?;
    match args.command {
        UserCommand::Add { name, role, folders, generate } => {
            let password = password(generate)?;
            let folders = absolute(folders)?;
            file.edit(|accounts| accounts.add_user(&name, role, &password, folders))?;
            output::print(&format!("added: {name}, role {role}\n"))?;
            tell(generate, &password)
        }
        UserCommand::Remove { name } => {
            file.edit(|accounts| accounts.remove_user(&name))?;
            output::print(&format!("removed: {name}\n"))
        }
        UserCommand::Passwd { name, generate } => {
            // Who mistyped the name is told before the password is asked for.
            file.read()?.user(&name).map_err(anyhow::Error::msg)?;
            let password = password(generate)?;
            let hash = hash_password(&password).map_err(anyhow::Error::msg)?;
            file.edit(|accounts| accounts.user(&name).map(|user| user.password = hash))?;
            output::print(&format!("changed: {name}\n"))?;
            tell(generate, &password)
        }
        UserCommand::Role { name, role } => {
            file.edit(|accounts| accounts.user(&name).map(|user| user.role = role))?;
            output::print(&format!("changed: {name}, role {role}\n"))
        }
        UserCommand::List => list_users(&file, args.folder.json),
    }
}

fn list_users(file: &AccountsFile, as_json: bool) -> anyhow::Result<()> {
    let users = file.read()?.users;
    if as_json {
        let shown = users.iter().map(
            |user| json!({ "name": user.name, "role": user.role.name(), "folders": user.folders }),
        );
        return output::print_json(&shown.collect::<Vec<_>>());
    }
    let mut table =
        Table::new([("NAME", Align::Left), ("ROLE", Align::Left), ("FOLDERS", Align::Left)]);
    for user in users {
        table.push([user.name, user.role.to_string(), folders(&user.folders)]);
    }
    output::print(&table.render())
}

/// `ringseed token`
pub fn token(args: TokenArgs) -> anyhow::Result<()> {
    let file = file(&args.folder)?;
    match args.command {
        TokenCommand::Create { name, role, methods, folders, expires } => {
            if let Some(unknown) = methods.iter().find(|method| !is_method(method)) {
                bail!("there is no method {unknown}: see docs/rpc.md, as torrent_get");
            }
            let folders = absolute(folders)?;
            let new = NewToken { name, role, methods, folders, lifetime: expires };
            let (secret, token) = file.edit(|accounts| accounts.add_token(new, now()))?;
            match args.folder.json {
                true => output::print_json(&json!({ "id": token.id, "token": secret })),
                false => output::print(&format!(
                    "{secret}\n(token {}; it is told only now: send it as `Authorization: Bearer TOKEN`)\n",
                    token.id
                )),
            }
        }
        TokenCommand::Revoke { id } => {
            let token = file.edit(|accounts| accounts.revoke_token(&id))?;
            output::print(&format!("revoked: {id} {}\n", token.name))
        }
        TokenCommand::List => list_tokens(&file, args.folder.json),
    }
}

fn list_tokens(file: &AccountsFile, as_json: bool) -> anyhow::Result<()> {
    let tokens = file.read()?.tokens;
    if as_json {
        let shown = tokens.iter().map(|token| {
            json!({
                "id": token.id, "name": token.name, "role": token.role.name(),
                "methods": token.methods, "folders": token.folders,
                "created": token.created, "expires": token.expires,
            })
        });
        return output::print_json(&shown.collect::<Vec<Value>>());
    }
    let mut table = Table::new([
        ("ID", Align::Left),
        ("NAME", Align::Left),
        ("ROLE", Align::Left),
        ("EXPIRES", Align::Left),
        ("METHODS", Align::Left),
        ("FOLDERS", Align::Left),
    ]);
    for token in tokens {
        let expires = match token.expires.map(|expires| expires.saturating_sub(now())) {
            None => "never".to_owned(),
            Some(0) => "expired".to_owned(),
            Some(left) => format!("in {}", human::duration(left as i64)),
        };
        let methods = if token.methods.is_empty() { "all".into() } else { token.methods.join(",") };
        let folders = folders(&token.folders);
        table.push([token.id, token.name, token.role.to_string(), expires, methods, folders]);
    }
    output::print(&table.render())
}

fn is_method(name: &str) -> bool {
    api::method::TABLE.iter().any(|method| method.name == name) || api::native::row(name).is_some()
}

fn file(folder: &Folder) -> anyhow::Result<AccountsFile> {
    let dir = match &folder.config_dir {
        Some(dir) => std::path::absolute(dir)?,
        None => config::default_dir()?,
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(AccountsFile::in_folder(&dir))
}

fn folders(folders: &[PathBuf]) -> String {
    match folders.is_empty() {
        true => "all".to_owned(),
        false => folders.iter().map(|dir| dir.to_string_lossy()).collect::<Vec<_>>().join(","),
    }
}

fn absolute(folders: Vec<PathBuf>) -> anyhow::Result<Vec<PathBuf>> {
    Ok(folders.iter().map(std::path::absolute).collect::<Result<_, _>>()?)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

fn tell(generated: bool, password: &str) -> anyhow::Result<()> {
    match generated {
        true => output::print(&format!("password: {password}\n")),
        false => Ok(()),
    }
}

/// A password: made up, asked for on a terminal, or the first line of stdin.
fn password(generate: bool) -> anyhow::Result<String> {
    if generate {
        return Ok(generate_password());
    }
    if io::stdin().is_terminal() {
        let first = ask("Password: ")?;
        return match ask("Once more: ")? == first {
            true => Ok(first),
            false => bail!("the passwords differ"),
        };
    }
    line()
}

/// Asks on the terminal without showing what is typed.
fn ask(question: &str) -> anyhow::Result<String> {
    let stdin = io::stdin();
    let before = termios::tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    // Before the question: what a quick typist or a program answers is neither shown nor lost.
    termios::tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
    eprint!("{question}");
    let typed = io::stderr().flush().map_err(Into::into).and_then(|()| line());
    termios::tcsetattr(&stdin, OptionalActions::Flush, &before)?;
    eprintln!();
    typed
}

fn line() -> anyhow::Result<String> {
    let mut line = String::new();
    // More than any password has.
    io::stdin().lock().take(4096).read_line(&mut line).context("cannot read the password")?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}
