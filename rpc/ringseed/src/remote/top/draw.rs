//! The picture of `ringseed top`.

use super::{columns, model::Model};
use crate::{cli::TopSort, human};
use api::native::{State, Torrent};
use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout},
    style::{Modifier, Style},
    text::Line,
    widgets::{Cell, Paragraph, Row, Table},
};

pub(super) fn draw(frame: &mut Frame, model: &mut Model) {
    let areas =
        Layout::vertical([Constraint::Length(2), Constraint::Min(2), Constraint::Length(1)]);
    let [head, body, foot] = areas.areas(frame.area());
    frame.render_widget(Paragraph::new(totals(model)), head);
    model.page = usize::from(body.height.saturating_sub(1)).max(1);
    frame.render_widget(table(model), body);
    frame.render_widget(Paragraph::new(footer(model)), foot);
}

fn totals(model: &Model) -> Vec<Line<'static>> {
    let sum = |of: fn(&Torrent) -> Option<u64>| model.torrents.values().filter_map(of).sum::<u64>();
    let count = |state| model.torrents.values().filter(|t| t.state == Some(state)).count();
    let peers = sum(|torrent| torrent.peers.map(u64::from));
    let errors = model.torrents.values().filter(|t| matches!(t.error, Some(Some(_)))).count();
    let rates = format!(
        "ringseed at {}   down {}   up {}   {peers} peers",
        human::plain(&model.at),
        human::rate(sum(|torrent| torrent.download_rate)),
        human::rate(sum(|torrent| torrent.upload_rate)),
    );
    let torrents = format!(
        "{} torrents: {} downloading, {} seeding, {} verifying, {} stopped, {errors} with errors",
        model.torrents.len(),
        count(State::Downloading),
        count(State::Seeding),
        count(State::Verifying) + count(State::QueuedToVerify),
        count(State::Stopped),
    );
    vec![Line::styled(rates, Style::new().add_modifier(Modifier::BOLD)), Line::raw(torrents)]
}

/// The columns: title, what it is sorted by, width.
const COLUMNS: [(&str, Option<TopSort>, Constraint); 10] = [
    ("ID", Some(TopSort::Id), Constraint::Length(6)),
    ("STATUS", None, Constraint::Length(16)),
    ("DONE", Some(TopSort::Progress), Constraint::Length(7)),
    ("SIZE", Some(TopSort::Size), Constraint::Length(9)),
    ("DOWN", Some(TopSort::Down), Constraint::Length(11)),
    ("UP", Some(TopSort::Up), Constraint::Length(11)),
    ("RATIO", Some(TopSort::Ratio), Constraint::Length(7)),
    ("PEERS", Some(TopSort::Peers), Constraint::Length(6)),
    ("ETA", None, Constraint::Length(7)),
    ("NAME", Some(TopSort::Name), Constraint::Min(10)),
];

fn table(model: &Model) -> Table<'static> {
    let rows = model.rows();
    let selected = model.selected.and_then(|id| rows.iter().position(|row| row.id == id));
    // The page that the selected row is on.
    let first = selected.map_or(0, |at| at / model.page * model.page);
    let rows = rows.iter().skip(first).take(model.page).map(|torrent| {
        let style = match model.selected == Some(torrent.id) {
            true => Style::new().add_modifier(Modifier::REVERSED),
            false => Style::new(),
        };
        row(torrent).style(style)
    });
    let title = |&(title, sort, _): &(&'static str, Option<TopSort>, Constraint)| match sort
        == Some(model.sort)
    {
        true => Cell::from(format!("{title}{}", if model.reversed { '^' } else { 'v' })),
        false => Cell::from(title),
    };
    let header = Row::new(COLUMNS.iter().map(title).collect::<Vec<_>>());
    Table::new(rows.collect::<Vec<_>>(), COLUMNS.map(|(_, _, width)| width))
        .header(header.style(Style::new().add_modifier(Modifier::BOLD)))
}

fn row(torrent: &Torrent) -> Row<'static> {
    let right = |text: String| Cell::from(Line::raw(text).alignment(Alignment::Right));
    Row::new([
        right(torrent.id.to_string()),
        Cell::from(columns::status(torrent)),
        right(columns::done(torrent)),
        right(columns::size(torrent)),
        right(columns::down(torrent)),
        right(columns::up(torrent)),
        right(columns::ratio(torrent)),
        right(columns::peers(torrent)),
        right(columns::eta(torrent)),
        Cell::from(human::plain(&columns::name(torrent))),
    ])
}

fn footer(model: &Model) -> Line<'static> {
    if let Some(note) = &model.note {
        return Line::styled(human::plain(note), Style::new().add_modifier(Modifier::BOLD));
    }
    if model.typing {
        return Line::raw(format!("name like: {}_", human::plain(&model.filter)));
    }
    let filter = match model.filter.is_empty() {
        true => String::new(),
        false => format!("  [name like {}]", human::plain(&model.filter)),
    };
    Line::raw(format!(
        "q quit  o sort  r reverse  / filter  up/down select  s start  x stop  v verify{filter}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::{Terminal, backend::TestBackend};

    fn picture(model: &mut Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>();
        (0..height).map(|y| line(y).trim_end().to_owned() + "\n").collect()
    }

    #[test]
    fn the_picture_has_totals_rows_in_order_and_keys() {
        let mut model = super::super::model::tests::model();
        let shown = picture(&mut model, 110, 8);
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[0].contains("up 19 B/s") && lines[0].contains("10 peers"), "{shown}");
        assert!(lines[1].starts_with("3 torrents: 0 downloading, 3 seeding"), "{shown}");
        assert!(lines[2].contains("UPv"), "{shown}");
        let names = ["Alpha", "beta", "gamma"];
        assert!((3..6).zip(names).all(|(at, name)| lines[at].ends_with(name)), "{shown}");
        assert!(lines[7].starts_with("q quit"), "{shown}");
    }

    #[test]
    fn a_small_screen_shows_the_page_of_the_selected_row() {
        let mut model = super::super::model::tests::model();
        model.selected = Some(3);
        model.note = Some("no\x1b[2J".into());
        let shown = picture(&mut model, 110, 5);
        assert!(shown.contains("gamma") && !shown.contains("Alpha"), "{shown}");
        assert!(shown.contains("no?[2J"), "{shown}");
        // Whatever the size, nothing breaks.
        picture(&mut model, 1, 1);
    }
}
