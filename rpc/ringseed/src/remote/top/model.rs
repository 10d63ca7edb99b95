//! What `ringseed top` knows and shows, without a terminal.

use crate::cli::TopSort;
use api::native::{Changes, Torrent, name_is_like};
use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use std::{cmp::Ordering, collections::BTreeMap};

/// The state of the view.
pub(super) struct Model {
    pub(super) torrents: BTreeMap<u32, Torrent>,
    /// Where the daemon is.
    pub(super) at: String,
    pub(super) sort: TopSort,
    pub(super) reversed: bool,
    /// Only names like this are shown; empty for all.
    pub(super) filter: String,
    /// The filter is being typed.
    pub(super) typing: bool,
    /// The torrent that keys are about.
    pub(super) selected: Option<u32>,
    /// The last thing that went wrong.
    pub(super) note: Option<String>,
    /// Rows that fit, as drawn last.
    pub(super) page: usize,
}

/// What a key asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    None,
    Quit,
    Start(u32),
    Stop(u32),
    Verify(u32),
}

impl Model {
    pub(super) fn new(sort: TopSort, at: String) -> Model {
        Model {
            torrents: BTreeMap::new(),
            at,
            sort,
            reversed: false,
            filter: String::new(),
            typing: false,
            selected: None,
            note: None,
            page: 1,
        }
    }

    pub(super) fn apply(&mut self, changes: Changes) {
        changes.apply(&mut self.torrents);
        if self.selected.is_some_and(|id| !self.torrents.contains_key(&id)) {
            self.selected = None;
        }
    }

    /// The torrents shown, in their order.
    pub(super) fn rows(&self) -> Vec<&Torrent> {
        let is_shown = |torrent: &&Torrent| {
            let name = torrent.name.as_deref().unwrap_or_default();
            self.filter.is_empty() || name_is_like(name, &self.filter)
        };
        let mut rows: Vec<&Torrent> = self.torrents.values().filter(is_shown).collect();
        rows.sort_by(|one, other| {
            let order = compare(self.sort, one, other);
            if self.reversed { order.reverse() } else { order }
        });
        rows
    }

    pub(super) fn on_event(&mut self, event: &Event) -> Action {
        let Event::Key(key) = event else { return Action::None };
        if key.kind == KeyEventKind::Release {
            return Action::None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Action::Quit;
        }
        self.note = None;
        if self.typing {
            self.on_typed(key.code);
            return Action::None;
        }
        let order = |action: fn(u32) -> Action| self.selected.map_or(Action::None, action);
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Action::Quit,
            KeyCode::Char('s') => return order(Action::Start),
            KeyCode::Char('x') => return order(Action::Stop),
            KeyCode::Char('v') => return order(Action::Verify),
            KeyCode::Char('o') => self.sort = next(self.sort),
            KeyCode::Char('r') => self.reversed = !self.reversed,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Down | KeyCode::Char('j') => self.select(1),
            KeyCode::Up | KeyCode::Char('k') => self.select(-1),
            KeyCode::PageDown => self.select(self.page as isize),
            KeyCode::PageUp => self.select(-(self.page as isize)),
            KeyCode::Home => self.select(isize::MIN),
            KeyCode::End => self.select(isize::MAX),
            _ => {}
        }
        Action::None
    }

    fn on_typed(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.filter.clear();
                self.typing = false;
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(c) => self.filter.push(c),
            _ => {}
        }
    }

    /// Selects a row so many further down.
    fn select(&mut self, by: isize) {
        let ids: Vec<u32> = self.rows().iter().map(|torrent| torrent.id).collect();
        let Some(last) = ids.len().checked_sub(1) else { return };
        let now = self.selected.and_then(|id| ids.iter().position(|other| *other == id));
        let row = match now {
            Some(now) => (now as isize).saturating_add(by).clamp(0, last as isize) as usize,
            None if by == isize::MAX => last,
            None => 0,
        };
        self.selected = Some(ids[row]);
    }
}

/// The orders in which `o` goes through them.
const SORTS: [TopSort; 8] = [
    TopSort::Id,
    TopSort::Name,
    TopSort::Down,
    TopSort::Up,
    TopSort::Progress,
    TopSort::Ratio,
    TopSort::Size,
    TopSort::Peers,
];

fn next(sort: TopSort) -> TopSort {
    let at = SORTS.iter().position(|other| *other == sort).unwrap_or(0);
    SORTS[(at + 1) % SORTS.len()]
}

