//! Number of blocks to ask for at once: halved when the endpoint refuses, regrown slowly.

/// The size of the next page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pages {
    size: u64,
    max: u64,
}

impl Pages {
    pub(super) fn new(max: u64) -> Self {
        Self { size: max.max(1), max: max.max(1) }
    }

    /// The last block of a page that begins at `from` and goes no further than `last`.
    pub(super) fn end(&self, from: u64, last: u64) -> u64 {
        last.min(from.saturating_add(self.size - 1))
    }

    /// Halves a page of `asked` blocks, which was refused, or makes it as small as the endpoint asks for (`most` blocks), if that
    /// is less; false if it was a single block already.
    pub(super) fn shrink(&mut self, asked: u64, most: Option<u64>) -> bool {
        let smaller = (asked.min(self.size) / 2).min(most.unwrap_or(u64::MAX));
        self.size = smaller.max(1);
        smaller > 0
    }

    /// Makes the page an eighth larger.
    pub(super) fn grow(&mut self) {
        self.size = (self.size + self.size / 8 + 1).min(self.max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_page_is_halved_down_to_one_block_and_regrows_to_the_maximum() {
        let mut pages = Pages::new(10_000);
        assert_eq!(pages.end(1, u64::MAX), 10_000);
        let mut halvings = 0;
        while pages.shrink(10_000, None) {
            halvings += 1;
        }
        assert_eq!((halvings, pages.end(7, u64::MAX)), (13, 7));
        let mut growths = 0;
        while pages.end(0, u64::MAX) < 9_999 {
            pages.grow();
            growths += 1;
        }
        assert!((40..100).contains(&growths), "{growths}");
        assert_eq!(pages.end(5, 8), 8);
        pages.shrink(10_000, Some(100));
        assert_eq!(pages.end(1, u64::MAX), 100);
        pages.shrink(100, Some(100));
        assert_eq!(pages.end(1, u64::MAX), 50);
        pages.shrink(8, None);
        assert_eq!(pages.end(1, u64::MAX), 4, "half of what was asked for, at the end of the history");
    }
}
