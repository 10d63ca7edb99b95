//! `ringseed top`: torrents in the terminal, as the daemon pushes their changes.

mod draw;
mod model;

use super::{columns, connect};
use crate::{cli::TopArgs, process};
use anyhow::{Context, bail};
use api::native::{Selection, Several, Start, TorrentRef, TorrentStream, call};
use client::{Client, Error};
use model::{Action, Model};
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event},
};
use std::{
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;

pub fn top(args: TopArgs) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        bail!("top needs a terminal: `ringseed list` prints the same once");
    }
    process::block_on(async {
        let client = connect(&args.connection)?;
        // Before the screen is taken, so that an error is told where it can be read.
        let changes = subscribe(&client, args.interval).await?;
        let terminal = ratatui::try_init().context("cannot use the terminal")?;
        let done = run(terminal, &client, changes, &args).await;
        ratatui::restore();
        done
    })
}

type Changes = client::Subscription<api::native::Changes>;

async fn subscribe(client: &Client, interval: u32) -> Result<Changes, Error> {
    let params = TorrentStream { fields: Some(columns::FIELDS.to_vec()), interval };
    client.subscribe::<call::Torrents>(params).await
}

async fn run(
    mut terminal: DefaultTerminal,
    client: &Client,
    mut changes: Changes,
    args: &TopArgs,
) -> anyhow::Result<()> {
    let mut model = Model::new(args.sort, client.target().to_string());
    let mut input = Input::start();
    loop {
        terminal.draw(|frame| draw::draw(frame, &mut model)).context("cannot draw")?;
        tokio::select! {
            message = changes.next() => match message {
                Some(Ok(message)) => model.apply(message),
                // This terminal was stopped for a while: it begins anew.
                Some(Err(Error::Behind)) => changes = subscribe(client, args.interval).await?,
                Some(Err(error)) => return Err(error.into()),
                None => bail!("the daemon has closed the connection"),
            },
            event = input.events.recv() => match event {
                Some(event) => match model.on_event(&event) {
                    Action::None => {}
                    Action::Quit => return Ok(()),
                    action => model.note = order(client, action).await,
                },
                None => bail!("the terminal is gone"),
            },
        }
    }
}

/// Gives an order; what went wrong, if anything, is shown.
async fn order(client: &Client, action: Action) -> Option<String> {
    let several = |id| Several { torrents: Selection::These(vec![TorrentRef::Id(id)]) };
    let done = match action {
        Action::Start(id) => {
            let params = Start { torrents: several(id).torrents, now: false };
            client.call::<call::TorrentStart>(params).await
        }
        Action::Stop(id) => client.call::<call::TorrentStop>(several(id)).await,
        Action::Verify(id) => client.call::<call::TorrentVerify>(several(id)).await,
        Action::None | Action::Quit => return None,
    };
    done.err().map(|error| error.to_string())
}

/// What comes from the terminal, read by a thread: there is no other way that works everywhere.
struct Input {
    events: mpsc::Receiver<Event>,
    ended: Arc<AtomicBool>,
}

/// How often the thread looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(200);

impl Input {
    fn start() -> Input {
        let (events_in, events) = mpsc::channel(64);
        let ended = Arc::new(AtomicBool::new(false));
        let is_ended = Arc::clone(&ended);
        std::thread::spawn(move || {
            while !is_ended.load(Ordering::Relaxed) {
                let event = match event::poll(LOOK) {
                    Ok(false) => continue,
                    Ok(true) => event::read(),
                    Err(error) => Err(error),
                };
                let Ok(event) = event else { return };
                if events_in.blocking_send(event).is_err() {
                    return;
                }
            }
        });
        Input { events, ended }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}
