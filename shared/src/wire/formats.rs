//! Which formats of batches a program writes and reads, so that both sides are upgraded in any order.
//!
//! A confirm says what its target reads. The publisher writes the newest format that both know, and the oldest one until
//! it has heard. What a target cannot read yet, it leaves to the outbox, which has it until it is confirmed.

use super::encoding::FORMAT;

const WRITTEN: &[u32] = &[OLDEST_FORMAT];
const READ: &[u32] = &[FORMAT];
/// The format of batches that is written until the target has said what it reads.
pub const OLDEST_FORMAT: u32 = 1;
/// More are not read from a confirm.
pub(super) const FORMATS_MAX: usize = 32;

/// The formats of batches that this program reads.
pub fn formats_read() -> Vec<u32> {
    READ.to_vec()
}

/// What a target reads that does not say it.
pub(super) fn formats_of_older_targets() -> Vec<u32> {
    vec![OLDEST_FORMAT]
}

/// The newest format that this program writes and a target of `read` formats reads; none where there is no common one.
pub fn common_format(read: &[u32]) -> Option<u32> {
    newest_common(WRITTEN, read)
}

fn newest_common(written: &[u32], read: &[u32]) -> Option<u32> {
    written.iter().copied().filter(|format| read.contains(format)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_format_that_both_know_is_written() {
        assert_eq!(newest_common(&[1, 2], &[1]), Some(1));
        assert_eq!(newest_common(&[1, 2], &[2, 1, 3]), Some(2));
        assert_eq!(newest_common(&[1], &[1, 2]), Some(1));
        assert_eq!(newest_common(&[2, 3], &[1]), None);
        assert_eq!(newest_common(&[1], &[]), None);
    }

    #[test]
    fn a_target_that_does_not_say_what_it_reads_is_served() {
        assert_eq!(common_format(&formats_of_older_targets()), Some(FORMAT));
        assert_eq!(common_format(&formats_read()), Some(FORMAT));
    }
}
