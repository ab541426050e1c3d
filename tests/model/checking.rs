//! Explores a model, and tells what was found as a story.

use stateright::{Checker, HasDiscoveries, Model, Path};
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::time::Instant;

/// How many faults one schedule may have.
pub(crate) fn faults(ordinary: u8) -> u8 {
    // A test has no settings of its own to be read at one place.
    #[allow(clippy::disallowed_methods)]
    let faults = std::env::var("MODEL_FAULTS");
    faults.map_or(ordinary, |faults| faults.parse().expect("MODEL_FAULTS is a number"))
}

/// Explores every state. Fails, with the shortest story of each, where a promise is broken.
pub(crate) fn assert_holds<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + Display + PartialEq + Send + Sync,
{
    let begun = Instant::now();
    let checker = model.checker().threads(2).spawn_bfs().join();
    println!(
        "{name}: {} states, {} deep, in {:.1} s",
        checker.unique_state_count(),
        checker.max_depth(),
        begun.elapsed().as_secs_f32()
    );
    assert!(checker.is_done(), "{name}: not everything was explored");
    let stories: Vec<String> =
        checker.discoveries().into_iter().map(|(property, path)| story(property, path)).collect();
    assert!(stories.is_empty(), "{name}\n{}", stories.join("\n"));
}

/// Explores until a promise is broken, which one must be, and prints how.
pub(crate) fn assert_broken<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + Display + PartialEq + Send + Sync,
{
    let checker = model.checker().threads(1).finish_when(HasDiscoveries::Any).spawn_bfs().join();
    let discovery = checker.discoveries().into_iter().next();
    let (property, path) = discovery
        .unwrap_or_else(|| panic!("{name}: no promise is broken in {} states", checker.unique_state_count()));
    println!("Without this protection: {name}.\n{}", story(property, path));
}

fn story<S, A: Display>(property: &str, path: Path<S, A>) -> String {
    let steps: Vec<String> = path
        .into_actions()
        .iter()
        .enumerate()
        .map(|(number, action)| format!("  {:>2}. {action}", number + 1))
        .collect();
    format!("  Broken: {property}.\n{}", steps.join("\n"))
}
