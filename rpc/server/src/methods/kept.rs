//! Answers about all torrents, kept for a moment: dozens of remotes that poll ask for the same, and
//! with ten thousand torrents each answer is megabytes of JSON.

use crate::limits::{KEPT_ANSWERS, KEPT_FOR, KEPT_FROM};
use api::{Dialect, params::TorrentGet};
use bytes::Bytes;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// The last few answers, the oldest first.
#[derive(Clone, Default)]
pub(super) struct KeptAnswers(Arc<Mutex<Vec<Kept>>>);

struct Kept {
    question: (Dialect, TorrentGet),
    /// The catalog's change counter that it is of.
    counter: u64,
    made: Instant,
    answer: Bytes,
}

impl KeptAnswers {
    /// The answer to the same question, if it is still true at this state of the change counter.
    pub(super) fn find(
        &self,
        question: &(Dialect, TorrentGet),
        counter: u64,
        now: Instant,
    ) -> Option<Bytes> {
        let kept = self.lock();
        let found = kept.iter().find(|kept| kept.question == *question)?;
        (found.counter == counter && found.is_fresh(now)).then(|| found.answer.clone())
    }

    /// Keeps an answer, and sees to it that it is forgotten. Called on the runtime.
    pub(super) fn keep(
        &self,
        question: (Dialect, TorrentGet),
        counter: u64,
        now: Instant,
        answer: &Bytes,
    ) {
        if answer.len() < KEPT_FROM {
            return;
        }
        self.put(Kept { question, counter, made: now, answer: answer.clone() });
        let answers = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(KEPT_FOR).await;
            answers.lock().retain(|kept| kept.is_fresh(Instant::now()));
        });
    }

    fn put(&self, new: Kept) {
        let mut kept = self.lock();
        kept.retain(|kept| kept.question != new.question);
        if kept.len() == KEPT_ANSWERS {
            kept.remove(0);
        }
        kept.push(new);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.made) < KEPT_FOR
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

    fn kept(fields: &[TorrentField], now: Instant) -> Kept {
        let answer = Bytes::from_static(b"{}");
        Kept { question: question(fields), counter: 7, made: now, answer }
    }

    #[test]
    fn an_answer_holds_for_its_question_until_something_changes_or_time_passes() {
        let (answers, now) = (KeptAnswers::default(), Instant::now());
        answers.put(kept(&[TorrentField::id], now));
        let asked = question(&[TorrentField::id]);
        assert!(answers.find(&asked, 7, now).is_some());
        assert!(answers.find(&asked, 8, now).is_none(), "a torrent has changed");
        assert!(answers.find(&asked, 7, now + KEPT_FOR).is_none(), "it is old");
        assert!(answers.find(&(Dialect::Legacy, asked.1), 7, now).is_none());
        assert!(answers.find(&question(&[TorrentField::name]), 7, now).is_none());
    }

    #[test]
    fn few_answers_are_kept() {
        let (answers, now) = (KeptAnswers::default(), Instant::now());
        for field in &TorrentField::ALL[..=KEPT_ANSWERS] {
            answers.put(kept(&[*field], now));
            answers.put(kept(&[*field], now));
        }
        assert_eq!(answers.lock().len(), KEPT_ANSWERS);
        assert!(answers.find(&question(&TorrentField::ALL[..1]), 7, now).is_none());
    }
}
