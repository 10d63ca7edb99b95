//! Connections by slot, with the generation of each slot's use.
//!
//! A slot that is freed rests until the event that tells of it has been handed over and handled:
//! its caller has a table by slots too, and must not be given a slot that is still in it.

use crate::ConnId;

pub(crate) struct Slots<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
    /// Freed, but the event that tells of it may not have been handed over yet.
    retired: Vec<u32>,
    /// The event has been handed over with the last wait.
    told: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots { slots: Vec::new(), free: Vec::new(), retired: Vec::new(), told: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(crate) fn insert(&mut self, value: T) -> ConnId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            self.slots.len() as u32 - 1
        });
        let (generation, place) = &mut self.slots[slot as usize];
        *place = Some(value);
        ConnId { slot, generation: *generation }
    }

    /// Whoever is in the slot now.
    pub(crate) fn at(&mut self, slot: u32) -> Option<&mut T> {
        self.slots.get_mut(slot as usize)?.1.as_mut()
    }

    pub(crate) fn get(&mut self, id: ConnId) -> Option<&mut T> {
        let (generation, value) = self.slots.get_mut(id.slot())?;
        value.as_mut().filter(|_| *generation == id.generation)
    }

    pub(crate) fn peek(&self, id: ConnId) -> Option<&T> {
        let (generation, value) = self.slots.get(id.slot())?;
        value.as_ref().filter(|_| *generation == id.generation)
    }

    /// The id of whoever is in the slot now.
    pub(crate) fn id(&self, slot: u32) -> ConnId {
        let generation = self.slots.get(slot as usize).map_or(0, |(generation, _)| *generation);
        ConnId { slot, generation }
    }

    pub(crate) fn free(&mut self, slot: u32) -> Option<(ConnId, T)> {
        let id = self.id(slot);
        let (generation, place) = self.slots.get_mut(slot as usize)?;
        let value = place.take()?;
        *generation = generation.wrapping_add(1);
        self.retired.push(slot);
        Some((id, value))
    }

    /// A wait begins: what was told by the last one has been handled.
    pub(crate) fn begin_wait(&mut self) {
        self.free.append(&mut self.told);
    }

    /// A wait ends: its events, and those from before it, are being handed over.
    pub(crate) fn end_wait(&mut self) {
        self.told.append(&mut self.retired);
    }

    pub(crate) fn used(&self) -> Vec<u32> {
        let used = self.slots.iter().enumerate().filter(|(_, (_, value))| value.is_some());
        used.map(|(slot, _)| slot as u32).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.iter().all(|(_, value)| value.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_id_does_not_name_the_slots_next_user() {
        let mut slots = Slots::default();
        let old = slots.insert('a');
        slots.free(old.slot);
        slots.end_wait();
        slots.begin_wait();
        let new = slots.insert('b');
        assert_eq!(old.slot, new.slot);
        assert_eq!(slots.get(old), None);
        assert_eq!(slots.get(new), Some(&mut 'b'));
    }

    #[test]
    fn a_slot_rests_until_its_end_has_been_handled() {
        let mut slots = Slots::default();
        let old = slots.insert('a');
        slots.free(old.slot);
        assert_ne!(slots.insert('b').slot, old.slot, "its end is still to be handed over");
        slots.begin_wait();
        assert_ne!(slots.insert('c').slot, old.slot, "its end comes with this wait");
        slots.end_wait();
        assert_ne!(slots.insert('d').slot, old.slot, "its end is being handled");
        slots.begin_wait();
        assert_eq!(slots.insert('e').slot, old.slot);
    }
}