/// Names and ids upwards, figures downwards; equals by id.
fn compare(sort: TopSort, one: &Torrent, other: &Torrent) -> Ordering {
    let most = |of: fn(&Torrent) -> Option<u64>| of(other).cmp(&of(one));
    let share = |of: fn(&Torrent) -> Option<f64>| {
        of(other).partial_cmp(&of(one)).unwrap_or(Ordering::Equal)
    };
    let name = |torrent: &Torrent| torrent.name.as_deref().unwrap_or_default().to_lowercase();
    let order = match sort {
        TopSort::Id => Ordering::Equal,
        TopSort::Name => name(one).cmp(&name(other)),
        TopSort::Down => most(|torrent| torrent.download_rate),
        TopSort::Up => most(|torrent| torrent.upload_rate),
        TopSort::Progress => share(|torrent| torrent.progress),
        TopSort::Ratio => share(|torrent| torrent.ratio.flatten()),
        TopSort::Size => most(|torrent| torrent.size),
        TopSort::Peers => most(|torrent| torrent.peers.map(u64::from)),
    };
    order.then(one.id.cmp(&other.id))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use api::native::State;
    use ratatui::crossterm::event::KeyEvent;

    pub(in super::super) fn model() -> Model {
        let torrent = |id, name: &str, upload_rate, peers| Torrent {
            id,
            name: Some(name.to_owned()),
            state: Some(State::Seeding),
            upload_rate: Some(upload_rate),
            download_rate: Some(0),
            progress: Some(1.0),
            peers: Some(peers),
            ..Torrent::default()
        };
        let mut model = Model::new(TopSort::Up, "there".into());
        model.apply(Changes {
            snapshot: true,
            torrents: vec![
                torrent(1, "beta", 5, 1),
                torrent(2, "Alpha", 9, 0),
                torrent(3, "gamma", 5, 9),
            ],
            ..Changes::default()
        });
        model
    }

    fn press(model: &mut Model, keys: &[KeyCode]) -> Action {
        let mut action = Action::None;
        for code in keys {
            action = model.on_event(&Event::Key(KeyEvent::new(*code, KeyModifiers::NONE)));
        }
        action
    }

    fn ids(model: &Model) -> Vec<u32> {
        model.rows().iter().map(|torrent| torrent.id).collect()
    }

    #[test]
    fn rows_are_sorted_reversed_and_filtered_by_keys() {
        let mut model = model();
        assert_eq!(ids(&model), [2, 1, 3]);
        press(&mut model, &[KeyCode::Char('r')]);
        assert_eq!(ids(&model), [3, 1, 2]);
        press(&mut model, &[KeyCode::Char('r')]);
        model.sort = TopSort::Id;
        press(&mut model, &[KeyCode::Char('o')]);
        assert_eq!((model.sort, ids(&model)), (TopSort::Name, vec![2, 1, 3]));
        press(&mut model, &[KeyCode::Char('/'), KeyCode::Char('E'), KeyCode::Char('q')]);
        assert_eq!(ids(&model), [] as [u32; 0]);
        press(&mut model, &[KeyCode::Backspace, KeyCode::Enter]);
        assert_eq!((ids(&model), model.typing), (vec![1], false));
        press(&mut model, &[KeyCode::Char('/'), KeyCode::Esc]);
        assert_eq!(ids(&model).len(), 3);
    }

    #[test]
    fn orders_are_about_the_selected_torrent() {
        let mut model = model();
        assert_eq!(press(&mut model, &[KeyCode::Char('s')]), Action::None);
        assert_eq!(
            press(&mut model, &[KeyCode::Down, KeyCode::Down, KeyCode::Char('x')]),
            Action::Stop(1)
        );
        assert_eq!(press(&mut model, &[KeyCode::End, KeyCode::Char('s')]), Action::Start(3));
        assert_eq!(
            press(&mut model, &[KeyCode::Home, KeyCode::Up, KeyCode::Char('v')]),
            Action::Verify(2)
        );
        model.apply(Changes { removed: vec![2], ..Changes::default() });
        assert_eq!(
            (model.selected, press(&mut model, &[KeyCode::Char('s')])),
            (None, Action::None)
        );
        assert_eq!(press(&mut model, &[KeyCode::Char('q')]), Action::Quit);
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        model.typing = true;
        assert_eq!(model.on_event(&Event::Key(key)), Action::Quit);
    }
}
