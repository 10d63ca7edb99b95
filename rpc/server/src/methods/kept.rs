//! Answers about all torrents, kept for a moment: dozens of remotes that poll ask for the same, and
//! with ten thousand torrents each answer is megabytes of JSON. One that is no longer true is still
//! the base of the next: what it says of torrents that have not changed is copied.

use crate::limits::{KEPT_ANSWERS, KEPT_FOR, KEPT_FROM, TRUE_FOR};
use api::{Dialect, params::TorrentGet, torrent::TorrentList};
use bytes::Bytes;
use engine::{
    settings::Settings,
    status::{Catalog, TorrentId},
};
use std::{
    collections::HashSet,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// The last few answers, the oldest first.
#[derive(Clone, Default)]
pub(super) struct KeptAnswers(Arc<Mutex<Vec<Arc<Kept>>>>);

pub(super) struct Kept {
    pub(super) question: (Dialect, TorrentGet),
    /// The settings that it is of.
    pub(super) settings: Settings,
    /// The catalog's change counter that it is of.
    pub(super) counter: u64,
    pub(super) made: Instant,
    pub(super) answer: Bytes,
    pub(super) parts: Parts,
}

/// Where each torrent ends in an answer, by ascending id. It begins where the one before it ends.
#[derive(Default)]
pub(super) struct Parts(Vec<(TorrentId, usize)>);

/// What of an older answer is still true, as a newer one is written.
pub(super) struct Unchanged<'a> {
    base: &'a Kept,
    changed: HashSet<TorrentId>,
    /// The first of its parts that may be needed.
    next: usize,
    /// Parts that are to be copied in one go.
    run: Range<usize>,
}

impl KeptAnswers {
    /// The last answer to this question.
    pub(super) fn find(&self, question: &(Dialect, TorrentGet)) -> Option<Arc<Kept>> {
        self.lock().iter().find(|kept| kept.question == *question).cloned()
    }

    /// Keeps an answer, and sees to it that it is forgotten. Called on the runtime.
    pub(super) fn keep(&self, kept: Kept) {
        if kept.answer.len() < KEPT_FROM {
            return;
        }
        self.put(kept);
        let answers = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(KEPT_FOR).await;
            answers.lock().retain(|kept| kept.is_of_use(Instant::now()));
        });
    }

    fn put(&self, new: Kept) {
        let mut kept = self.lock();
        kept.retain(|kept| kept.question != new.question);
        if kept.len() == KEPT_ANSWERS {
            kept.remove(0);
        }
        kept.push(Arc::new(new));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Kept>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Bytes of the answer.
    pub(super) fn length(&self) -> usize {
        self.answer.len()
    }

    /// Whether it can be given again at this state of the change counter.
    pub(super) fn is_true(&self, counter: u64, now: Instant) -> bool {
        self.counter == counter && now.saturating_duration_since(self.made) < TRUE_FOR
    }

    fn is_of_use(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.made) < KEPT_FOR
    }
}

impl Parts {
    pub(super) fn with_capacity(torrents: usize) -> Parts {
        Parts(Vec::with_capacity(torrents))
    }

    /// The next torrent was written, up to there.
    pub(super) fn push(&mut self, id: TorrentId, end: usize) {
        self.0.push((id, end));
    }
}

impl<'a> Unchanged<'a> {
    pub(super) fn since(base: &'a Kept, catalog: &Catalog) -> Unchanged<'a> {
        let changed = catalog.changed_since(base.counter).map(|torrent| torrent.id).collect();
        Unchanged { base, changed, next: 0, run: 0..0 }
    }

    /// Marks this torrent's part for copying; false if it has to be written anew, after
    /// [`Self::copy`]. To be asked by ascending id.
    pub(super) fn take(&mut self, id: TorrentId) -> bool {
        let parts = &self.base.parts.0;
        // Torrents that are gone have parts that nobody asks for.
        while parts.get(self.next).is_some_and(|part| part.0 < id) {
            self.next += 1;
        }
        let is_there = parts.get(self.next).is_some_and(|part| part.0 == id);
        // The first has no comma before it to be told by where it begins.
        if !is_there || self.next == 0 || self.changed.contains(&id) {
            return false;
        }
        if self.run.is_empty() {
            self.run = self.next..self.next + 1;
        } else if self.run.end == self.next {
            self.run.end += 1;
        } else {
            return false;
        }
        self.next += 1;
        true
    }

    /// Copies what was marked.
    pub(super) fn copy(&mut self, list: &mut TorrentList<'_>, parts: &mut Parts) {
        let run = std::mem::take(&mut self.run);
        if run.is_empty() {
            return;
        }
        let old = &self.base.parts.0;
        // The comma before it is the writer's.
        let begin = old[run.start - 1].1 + 1;
        let end = old[run.end - 1].1;
        list.push_written(&self.base.answer[begin..end]);
        let written = list.written();
        parts.0.extend(old[run].iter().map(|&(id, at)| (id, written - (end - at))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::{ids::Selector, params::Format, torrent::TorrentField};

    fn question(fields: &[TorrentField]) -> (Dialect, TorrentGet) {
        let get =
            TorrentGet { ids: Selector::All, fields: fields.to_vec(), format: Format::Objects };
        (Dialect::JsonRpc, get)
    }

    fn kept(fields: &[TorrentField], made: Instant) -> Kept {
        let (question, settings) = (question(fields), Settings::default());
        let answer = Bytes::from_static(b"{}");
        Kept { question, settings, counter: 7, made, answer, parts: Parts::default() }
    }

    #[test]
    fn an_answer_holds_for_its_question_until_something_changes_or_time_passes() {
        let (answers, now) = (KeptAnswers::default(), Instant::now());
        answers.put(kept(&[TorrentField::id], now));
        let asked = question(&[TorrentField::id]);
        let found = answers.find(&asked).unwrap();
        assert!(found.is_true(7, now));
        assert!(!found.is_true(8, now), "a torrent has changed");
        assert!(!found.is_true(7, now + TRUE_FOR), "it is old");
        assert!(found.is_of_use(now + TRUE_FOR) && !found.is_of_use(now + KEPT_FOR));
        assert!(answers.find(&(Dialect::Legacy, asked.1)).is_none());
        assert!(answers.find(&question(&[TorrentField::name])).is_none());
    }

    #[test]
    fn few_answers_are_kept() {
        let (answers, now) = (KeptAnswers::default(), Instant::now());
        for field in &TorrentField::ALL[..=KEPT_ANSWERS] {
            answers.put(kept(&[*field], now));
            answers.put(kept(&[*field], now));
        }
        assert_eq!(answers.lock().len(), KEPT_ANSWERS);
        assert!(answers.find(&question(&TorrentField::ALL[..1])).is_none());
    }
}
