//! Who holds how many cells of the KV cache.
//!
//! Sequences that begin alike share cells, and llama.cpp frees a cell when the last of them lets go of
//! it. A [`Block`] is counted in the same way: whoever begins with the same rows holds the same block,
//! and it is free again when the last holder drops it.

use std::cell::Cell;
use std::rc::Rc;

/// The cells that requests may take.
#[derive(Debug)]
pub(super) struct Cells {
    total: usize,
    taken: Rc<Cell<usize>>,
}

/// Some cells, set aside.
#[derive(Debug)]
pub(super) struct Block {
    size: usize,
    taken: Rc<Cell<usize>>,
}

impl Cells {
    /// So many, all free.
    pub(super) fn new(total: usize) -> Self {
        Self {
            total,
            taken: Rc::default(),
        }
    }

    /// How many are set aside.
    pub(super) fn taken(&self) -> usize {
        self.taken.get()
    }

    /// How many are free.
    pub(super) fn free(&self) -> usize {
        self.total - self.taken()
    }

    /// Sets `size` cells aside, if so many are free.
    pub(super) fn take(&self, size: usize) -> Option<Rc<Block>> {
        (size <= self.free()).then(|| {
            self.taken.set(self.taken() + size);
            let taken = Rc::clone(&self.taken);
            Rc::new(Block { size, taken })
        })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.taken.set(self.taken.get() - self.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_block_is_counted_once_and_free_when_the_last_holder_lets_go() {
        let cells = Cells::new(100);
        let block = cells.take(60).unwrap();
        assert!(cells.take(41).is_none());
        let other = Rc::clone(&block);
        drop(block);
        assert_eq!(cells.free(), 40);
        drop(other);
        assert_eq!((cells.free(), cells.taken()), (100, 0));
    }
}
