//! Whose confirms concern this source: those about this source, of the one target that it is bound to.

use anyhow::Result;
use shared::wire::Confirm;

/// A source, and the target that it is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The identity of the source.
    pub source: String,
    /// The one target whose confirms count, once known.
    pub target: Option<String>,
}

impl Binding {
    /// The target is not known yet.
    pub fn of(source: String) -> Binding {
        Binding { source, target: None }
    }

    /// Why the sender must not confirm, if it must not. While the target is not known, `bind` is asked for it:
    /// it binds the source to the one that is passed, unless it is bound already, and returns the bound one.
    pub fn unexpected(
        &mut self,
        confirm: &Confirm,
        bind: impl FnOnce(&str) -> Result<String>,
    ) -> Result<Option<String>> {
        let Confirm { target, source, .. } = confirm;
        if let Some(other) = source.as_ref().filter(|source| **source != self.source) {
            return Ok(Some(format!(
                "ignoring the target {target}: it follows the source {other}, this is {}",
                self.source
            )));
        }
        let bound = match &mut self.target {
            Some(bound) => bound,
            none => none.insert(bind(target)?),
        };
        if bound != target {
            return Ok(Some(format!(
                "ignoring the target {target}: this source is bound to {bound} (to replace it by {target}: \
                 select replication.rebind_target())"
            )));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::*;
    use anyhow::bail;

    fn confirm(target: &str, source: Option<&str>) -> Confirm {
        Confirm { target: target.to_owned(), source: source.map(str::to_owned), ..fixtures::confirm() }
    }

    /// Whether a confirm counts where the source is bound to `bound`.
    fn counts(binding: &mut Binding, confirm: &Confirm, bound: &str) -> bool {
        binding.unexpected(confirm, |_| Ok(bound.to_owned())).unwrap().is_none()
    }

    #[test]
    fn only_the_bound_target_counts_and_it_is_looked_up_once() {
        let mut binding = Binding::of("1/a".to_owned());
        assert!(!counts(&mut binding, &confirm("3/c", None), "2/b"));
        assert!(!counts(&mut binding, &confirm("3/c", Some("1/a")), "3/c"));
        assert!(counts(&mut binding, &confirm("2/b", Some("1/a")), "3/c"));
    }

    #[test]
    fn who_follows_another_source_does_not_count_and_is_not_bound() {
        let mut binding = Binding::of("1/a".to_owned());
        assert!(!counts(&mut binding, &confirm("3/c", Some("9/z")), "3/c"));
        assert_eq!(binding.target, None);
        assert!(binding.unexpected(&confirm("2/b", None), |_| bail!("no connection")).is_err());
        assert!(counts(&mut binding, &confirm("2/b", None), "2/b"));
    }
}
